# SPDX-License-Identifier: Apache-2.0
"""Who may hold a connection to the page: few, and not for long unless they have been admitted."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

LOG = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
"""Most connections; beyond it the oldest that has not been admitted has to go, so that idle sockets
lock nobody out."""
PATIENCE = 20.0
"""Seconds in which a connection has to be admitted, whatever it sends or does not."""
LOG_INTERVAL = 5.0
"""Shortest time between log lines about failed requests, s: anybody on the network can cause one.
"""
LONGEST_REASON = 200
"""Most characters of the reason in such a line."""


class Door:
    """Makes the protocol of each new connection, with limits that aiohttp does not have."""

    def __init__(self, server: web.Server, headers: dict[str, str]) -> None:
        self._server = server
        self._headers = headers
        self._open: dict[_Connection, asyncio.TimerHandle] = {}
        self._admitted: set[Any] = set()
        self._last_log = -math.inf

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        loop = asyncio.get_running_loop()
        waiting = [each for each in self._open if each not in self._admitted]
        if len(self._open) >= MAX_CONNECTIONS and waiting:
            self._end(waiting[0])
        made = _Connection(self, self._server, loop)
        self._open[made] = loop.call_later(PATIENCE, self._check, made)
        return made

    def admit(self, connection: Any) -> None:
        """Let a connection stay for as long as it likes."""
        self._admitted.add(connection)

    def knows(self, connection: _Connection) -> bool:
        """Return whether a connection has not had to go yet."""
        return connection in self._open

    def _check(self, connection: _Connection) -> None:
        if connection not in self._admitted:
            self._end(connection)

    def _end(self, connection: _Connection) -> None:
        self.left(connection)
        if connection.transport is not None:
            connection.transport.abort()  # type: ignore[attr-defined]

    def left(self, connection: _Connection) -> None:
        """Forget a connection that has ended."""
        self._admitted.discard(connection)
        if (timer := self._open.pop(connection, None)) is not None:
            timer.cancel()

    def record_failure(self, error: Exception) -> None:
        """Log a failed request, unless one was logged less than `LOG_INTERVAL` ago."""
        now = asyncio.get_running_loop().time()
        if now - self._last_log < LOG_INTERVAL:
            return
        self._last_log = now
        if isinstance(error, (HttpProcessingError, web.RequestPayloadError)):  # the client's fault
            LOG.warning('request refused: %s', ' '.join(str(error).split())[:LONGEST_REASON])
        else:
            LOG.error('a request failed', exc_info=error)

    def headers(self) -> dict[str, str]:
        """Return what every answer has."""
        return self._headers


class _Connection(web.RequestHandler):
    """aiohttp's, which tells when it ends and whose own errors have our headers too."""

    __slots__ = ('_door',)

    def __init__(self, door: Door, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop=loop, access_log=None)  # type: ignore[arg-type]
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._door.knows(self):  # it had to go before it was there
            transport.abort()  # type: ignore[attr-defined]

    def connection_lost(self, error: BaseException | None) -> None:
        self._door.left(self)
        super().connection_lost(error)

    def log_exception(self, *arguments: Any, **named: Any) -> None:
        """Hand an error to the door: aiohttp would log a traceback for each bad request."""
        self._door.record_failure(named.get('exc_info') or RuntimeError(*arguments))

    def handle_error(self, *arguments: Any, **named: Any) -> web.StreamResponse:
        """Answer what is no HTTP."""
        answer = super().handle_error(*arguments, **named)
        answer.headers.update(self._door.headers())
        return answer
