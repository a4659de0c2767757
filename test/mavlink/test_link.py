# SPDX-License-Identifier: Apache-2.0
"""Real sockets on loopback; the other end is pymavlink's own."""

from __future__ import annotations

import itertools
import os
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

pytest.importorskip('pymavlink', reason="needs pymavlink (pip install 'hcat_ros[mavlink]')")

from hcat_ros.boxes import Box
from hcat_ros.mavlink.camera import CameraComponent
from hcat_ros.mavlink.dialect import mavlink, mavutil
from hcat_ros.mavlink.link import (
    MOST_AGE,
    MOST_QUEUED,
    MOST_STATIONS,
    Link,
    check_endpoint,
    signing_key,
)
from hcat_ros.mavlink.messages import CameraIdentity
from hcat_ros.mavlink.requests import ImageSize

LIMIT = 30.0
"""Seconds for what should take none."""


def until(so: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + LIMIT
    while not (found := so()):
        assert time.monotonic() < deadline, f'not seen: {what}'
        time.sleep(0.01)
    return found


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


class Heard:
    """A link and what comes on it."""

    def __init__(self, endpoint: str, key: bytes = b'') -> None:
        self.messages: list[Any] = []
        self.lines: list[str] = []
        self.link = Link(endpoint, (1, 100), self._receive, self.lines.append, key)

    def _receive(self, link: Link, message: Any) -> None:
        assert link is self.link
        self.messages.append(message)
        if message.get_type() == 'PING':
            raise ValueError('no ping today')


@pytest.fixture
def hear() -> Iterator[Callable[..., Heard]]:
    made: list[Heard] = []

    def make(*arguments: Any) -> Heard:
        made.append(Heard(*arguments))
        return made[-1]

    yield make
    for heard in made:
        heard.link.close()


def station(port: int, kind: str = 'udpout', key: bytes = b'') -> Any:
    found = mavutil.mavlink_connection(f'{kind}:127.0.0.1:{port}', source_system=255)
    if key:
        found.setup_signing(key)
    return found


def beat(other: Any) -> None:
    other.mav.heartbeat_send(mavlink.MAV_TYPE_GCS, mavlink.MAV_AUTOPILOT_INVALID, 0, 0, 0)


def heartbeat() -> Any:
    return mavlink.MAVLink_heartbeat_message(30, 8, 0, 0, 4, 3)


def heard_by(other: Any) -> Any:
    return other.recv_match(type='HEARTBEAT', blocking=True, timeout=LIMIT)


def test_several_stations_hear_one_udp_link(hear: Any) -> None:
    port = free_port()
    heard = hear(f'udpin:127.0.0.1:{port}')
    until(lambda: heard.lines, 'the link')
    stations = [station(port) for _ in range(3)]
    for one in stations:
        beat(one)
    until(lambda: len(heard.messages) == 3, 'all')
    heard.link.send(heartbeat())
    assert [heard_by(one).type for one in stations] == [30] * 3


def test_addresses_without_end_are_not_all_kept(hear: Any) -> None:
    port = free_port()
    heard = hear(f'udpin:127.0.0.1:{port}')
    until(lambda: heard.lines, 'the link')
    first = station(port)
    beat(first)
    until(lambda: heard.messages, 'the first')
    packet = mavlink.MAVLink(None, srcSystem=9)
    for _ in range(10 * MOST_STATIONS):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(heartbeat().pack(packet), ('127.0.0.1', port))
        time.sleep(0.001)
    until(lambda: len(heard.messages) > MOST_STATIONS, 'the flood')
    assert len(heard.link._connection.clients) <= MOST_STATIONS
    heard.link.send(heartbeat())
    assert heard_by(first), 'who was there first is still served'


def test_a_tcp_link_comes_back_when_the_other_end_does(hear: Any) -> None:
    port = free_port(socket.SOCK_STREAM)
    heard = hear(f'tcp:127.0.0.1:{port}')
    until(lambda: any('cannot open' in line for line in heard.lines), 'that nobody is there')
    for _ in range(2):
        heard.messages.clear()
        other = station(port, 'tcpin')

        def greets(other: Any = other) -> bool:
            other.recv_msg()  # accepts
            beat(other)
            return bool(heard.messages)

        until(greets, 'a message')
        heard.link.send(heartbeat())
        assert heard_by(other)
        other.close()
        lines = len(heard.lines)
        until(lambda: len(heard.lines) > lines, 'that it is broken')  # noqa: B023
    assert 'the other side has closed it' in ' '.join(heard.lines)


def test_a_tcp_server_takes_the_next_station(hear: Any) -> None:
    port = free_port(socket.SOCK_STREAM)
    heard = hear(f'tcpin:127.0.0.1:{port}')
    until(lambda: heard.lines, 'the link')
    for number in range(1, 4):
        other = station(port, 'tcp')
        beat(other)
        until(lambda: len(heard.messages) == number, 'a message')  # noqa: B023
        heard.link.send(heartbeat())
        assert heard_by(other)
        other.close()


def test_a_tcp_server_takes_the_next_station_after_a_reset(hear: Any) -> None:
    port = free_port(socket.SOCK_STREAM)
    heard = hear(f'tcpin:127.0.0.1:{port}')
    until(lambda: heard.lines, 'the link')
    for number in range(1, 6):
        other = station(port, 'tcp')
        beat(other)
        until(lambda: len(heard.messages) == number, 'a message')  # noqa: B023
        heard.link.send(heartbeat())
        assert heard_by(other)
        # Closing resets the connection, as when a station's process or its network dies.
        other.port.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        other.close()
        if number % 2:  # the link notices as it sends, or as it reads
            for _ in range(3):
                heard.link.send(heartbeat())
    assert heard.lines == [f'MAVLink tcpin:127.0.0.1:{port}: open']


def numbered(number: int) -> Any:
    return mavlink.MAVLink_ping_message(0, number, 0, 0)


def ends(action: Callable[[], Any]) -> bool:
    """Whether an action returns while nothing is done about what it may wait for."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(LIMIT)
    return not thread.is_alive()


def test_a_name_server_that_does_not_answer_holds_up_nobody(
    hear: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered, look_up = [], threading.Event(), socket.gethostbyname
    port = free_port()
    other = mavutil.mavlink_connection(f'udpin:127.0.0.1:{port}')

    def slow(host: str) -> str:
        if host != 'station.test':
            return look_up(host)
        asked.append(threading.current_thread().name)
        answered.wait(3 * LIMIT)
        return '127.0.0.1'

    monkeypatch.setattr(socket, 'gethostbyname', slow)
    heard = hear(f'udpout:station.test:{port}')

    def send_much() -> None:
        # Longer than the link takes to open: each of them would ask.
        for number in range(100):
            heard.link.send(numbered(number))
            time.sleep(0.01)

    try:
        assert ends(send_much)
    finally:
        answered.set()
    until(lambda: heard.lines == [f'MAVLink udpout:station.test:{port}: open'], 'the link')
    heard.link.send(heartbeat())
    assert heard_by(other)
    assert len(asked) == 1
    other.close()


def test_a_name_that_nobody_knows_is_told_and_asked_for_again(
    hear: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, known = free_port(), threading.Event()

    def look_up(host: str) -> str:
        if host == 'station.test' and not known.is_set():
            raise socket.gaierror(-2, 'Name or service not known')
        return '127.0.0.1'

    monkeypatch.setattr(socket, 'gethostbyname', look_up)
    heard = hear(f'udpout:station.test:{port}')
    until(lambda: heard.lines, 'that there is no address')
    assert "cannot open: no address of 'station.test'" in heard.lines[0]
    assert 'check the name, or give its IP address' in heard.lines[0]
    known.set()
    until(lambda: heard.lines[-1].endswith(': open'), 'the link')


@pytest.fixture
def wire() -> Iterator[tuple[int, str]]:
    """A serial line: the file of its far end, and the endpoint of the near one."""
    pytest.importorskip('serial', reason='needs pyserial, which comes with pymavlink')
    far, near = os.openpty()
    yield far, f'{os.ttyname(near)},57600'
    os.close(near)
    os.close(far)


def test_a_serial_device_that_takes_no_bytes_holds_up_nobody(
    hear: Any, wire: tuple[int, str]
) -> None:
    far, endpoint = wire
    heard = hear(endpoint)
    until(lambda: heard.lines, 'the link')
    sent = 2000  # more than a terminal holds

    def send_all() -> None:
        for number in range(sent):
            heard.link.send(numbered(number))
            if number % (MOST_QUEUED // 2) == 0:
                time.sleep(0.02)

    assert ends(send_all)
    until(lambda: 'takes no bytes' in heard.lines[-1], 'that it is stuck')
    time.sleep(MOST_AGE)
    # It takes bytes again: what waited is too old, what comes now is there.
    ears, got = mavlink.MAVLink(None), []
    ears.robust_parsing = True
    fresh = itertools.count(sent)

    def read() -> bool:
        heard.link.send(numbered(next(fresh)))
        while select.select([far], [], [], 0)[0]:
            found = ears.parse_buffer(os.read(far, 4096)) or []
            got.extend(one.seq for one in found if one.get_type() == 'PING')
        return bool(got) and got[-1] >= sent

    until(read, 'a new one')
    assert got == sorted(got)
    assert not set(range(sent - MOST_QUEUED, sent)) & set(got)


def test_closing_takes_a_bounded_time_though_a_device_takes_no_bytes(
    hear: Any, wire: tuple[int, str]
) -> None:
    heard = hear(wire[1])
    until(lambda: heard.lines, 'the link')

    def fill_and_close() -> None:
        while not any('takes no bytes' in line for line in heard.lines):
            for number in range(MOST_QUEUED):
                heard.link.send(numbered(number))
            time.sleep(0.01)
        heard.link.close()

    assert ends(fill_and_close)


def test_closing_sends_what_is_queued(hear: Any) -> None:
    port = free_port()
    other = mavutil.mavlink_connection(f'udpin:127.0.0.1:{port}')
    for time_around in range(20):
        heard = hear(f'udpout:127.0.0.1:{port}')
        until(lambda heard=heard: heard.link._connection, 'the link')
        for number in range(MOST_QUEUED // 2):
            heard.link.send(numbered(number))
        heard.link.close()
        got = [other.recv_match(type='PING', blocking=True, timeout=LIMIT) for _ in range(32)]
        assert [message.seq for message in got] == list(range(32)), time_around
    other.close()


def test_one_message_on_many_links_is_whole_on_each(hear: Any) -> None:
    """Packing writes into the message, and each link packs it on a thread of its own."""
    others = [mavutil.mavlink_connection(f'udpin:127.0.0.1:{free_port()}') for _ in range(4)]
    ports = [other.port.getsockname()[1] for other in others]
    links = [hear(f'udpout:127.0.0.1:{port}').link for port in ports]
    until(lambda: all(link._connection for link in links), 'the links')
    for number in range(MOST_QUEUED):
        message = numbered(number)
        for link in links:
            link.send(message)
        assert not message._msgbuf, 'the sender has a copy'
    for other in others:
        got = [other.recv_match(type='PING', blocking=True, timeout=LIMIT) for _ in range(64)]
        assert [one.seq for one in got] == list(range(64))
        other.close()


def test_a_link_outlives_a_logger_that_raises() -> None:
    port, lines, got = free_port(), [], []

    def fail(line: str) -> None:
        lines.append(line)
        raise ValueError('Logger severity cannot be changed between calls.')

    link = Link(
        f'udpin:127.0.0.1:{port}', (1, 100), lambda link, message: got.append(message), fail
    )
    try:
        until(lambda: lines, 'the link')
        other = station(port)
        until(lambda: beat(other) or got, 'a message')
        link.send(numbered(-1))
        until(lambda: len(lines) > 1, 'that it cannot be packed')
        link.send(heartbeat())
        assert heard_by(other)
    finally:
        link.close()


def test_a_message_that_cannot_be_packed_is_told_and_the_next_one_sent(hear: Any) -> None:
    port = free_port()
    heard = hear(f'udpin:127.0.0.1:{port}')
    until(lambda: heard.lines, 'the link')
    other = station(port)
    beat(other)
    until(lambda: heard.messages, 'the station')
    heard.link.send(numbered(-1))
    heard.link.send(heartbeat())
    assert heard_by(other)
    assert 'PING not sent: ' in heard.lines[-1]


def test_signed_messages_alone_are_heard_with_a_key(hear: Any) -> None:
    port, key = free_port(), signing_key('a secret of the operator')
    heard = hear(f'udpin:127.0.0.1:{port}', key)
    until(lambda: heard.lines, 'the link')
    strangers = [station(port), station(port, key=signing_key('a guess'))]
    for one in strangers:
        beat(one)
    friend = station(port, key=key)
    beat(friend)
    until(lambda: heard.messages, 'the friend')
    time.sleep(0.2)
    assert [message.get_signed() for message in heard.messages] == [True]
    heard.link.send(heartbeat())
    assert heard_by(friend).get_signed()


def test_many_messages_in_one_packet_and_a_receiver_that_fails(hear: Any) -> None:
    port = free_port()
    heard = hear(f'udpin:127.0.0.1:{port}')
    until(lambda: heard.lines, 'the link')
    packet = mavlink.MAVLink(None, srcSystem=9)
    ping = mavlink.MAVLink_ping_message(0, 0, 0, 0)
    data = b''.join(m.pack(packet) for m in [heartbeat(), ping] * 50)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(data, ('127.0.0.1', port))
    until(lambda: len(heard.messages) == 100, 'all')
    assert 'PING refused: no ping today' in heard.lines[-1]


@pytest.mark.parametrize(
    'endpoint',
    [
        '',
        'udp:1.2.3.4:5',
        'udpin:host',
        'udpin:host:70000',
        'udpin:0.0.0.0:0',
        'udpin:[::1]:5',
        'tcp:host:port',
        '/bin/true',
        'run.elf',
        'flight.tlog',
        'csv:x',
        '/dev/ttyUSB0',
    ],
)
def test_an_endpoint_that_is_none_is_named(endpoint: str) -> None:
    with pytest.raises(ValueError, match='expected udpin:'):
        check_endpoint(endpoint)


@pytest.mark.parametrize('endpoint', ['/dev/ttyUSB0,57600', 'tcp:robot.local:5760'])
def test_endpoints(endpoint: str) -> None:
    check_endpoint(endpoint)


class Still:
    """A tracker that is never asked."""

    def __init__(self) -> None:
        self.asked = 0

    def name_target(self, box: Box) -> Future[str]:
        self.asked += 1
        done: Future[str] = Future()
        done.set_result('')
        return done

    def drop_targets(self) -> Future[str]:
        return self.name_target(Box(0, 0, 1, 1))


def test_20000_mutated_frames_end_nothing(hear: Any) -> None:
    """Bytes of all the messages that a camera takes, changed at random, over a real socket."""
    rng = random.Random(7)
    tracker, failures = Still(), []
    camera = CameraComponent(CameraIdentity(), tracker, lambda link, message: None)
    camera.set_size(ImageSize(640, 480))
    packet = mavlink.MAVLink(None, srcSystem=255)
    port = free_port()

    pings: list[Any] = []

    def ping(other: socket.socket) -> None:
        message = mavlink.MAVLink_ping_message(0, 0, 0, 0)
        other.sendto(message.pack(packet), ('127.0.0.1', port))

    def receive(link: Link, message: Any) -> None:
        if message.get_type() == 'PING':
            pings.append(message)
        try:
            camera.receive(link, message, time.monotonic())
        except Exception as error:
            failures.append(f'{message}: {error!r}')
            raise

    lines: list[str] = []
    link = Link(f'udpin:127.0.0.1:{port}', (1, 100), receive, lines.append)
    camera.add_link(link)
    until(lambda: lines, 'the link')
    seeds = [(2005, (0.2, 0.2, 0.5, 0.5)), (2004, (0.5, 0.5)), (2010, ()), (512, (259,))]
    seeds += [(511, (275, 1e5)), (510, (275,)), (521, (1,)), (400, (1,))]
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            for number in range(20_000):
                command, parameters = rng.choice(seeds)
                values = [*parameters, *(0.0,) * (7 - len(parameters))]
                if rng.random() < 0.5:  # values that pass the checksum
                    place = rng.randrange(7)
                    values[place] = rng.choice(
                        (float('nan'), float('inf'), -1.0, 1e30, 2.0**24, 0.5, rng.random())
                    )
                to = (rng.choice((0, 1, 2, 255)), rng.choice((0, 1, 100, 101)))
                message = mavlink.MAVLink_command_long_message(*to, command, 0, *values)
                data = bytearray(message.pack(packet))
                if rng.random() < 0.6:
                    for _ in range(rng.randrange(1, 5)):
                        data[rng.randrange(len(data))] = rng.randrange(256)
                if rng.random() < 0.1:
                    data = data[: rng.randrange(len(data))]
                other.sendto(data, ('127.0.0.1', port))
                if number % 100 == 99:  # all of them are read before more are sent
                    pings.clear()
                    until(lambda: ping(other) or pings, 'a ping')
            camera.advance(time.monotonic())
            seen: list[Any] = []
            camera.send = lambda link, message: seen.append(message)
            request = mavlink.MAVLink_command_long_message(1, 100, 521, 0, 1, 0, 0, 0, 0, 0, 0)

            def answers() -> bool:
                other.sendto(request.pack(packet), ('127.0.0.1', port))
                return any(message.get_type() == 'CAMERA_INFORMATION' for message in seen)

            until(answers, 'an answer after the flood')
    finally:
        link.close()
    assert failures == []
    assert tracker.asked > 0, 'what was whole came through'
