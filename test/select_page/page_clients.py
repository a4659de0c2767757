# SPDX-License-Identifier: Apache-2.0
"""Real websocket clients of the page's server."""

import asyncio
import json
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import cv2
import numpy as np

LIMIT = 10.0
Frame = tuple[dict[str, Any], np.ndarray]


@asynccontextmanager
async def looking(server: Any, token: str = '', **options: Any) -> Any:
    """A connected client that the server has accepted."""
    async with aiohttp.ClientSession() as session:
        url = f'http://127.0.0.1:{server.port}/live'
        async with session.ws_connect(url, max_msg_size=0, **options) as live:
            await live.send_json({'token': token})
            hello = await live.receive_json(timeout=LIMIT)
            assert 'hello' in hello, hello
            yield live


async def ask(live: Any, **request: Any) -> dict[str, Any]:
    await live.send_json(request)
    return dict(await live.receive_json(timeout=LIMIT))


async def next_message(live: Any) -> Any:
    await live.send_json({'ask': 'next'})
    return await live.receive(timeout=LIMIT)


async def next_frame(live: Any) -> Frame:
    """Return the data and the pixels of the next picture; statuses before it are skipped."""
    while True:
        message = await next_message(live)
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        if message.type is aiohttp.WSMsgType.BINARY:
            return unpacked(message.data)


def unpacked(data: bytes) -> Frame:
    length = struct.unpack('>I', data[:4])[0]
    pixels = cv2.imdecode(np.frombuffer(data[4 + length :], np.uint8), cv2.IMREAD_COLOR)
    return json.loads(data[4 : 4 + length]), pixels


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
