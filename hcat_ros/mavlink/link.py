# SPDX-License-Identifier: Apache-2.0
"""One MAVLink connection, which reopens when it breaks and keeps a bounded queue."""

from __future__ import annotations

import hashlib
import re
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from typing import Any

from hcat_ros.mavlink.dialect import mavutil

MOST_STATIONS = 16
"""Most addresses that a listening UDP connection sends to; further ones get no messages."""
STATION_TIMEOUT = 30.0
"""Seconds without a message from an address after which nothing is sent to it."""
REOPEN = 2.0
"""Seconds until a broken connection is opened again."""
POLL = 0.1
"""Seconds within which the reading thread notices that the link is closed."""
RECEIVED = 4096
"""Bytes that are read at a time."""
MOST_QUEUED = 64
"""Most messages that wait to be sent on one link; the oldest ones are dropped first."""
WRITE_TIMEOUT = 0.1
"""Seconds that a serial device may take for a message; then the message is dropped."""
MOST_AGE = 0.5
"""Seconds that a message may wait for a serial device; then it is dropped.

After a pause of the line, a velocity from before the pause must not move the vehicle.
"""
CLOSE_TIMEOUT = 1.0
"""Seconds that closing waits for what is queued, and then for the thread that reads."""
ENDPOINT = re.compile(
    r'(?P<kind>udpin|udpout|tcp|tcpin):(?P<host>[^:\s]+):(?P<port>\d{1,5})'
    r'|(?P<device>/dev/[\w./:-]+),(?P<baud>\d{3,8})'
)
EXAMPLES = (
    'udpin:0.0.0.0:14550, udpout:HOST:PORT, tcp:HOST:PORT, tcpin:HOST:PORT or /dev/ttyUSB0,57600'
)


def check_endpoint(endpoint: str) -> None:
    """Raise ValueError with the valid forms unless `endpoint` has one of them.

    pymavlink accepts more: it runs or overwrites files whose names are passed as an endpoint.
    """
    found = ENDPOINT.fullmatch(endpoint)
    if found is None or (found['port'] and not 0 < int(found['port']) < 65536):
        raise ValueError(f"endpoint '{endpoint[:80]}': expected {EXAMPLES}")


def signing_key(passphrase: str) -> bytes:
    """Return the 32 bytes that Mission Planner and MAVProxy derive from a passphrase."""
    return hashlib.sha256(passphrase.encode()).digest()


