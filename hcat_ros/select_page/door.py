# SPDX-License-Identifier: Apache-2.0
"""Limits the number of connections to the page, and their duration until they are admitted."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

LOG = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
"""Most connections; beyond it the oldest one that is not admitted is closed, so that idle sockets
lock nobody out."""
PATIENCE = 20.0
"""Seconds after which a connection that has not been admitted is closed."""
LOG_INTERVAL = 5.0
"""Shortest time between log lines about failed requests, s: anybody on the network can cause one.
"""
LONGEST_REASON = 200
"""Most characters of the reason in such a line."""


class Door:
    """Creates the protocol of each new connection, with limits that aiohttp does not have."""

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
        connection = _Connection(self, self._server, loop)
        self._open[connection] = loop.call_later(PATIENCE, self._check, connection)
        return connection

    def admit(self, connection: Any) -> None:
        """Let a connection stay open without a time limit."""
        self._admitted.add(connection)

    def knows(self, connection: _Connection) -> bool:
        """Return whether a connection has not been closed yet."""
        return connection in self._open

    def _check(self, connection: _Connection) -> None:
        if connection not in self._admitted:
            self._end(connection)

    def _end(self, connection: _Connection) -> None:
        self.forget(connection)
        if connection.transport is not None:
            connection.transport.abort()  # type: ignore[attr-defined]

    def forget(self, connection: _Connection) -> None:
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
        """Return the headers of every response."""
        return self._headers


class _Connection(web.RequestHandler):
    """aiohttp's connection, which also reports its end and adds our headers to error responses."""

    __slots__ = ('_door',)

    def __init__(self, door: Door, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop=loop, access_log=None)  # type: ignore[arg-type]
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._door.knows(self):  # it was closed before it was established
            transport.abort()  # type: ignore[attr-defined]

    def connection_lost(self, error: BaseException | None) -> None:
        self._door.forget(self)
        super().connection_lost(error)

    def log_exception(self, *arguments: Any, **named: Any) -> None:
        """Hand an error to the door: aiohttp would log a traceback for each bad request."""
        self._door.record_failure(named.get('exc_info') or RuntimeError(*arguments))

    def handle_error(self, *arguments: Any, **named: Any) -> web.StreamResponse:
        """Answer a request that is not valid HTTP."""
        answer = super().handle_error(*arguments, **named)
        answer.headers.update(self._door.headers())
        return answer
