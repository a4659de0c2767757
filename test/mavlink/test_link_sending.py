# SPDX-License-Identifier: Apache-2.0
"""Sending on a link never blocks, and a line that was stalled gets no outdated messages."""

from __future__ import annotations

import itertools
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip('pymavlink', reason="needs pymavlink (pip install 'hcat_ros[mavlink]')")

from stations import LIMIT, beat, free_port, heard_by, heartbeat, station, until

from hcat_ros.mavlink.dialect import mavlink, mavutil
from hcat_ros.mavlink.link import MOST_AGE, MOST_QUEUED, Link


def numbered(number: int) -> Any:
    return mavlink.MAVLink_ping_message(0, number, 0, 0)


def ends(action: Callable[[], Any]) -> bool:
    """Whether an action returns within `LIMIT`, although nothing that it may wait for happens."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(LIMIT)
    return not thread.is_alive()


def test_unresponsive_name_server_does_not_block_send(
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
        # For longer than the link takes to open: each message could start a look-up.
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


def test_unknown_host_name_is_logged_and_resolved_again(
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
    assert "cannot open: cannot resolve 'station.test'" in heard.lines[0]
    assert 'check the name, or give its IP address' in heard.lines[0]
    known.set()
    until(lambda: heard.lines[-1].endswith(': open'), 'the link')


@pytest.fixture
def wire() -> Iterator[tuple[int, str]]:
    """A serial line: file descriptor of its far end, endpoint of its near end."""
    pytest.importorskip('serial', reason='needs pyserial, which comes with pymavlink')
    far, near = os.openpty()
    yield far, f'{os.ttyname(near)},57600'
    os.close(near)
    os.close(far)


def test_stalled_serial_device_does_not_block_send(hear: Any, wire: tuple[int, str]) -> None:
    far, endpoint = wire
    heard = hear(endpoint)
    until(lambda: heard.lines, 'the link')
    sent = 2000  # more than the buffer of a terminal holds

    def send_all() -> None:
        for number in range(sent):
            heard.link.send(numbered(number))
            if number % (MOST_QUEUED // 2) == 0:
                time.sleep(0.02)

    assert ends(send_all)
    until(lambda: 'takes no bytes' in heard.lines[-1], 'that it is stuck')
    time.sleep(MOST_AGE)
    # It takes bytes again: queued messages are too old, new ones arrive.
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


def test_close_returns_although_the_serial_device_is_stalled(
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


def test_close_sends_the_queued_messages(hear: Any) -> None:
    port = free_port()
    other = mavutil.mavlink_connection(f'udpin:127.0.0.1:{port}')
    for time_around in range(20):
        heard = hear(f'udpout:127.0.0.1:{port}')
        until(lambda heard=heard: heard.link.times_opened, 'the link')
        for number in range(MOST_QUEUED // 2):
            heard.link.send(numbered(number))
        heard.link.close()
        got = [other.recv_match(type='PING', blocking=True, timeout=LIMIT) for _ in range(32)]
        assert [message.seq for message in got] == list(range(32)), time_around
    other.close()


def test_one_message_is_sent_intact_on_several_links(hear: Any) -> None:
    """Packing writes into the message, and each link packs it on a thread of its own."""
    others = [mavutil.mavlink_connection(f'udpin:127.0.0.1:{free_port()}') for _ in range(4)]
    ports = [other.port.getsockname()[1] for other in others]
    links = [hear(f'udpout:127.0.0.1:{port}').link for port in ports]
    until(lambda: all(link.times_opened for link in links), 'the links')
    for number in range(MOST_QUEUED):
        message = numbered(number)
        for link in links:
            link.send(message)
        assert not message.get_msgbuf(), 'the sender has a copy'
    for other in others:
        got = [other.recv_match(type='PING', blocking=True, timeout=LIMIT) for _ in range(64)]
        assert [one.seq for one in got] == list(range(64))
        other.close()


def test_link_survives_a_logger_that_raises() -> None:
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


def test_unpackable_message_is_logged_and_the_next_one_is_sent(hear: Any) -> None:
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