class Link:
    """A connection, the thread that opens it and reads from it, and the thread that sends on it.

    Only these two threads wait for name servers, sockets and devices; `send` never does.
    """

    def __init__(
        self,
        endpoint: str,
        source: tuple[int, int],
        receive: Callable[[Link, Any], None],
        tell: Callable[[str], None],
        key: bytes = b'',
    ) -> None:
        """Start both threads. Raises ValueError if `endpoint` is invalid.

        Args:
            endpoint: as pymavlink names it, see `EXAMPLES`.
            source: system and component id of the messages that are sent.
            receive: called on the reading thread with each message; `tell` gets its exceptions.
            tell: called with a line when the connection breaks and when it is open.
            key: 32 bytes; with a key, messages are signed and unsigned ones ignored.

        """
        check_endpoint(endpoint)
        self.endpoint = endpoint
        self.times_opened = 0
        """Number of times that the connection has been opened so far."""
        self._source, self._key = source, key
        self._receive, self._tell = receive, tell
        self._lock = threading.Lock()
        self._connection: Any = None
        self._told = ''
        self._queue: deque[tuple[float, Any]] = deque(maxlen=MOST_QUEUED)
        """Messages and the times at which they were queued (s, monotonic)."""
        self._queued = threading.Condition()
        self._ends = False
        """Whether the sender ends once the queue is empty."""
        self._closed = threading.Event()
        self._sender, self._reader = (
            threading.Thread(target=run, name=f'{endpoint} {duty}', daemon=True)
            for duty, run in (('sender', self._send_queued), ('reader', self._run))
        )
        self._sender.start()
        self._reader.start()

    def send(self, message: Any) -> None:
        """Queue a message, and return at once; it is dropped while the connection is broken."""
        # A copy, because sending changes a message, which other links may send at the same time.
        with self._queued:
            self._queue.append((time.monotonic(), copy(message)))
            self._queued.notify()

    def close(self) -> None:
        """Send what is queued, close the connection and end the threads.

        Returns after twice `CLOSE_TIMEOUT` at the latest. If a device or a name server does not
        answer, messages are lost and a thread is left behind.
        """
        with self._queued:
            self._ends = True
            self._queued.notify()
        self._sender.join(CLOSE_TIMEOUT)
        self._closed.set()
        self._reader.join(CLOSE_TIMEOUT)

    def _send_queued(self) -> None:
        while not self._closed.is_set():
            with self._queued:
                self._queued.wait_for(lambda: self._queue or self._ends)
                if not self._queue:
                    return
                queued_at, message = self._queue.popleft()
            try:
                self._write(message, queued_at)
            except Exception as error:  # a value that does not fit into its field, a dead socket
                self._say(f'{message.get_type()} not sent: {error}')

    def _write(self, message: Any, queued_at: float) -> None:
        connection = self._connection
        if connection is None:
            return
        if self._is_serial:
            # pyserial would retry without end, and pymavlink would report a dead device.
            _, writable, _ = select.select([], [connection.fd], [], WRITE_TIMEOUT)
            if not writable or time.monotonic() - queued_at > MOST_AGE:
                self._say(
                    'the device takes no bytes, or takes them too slowly: messages are dropped; '
                    'check its flow control and baud rate'
                )
                return
        with self._lock:
            if self._connection is connection:
                connection.mav.send(message)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                connection = self._open()
            except Exception as error:  # errors of sockets, name servers, devices
                self._say(f'cannot open: {error}')
                self._closed.wait(REOPEN)
                continue
            self._say('open')
            with self._lock:
                self._connection = connection
                self.times_opened += 1
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
        if what != self._told and not self._closed.is_set():
            self._told = what
            self._log(what)

    def _log(self, what: str) -> None:
        """Log a line. Exceptions of `tell` are ignored, because they would end a thread."""
        with suppress(Exception):
            self._tell(f'MAVLink {self.endpoint}: {what}')

    @property
    def _is_serial(self) -> bool:
        return self.endpoint.startswith('/dev/')

    def _open(self) -> Any:
        system, component = self._source
        device, _, baud = self.endpoint.partition(',')
        if not self._is_serial:
            # pymavlink would look the name up while it sends, and again for every message if the
            # lookup fails.
            kind, host, port = device.split(':')
            try:
                device = f'{kind}:{socket.gethostbyname(host)}:{port}'
            except (OSError, UnicodeError) as error:
                raise ConnectionError(
                    f"cannot resolve '{host}' ({error}): check the name, or give its IP address"
                ) from error
        connection = mavutil.mavlink_connection(
            device,
            baud=int(baud or 57600),
            source_system=system,
            source_component=component,
            retries=1,
            udp_timeout=STATION_TIMEOUT,
        )
        if self._is_serial:
            connection.port.write_timeout = WRITE_TIMEOUT
        if self._key:
            connection.setup_signing(self._key)
        return connection

    def _read(self, connection: Any) -> None:
        fd = connection.fd
        try:
            readable, _, _ = select.select([fd], [], [], POLL)
        except (OSError, ValueError):
            if fd != connection.fd:  # pymavlink has closed it while it sent
                return
            raise
        if not readable:
            return
        with self._lock:
            # Checked under the lock, because the sender may also notice that a station has gone.
            accepting = getattr(connection, 'listen', None) is not None and connection.port is None
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
                self._log(f'{message.get_type()} refused: {error}')

    def _parse(self, connection: Any, data: bytes) -> list[Any]:
        try:
            return connection.mav.parse_buffer(data) or []
        except Exception:  # bytes that pymavlink cannot parse
            connection.mav.buf, connection.mav.buf_index = bytearray(), 0
            return []

    def _end_of_stream(self, connection: Any) -> None:
        if self.endpoint.startswith('tcpin:'):  # the next station may connect
            if connection.port is not None:  # after a reset pymavlink has closed it already
                connection.port.close()
            connection.port, connection.fd = None, connection.listen.fileno()
        elif not self.endpoint.startswith('udp'):
            raise ConnectionError('the other side closed the connection')

    @staticmethod
    def _forget_stations(connection: Any) -> None:
        clients: set[Any] = getattr(connection, 'clients', set())
        seen: dict[Any, float] = getattr(connection, 'clients_last_alive', {})
        while len(clients) > MOST_STATIONS:
            newest = max(seen, key=seen.__getitem__)
            clients.discard(newest)
            del seen[newest]
