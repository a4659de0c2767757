# SPDX-License-Identifier: Apache-2.0
"""One MAVLink connection: opened again when it breaks, bounded in what it keeps."""

from __future__ import annotations

import hashlib
import re
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hcat_ros.mavlink.dialect import mavutil

MOST_STATIONS = 16
"""Addresses that a listening UDP connection sends to; more are not heard."""
STATION_TIMEOUT = 30.0
"""Seconds without a message after which an address gets none any more."""
REOPEN = 2.0
"""Seconds until a broken connection is opened again."""
POLL = 0.1
"""Seconds within which a link sees that it has been closed."""
RECEIVED = 4096
"""Bytes that are read at a time."""
ENDPOINT = re.compile(
    r'(?P<kind>udpin|udpout|tcp|tcpin):(?P<host>[^:\s]+):(?P<port>\d{1,5})'
    r'|(?P<device>/dev/[\w./:-]+),(?P<baud>\d{3,8})'
)
EXAMPLES = (
    'udpin:0.0.0.0:14550, udpout:HOST:PORT, tcp:HOST:PORT, tcpin:HOST:PORT or /dev/ttyUSB0,57600'
)


def check_endpoint(endpoint: str) -> None:
    """Raise ValueError, naming the kinds there are, for what is no endpoint.

    pymavlink would take more: it runs or overwrites files that are named like one.
    """
    found = ENDPOINT.fullmatch(endpoint)
    if found is None or (found['port'] and not 0 < int(found['port']) < 65536):
        raise ValueError(f"endpoint '{endpoint[:80]}': expected {EXAMPLES}")


def signing_key(passphrase: str) -> bytes:
    """Return the 32 bytes of a passphrase as Mission Planner and MAVProxy make them."""
    return hashlib.sha256(passphrase.encode()).digest()


class Link:
    """A connection and the thread that reads from it."""

    def __init__(
        self,
        endpoint: str,
        source: tuple[int, int],
        receive: Callable[[Link, Any], None],
        tell: Callable[[str], None],
        key: bytes = b'',
    ) -> None:
        """Open it, on a thread of its own. Raises ValueError for what is no endpoint.

        Args:
            endpoint: as pymavlink names it, see `EXAMPLES`.
            source: system and component id of what is sent.
            receive: called on the thread with each message; an exception ends up with `tell`.
            tell: called with a line when the connection breaks and when it is open.
            key: 32 bytes; with it messages are signed, and unsigned ones passed over.

        """
        check_endpoint(endpoint)
        self.endpoint = endpoint
        self._source, self._key = source, key
        self._receive, self._tell = receive, tell
        self._lock = threading.Lock()
        self._connection: Any = None
        self._told = ''
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f'link {endpoint}', daemon=True)
        self._thread.start()

    def send(self, message: Any) -> None:
        """Send a message; nothing while the connection is broken."""
        with self._lock, suppress(OSError):
            if self._connection is not None:
                self._connection.mav.send(message)

    def close(self) -> None:
        """Close it and end its thread."""
        self._closed.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                connection = self._open()
            except Exception as error:  # of sockets, names, devices
                self._say(f'cannot open: {error}')
                self._closed.wait(REOPEN)
                continue
            self._say('open')
            with self._lock:
                self._connection = connection
            try:
                while not self._closed.is_set():
                    self._read(connection)
            except Exception as error:
                self._say(f'broken: {error or type(error).__name__}')
                self._closed.wait(REOPEN)
            finally:
                with self._lock:
                    self._connection = None
                with suppress(Exception):
                    connection.close()

    def _say(self, what: str) -> None:
        if what != self._told:
            self._told = what
            self._tell(f'MAVLink {self.endpoint}: {what}')

    def _open(self) -> Any:
        system, component = self._source
        device, _, baud = self.endpoint.partition(',')
        connection = mavutil.mavlink_connection(
            device,
            baud=int(baud or 57600),
            source_system=system,
            source_component=component,
            retries=1,
            udp_timeout=STATION_TIMEOUT,
        )
        if self._key:
            connection.setup_signing(self._key)
        return connection

    def _read(self, connection: Any) -> None:
        readable, _, _ = select.select([connection.fd], [], [], POLL)
        if not readable:
            return
        accepting = getattr(connection, 'listen', None) is not None and connection.port is None
        with self._lock:
            data = connection.recv(RECEIVED)
            if not data and not accepting:
                self._end_of_stream(connection)
            self._forget_stations(connection)
            messages = self._parse(connection, data) if data else []
        for message in messages:
            if message.get_type() == 'BAD_DATA' or message.get_type().startswith('UNKNOWN'):
                continue
            try:
                self._receive(self, message)
            except Exception as error:
                self._tell(f'MAVLink {self.endpoint}: {message.get_type()} refused: {error}')

    def _parse(self, connection: Any, data: bytes) -> list[Any]:
        try:
            return connection.mav.parse_buffer(data) or []
        except Exception:  # bytes that pymavlink does not bear
            connection.mav.buf, connection.mav.buf_index = bytearray(), 0
            return []

    def _end_of_stream(self, connection: Any) -> None:
        if self.endpoint.startswith('tcpin:'):  # the next one may connect
            connection.port.close()
            connection.port, connection.fd = None, connection.listen.fileno()
        elif not self.endpoint.startswith('udp'):
            raise ConnectionError('the other side has closed it')

    @staticmethod
    def _forget_stations(connection: Any) -> None:
        clients: set[Any] = getattr(connection, 'clients', set())
        seen: dict[Any, float] = getattr(connection, 'clients_last_alive', {})
        while len(clients) > MOST_STATIONS:
            newest = max(seen, key=seen.__getitem__)
            clients.discard(newest)
            del seen[newest]
