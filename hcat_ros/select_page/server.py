# SPDX-License-Identifier: Apache-2.0
"""Serves the page: an HTTP server on a thread and an event loop of its own."""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import re
import socket
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from hcat_ros.select_page.access import Access
from hcat_ros.select_page.client import PageClient
from hcat_ros.select_page.door import Door
from hcat_ros.select_page.pictures import Picture, picture_of
from hcat_ros.select_page.view import Feed, Robot, View

PAGE = Path(__file__).with_name('page.html')
MAX_CLIENTS = 16
HEARTBEAT = 15.0
"""Seconds between pings; a client that does not answer is disconnected."""
CLOSE_LIMIT = 1.0
"""Seconds that clients have to close their connections when the server stops."""
REASONS = {
    errno.EADDRINUSE: 'the port is in use; choose another port',
    errno.EADDRNOTAVAIL: 'this machine has no such address',
    errno.EACCES: 'ports below 1024 are reserved for root; choose another port',
}
"""Reason why listening fails, by the system's error number."""
MAX_REQUEST = 4096
"""Most bytes of a client's message."""


@dataclass(frozen=True)
class PageSettings:
    """Address, token and picture settings of the page."""

    host: str = '127.0.0.1'
    port: int = 8321
    """TCP port; 0 takes any free port."""
    token: str = ''
    """Token that clients must send; if it is empty, one is made except for loopback interfaces."""
    title: str = 'hcat_tracker'
    max_width: int = 960
    """Largest width of the pictures, pixels."""
    jpeg_quality: int = 70
    rate: float = 15.0
    """Most pictures a second for each client."""


class PageServer:
    """The web server of one page. `feed` takes the views and the status, from any thread.

    Up to MAX_CLIENTS admitted clients share the pictures. Each client gets the newest picture when
    it asks, so that a slow link shows fewer pictures, not later ones.
    """

    def __init__(self, robot: Robot, settings: PageSettings) -> None:
        """Read the page. Raises ValueError for a host or token that cannot be used."""
        self.settings = settings
        self.access = Access(settings.host, settings.token)
        self.feed = Feed()
        self.robot = robot
        self.port = settings.port
        self._sockets: dict[web.WebSocketResponse, web.Request] = {}
        self._watching = 0
        self._picture: tuple[View, asyncio.Future[Picture]] | None = None
        self._page = PAGE.read_bytes()
        self._headers = {
            'Content-Security-Policy': content_policy(self._page.decode()),
            'X-Frame-Options': 'DENY',
            'X-Content-Type-Options': 'nosniff',
            'Referrer-Policy': 'no-referrer',
            'Cache-Control': 'no-store',
        }
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name='select_page', daemon=True
        )
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None

    def start(self) -> None:
        """Start to listen. Raises OSError, naming the address; the server is then closed."""
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        except OSError as error:
            self.close()
            where = f'{self.settings.host}:{self.settings.port}'
            reason = REASONS.get(error.errno or 0, str(error))
            raise OSError(f'cannot serve on {where}: {reason}') from None

    def close(self) -> None:
        """Disconnect the clients and stop the server."""
        if self._loop.is_closed():
            return
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(timeout=10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """The address to open; browsers do not send the fragment, which holds the token."""
        host = self.settings.host
        if host in ('', '0.0.0.0', '::'):
            host = socket.gethostname()
        host = f'[{host}]' if ':' in host else host
        token = self.access.token
        return f'http://{host}:{self.port}/' + (f'#token={quote(token, safe="")}' if token else '')

    async def picture(self, view: View) -> Picture:
        """Return the view's picture, made once for all clients. Raises ValueError."""
        if self._picture is None or self._picture[0] is not view:
            encoding = self._loop.run_in_executor(
                None, picture_of, view, self.settings.max_width, self.settings.jpeg_quality
            )
            # Read the exception, because asyncio warns if no waiting client is left to do so.
            encoding.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._picture = (view, encoding)
        return await asyncio.shield(self._picture[1])

    async def _listen(self) -> None:
        self.feed.attach()
        app = web.Application(middlewares=[self._guard])
        app.on_response_prepare.append(self._add_headers)
        app.router.add_get('/', self._serve_page)
        app.router.add_get('/live', self._serve_live)
        # No access log: it would fill the robot's log with each visit to the page.
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        assert self._runner.server is not None
        self._door = Door(self._runner.server, self._headers)
        self._listener = await self._loop.create_server(
            self._door, self.settings.host or None, self.settings.port, reuse_address=True
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        closing = [
            asyncio.ensure_future(live.close(code=1001, message=b'the server ends'))
            for live in self._sockets
        ]
        if self._listener is not None:
            self._listener.close()
        if closing:
            # A client that does not read never answers the close.
            await asyncio.wait(closing, timeout=CLOSE_LIMIT)
        for request in self._sockets.values():
            cut_off(request)
        if self._runner is not None:
            await self._runner.cleanup()
        await self._loop.shutdown_default_executor()

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(self._headers)

    @web.middleware
    async def _guard(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        refusal = self.access.refusal(request.host, request.headers.get('Origin'))
        if refusal:
            return web.Response(status=403, text=f'{refusal}\n')
        return await handler(request)

    async def _serve_page(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._page, content_type='text/html', charset='utf-8')

    async def _serve_live(self, request: web.Request) -> web.StreamResponse:
        # No compression: JPEG does not get smaller, and each client would need memory for it.
        live = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=MAX_REQUEST, compress=False)
        self._sockets[live] = request
        watching = False
        try:
            await live.prepare(request)
            client = PageClient(live, self.feed, self.robot, self.picture, self.settings.rate)
            client.on_failure = partial(cut_off, request)
            if await client.check_token(self.access):
                if self._watching >= MAX_CLIENTS:
                    await client.turn_away(f'{MAX_CLIENTS} browsers are connected: close one')
                    return live
                watching = True
                self._door.admit(request.protocol)
                self._count_watchers(+1)
                await client.serve(self.settings.title)
        except ConnectionError:  # the browser disconnected during the answer
            pass
        finally:
            del self._sockets[live]
            if watching:
                self._count_watchers(-1)
        return live

    def _count_watchers(self, by: int) -> None:
        """Count watching clients; tell the robot when the first comes or the last goes."""
        before, self._watching = self._watching, self._watching + by
        if not self._watching:
            self._picture = None
        if not before or not self._watching:
            self.robot.watch(self._watching > 0)


def cut_off(request: web.Request) -> None:
    """End a connection at once, whatever waits to be sent."""
    if request.transport is not None:
        request.transport.abort()


def content_policy(page: str) -> str:
    """Return a Content-Security-Policy that allows the page's own script and style alone."""
    hashes = {}
    for tag in ('script', 'style'):
        match = re.search(f'<{tag}>(.*?)</{tag}>', page, re.DOTALL)
        assert match is not None
        digest = base64.b64encode(hashlib.sha256(match[1].encode()).digest()).decode()
        hashes[tag] = f"'sha256-{digest}'"
    return (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
