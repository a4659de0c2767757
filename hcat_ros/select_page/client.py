# SPDX-License-Identifier: Apache-2.0
"""Serves one browser that shows the page, with the messages below.

The client sends JSON: first `{"token": ...}`; then `{"ask": "next"}` for the newest picture,
`{"ask": "start", "stamp": "nanoseconds", "box": [x, y, w, h]}`, `{"ask": "primary", "id": ...}`,
`{"ask": "drop", "id": ...}` and `{"ask": "reset"}`. The server answers the token with
`{"hello": ...}` or `{"refused": reason}`. It answers each "next" with one message once there is
something new: JSON `{"status": ...}`, or binary: the length of a JSON text (4 bytes, big endian),
that text (status, stamp, width, height, track, others), and a JPEG. It answers all other requests
with `{"answer": ..., "ok": ..., "text": ...}`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import struct
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

from aiohttp import WSMsgType, web

from hcat_ros.boxes import Box
from hcat_ros.select_page.access import Access
from hcat_ros.select_page.pictures import Picture
from hcat_ros.select_page.view import Feed, Robot, Status, View

LOG = logging.getLogger(__name__)
TOKEN_LIMIT = 5.0
"""Seconds in which a client has to send its token."""
ANSWER_LIMIT = 10.0
"""Seconds in which the robot has to answer."""
SEND_LIMIT = 30.0
"""Seconds that sending one message may take; then the client is disconnected."""
LONGEST_ID = 256
"""Most characters of a target's id."""
LAST_STAMP = 2**31 * 10**9
"""Nanoseconds from which builtin_interfaces/Time cannot hold a stamp."""


class PageClient:
    """Serves one open websocket."""

    def __init__(
        self,
        live: web.WebSocketResponse,
        feed: Feed,
        robot: Robot,
        picture: Callable[[View], Awaitable[Picture]],
        rate: float,
    ) -> None:
        self._live = live
        self._feed = feed
        self._robot = robot
        self._picture = picture
        self._period = 1.0 / rate
        self._asked = asyncio.Event()
        self.on_failure: Callable[[], None] = lambda: None
        """Ends the connection; called when nothing can be sent any more."""

    async def check_token(self, access: Access) -> bool:
        """Wait for the token; return whether it is right, and close the socket if it is not."""
        try:
            request = await asyncio.wait_for(self._receive(), TOKEN_LIMIT)
        except asyncio.TimeoutError:
            request = {}
        if request is not None and access.token_fits(request.get('token')):
            return True
        given = bool(request and request.get('token'))
        await self._tell({'refused': 'wrong token' if given else 'a token is needed'})
        await self._live.close(code=4401, message=b'token')
        return False

    async def turn_away(self, reason: str) -> None:
        """Refuse a client whose token was right, and close the socket."""
        await self._tell({'refused': reason})
        await self._live.close(code=1013, message=b'later')

    async def serve(self, title: str) -> None:
        """Answer requests until the client disconnects."""
        await self._tell({'hello': title})
        sender = asyncio.ensure_future(self._send_newest())
        try:
            # One request at a time: a client that sends more than is answered has to wait.
            while (request := await self._receive()) is not None:
                if request.get('ask') == 'next':
                    self._asked.set()
                else:
                    await self._tell(await self._answer(request))
        except (ConnectionError, asyncio.TimeoutError):
            pass
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)

    async def _receive(self) -> dict[str, Any] | None:
        """Return the next request, None at the end; anything but a JSON object counts as empty."""
        message = await self._live.receive()
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return None
        try:
            request = json.loads(message.data)
        except (ValueError, RecursionError):
            return {}
        return request if isinstance(request, dict) else {}

    async def _tell(self, content: dict[str, Any]) -> None:
        await asyncio.wait_for(self._live.send_str(json.dumps(content)), SEND_LIMIT)

    async def _send_newest(self) -> None:
        """Send one message for each "next" of the client, once there is something new."""
        loop = asyncio.get_running_loop()
        shown: View | None = None
        told: Status | None = None
        sent = -self._period
        try:
            while True:
                await self._asked.wait()
                self._asked.clear()
                await asyncio.sleep(sent + self._period - loop.time())
                while self._feed.view in (None, shown) and self._feed.status == told:
                    await self._feed.changed()
                sent = loop.time()
                view, told = self._feed.view, self._feed.status
                message: dict[str, Any] = {'status': told.as_json()}
                if view is None or view is shown:
                    await self._tell(message)
                    continue
                shown = view
                try:
                    picture = await self._picture(view)
                except ValueError as error:
                    message['status']['problem'] = f'image refused: {error}'
                    await self._tell(message)
                    continue
                await asyncio.wait_for(
                    self._live.send_bytes(packed(message, view, picture)), SEND_LIMIT
                )
        except (ConnectionError, asyncio.TimeoutError):
            pass
        except Exception:
            LOG.exception('sending to a client of the page failed')
        # After a cancellation this is not reached: the client has gone already.
        self.on_failure()

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        asked = request.get('ask')
        answer: dict[str, Any] = {'answer': str(asked)}
        try:
            if asked == 'start':
                future: Future[str] = self._robot.name_target(
                    checked_stamp(request.get('stamp')), checked_box(request.get('box'))
                )
            elif asked == 'primary':
                future = self._robot.select_primary(checked_id(request.get('id')))
            elif asked == 'drop':
                future = self._robot.drop(checked_id(request.get('id')))
            elif asked == 'reset':
                future = self._robot.reset()
            else:
                raise ValueError(
                    f"'{str(asked)[:40]}' is not a request: expected next, start, primary, drop or "
                    'reset'
                )
            text = await asyncio.wait_for(asyncio.wrap_future(future), ANSWER_LIMIT)
        except asyncio.TimeoutError:
            return {**answer, 'ok': False, 'text': f'no answer within {ANSWER_LIMIT:g} s'}
        except ValueError as error:
            return {**answer, 'ok': False, 'text': str(error)}
        return {**answer, 'ok': True, 'text': text}


def packed(message: dict[str, Any], view: View, picture: Picture) -> bytes:
    """Return the binary message of a picture."""
    content = {
        **message,
        # As text, because JavaScript's numbers hold only 53 bits.
        'stamp': str(view.stamp),
        'width': picture.width,
        'height': picture.height,
        'track': view.track and view.track.as_json(),
        'others': [track.as_json() for track in view.others],
    }
    text = json.dumps(content, allow_nan=False).encode()
    return struct.pack('>I', len(text)) + text + picture.jpeg


def checked_stamp(value: object) -> int:
    """Return nanoseconds sent as text. Raises ValueError."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        stamp = int(value)
        if stamp < LAST_STAMP:
            return stamp
    raise ValueError(f"stamp '{str(value)[:40]}': expected nanoseconds as text")


def checked_id(value: object) -> str:
    """Return the id of a target. Raises ValueError."""
    if isinstance(value, str) and 0 < len(value) <= LONGEST_ID:
        return value
    raise ValueError(f"id '{str(value)[:40]}': expected text of 1 to {LONGEST_ID} characters")


def checked_box(value: object) -> Box:
    """Return a box of pixels. Raises ValueError unless it is four finite numbers, 1 px or more."""
    if (
        isinstance(value, list)
        and len(value) == 4
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)
    ):
        try:
            box = Box(*(float(v) for v in value))
        except OverflowError:
            box = Box(math.inf, 0, 0, 0)
        if all(math.isfinite(v) and abs(v) < 1e6 for v in box) and box.w >= 1 and box.h >= 1:
            return box
    raise ValueError(f"box '{str(value)[:60]}': expected x, y, w, h in pixels, w and h at least 1")
