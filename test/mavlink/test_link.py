# SPDX-License-Identifier: Apache-2.0
"""Real sockets on loopback; the other end is pymavlink's own."""

from __future__ import annotations

import random
import select
import socket
import struct
import time
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

import pytest

pytest.importorskip('pymavlink', reason="needs pymavlink (pip install 'hcat_ros[mavlink]')")

from stations import beat, free_port, heard_by, heartbeat, station, until

from hcat_ros.boxes import Box
from hcat_ros.mavlink.camera import CameraComponent
from hcat_ros.mavlink.dialect import mavlink
from hcat_ros.mavlink.link import (
    MOST_STATIONS,
    Link,
    check_endpoint,
    signing_key,
)
from hcat_ros.mavlink.messages import CameraIdentity
from hcat_ros.mavlink.requests import ImageSize


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


def test_number_of_remembered_udp_stations_is_limited(hear: Any) -> None:
    port = free_port()
    heard = hear(f'udpin:127.0.0.1:{port}')
    until(lambda: heard.lines, 'the link')
    first = station(port)
    beat(first)
    until(lambda: heard.messages, 'the first')
    packet = mavlink.MAVLink(None, srcSystem=9)
    with ExitStack() as stack:
        others = [
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            for _ in range(10 * MOST_STATIONS)
        ]
        for other in others:
            other.sendto(heartbeat().pack(packet), ('127.0.0.1', port))
            time.sleep(0.001)
        until(lambda: len(heard.messages) > MOST_STATIONS, 'the flood')
        for _ in range(2):
            heard.link.send(heartbeat())
            assert heard_by(first), 'who was there first is still served'
        # The second message goes out after all of the first one has.
        served, _, _ = select.select(others, [], [], 0)
    assert 0 < len(served) < MOST_STATIONS


def test_tcp_link_reconnects_when_the_other_end_returns(hear: Any) -> None:
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
    assert 'the other side closed the connection' in ' '.join(heard.lines)


@pytest.mark.parametrize('reset', [False, True])
def test_tcp_server_accepts_the_next_station(hear: Any, reset: bool) -> None:
    port = free_port(socket.SOCK_STREAM)
    heard = hear(f'tcpin:127.0.0.1:{port}')
    until(lambda: heard.lines, 'the link')
    for number in range(1, 6):
        other = station(port, 'tcp')
        beat(other)
        until(lambda: len(heard.messages) == number, 'a message')  # noqa: B023
        heard.link.send(heartbeat())
        assert heard_by(other)
        if reset:  # closing resets the connection, as when a station or its network dies
            other.port.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        other.close()
        if reset and number % 2:  # the link notices as it sends, or as it reads
            for _ in range(3):
                heard.link.send(heartbeat())
    assert heard.lines == [f'MAVLink tcpin:127.0.0.1:{port}: open']


def test_link_with_a_key_accepts_only_signed_messages(hear: Any) -> None:
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


def test_all_messages_of_a_packet_arrive_although_the_receiver_raises(hear: Any) -> None:
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
def test_invalid_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(ValueError, match='expected udpin:'):
        check_endpoint(endpoint)


@pytest.mark.parametrize('endpoint', ['/dev/ttyUSB0,57600', 'tcp:robot.local:5760'])
def test_valid_endpoint_is_accepted(endpoint: str) -> None:
    check_endpoint(endpoint)


class CountingTracker:
    """A tracker that counts its requests and accepts all of them."""

    def __init__(self) -> None:
        self.asked = 0

    def name_target(self, box: Box) -> Future[str]:
        self.asked += 1
        done: Future[str] = Future()
        done.set_result('')
        return done

    def drop_targets(self) -> Future[str]:
        return self.name_target(Box(0, 0, 1, 1))


def test_camera_survives_20000_mutated_frames(hear: Any) -> None:
    """Bytes of all the messages that a camera takes, changed at random, over a real socket."""
    rng = random.Random(7)
    tracker, failures = CountingTracker(), []
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
