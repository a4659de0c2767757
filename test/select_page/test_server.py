# SPDX-License-Identifier: Apache-2.0
"""A real server and real websocket clients: which pictures they get, and how many."""

import asyncio
import json
import resource
import socket
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

aiohttp = pytest.importorskip('aiohttp', reason='needs aiohttp (pip install aiohttp)')

from page_clients import looking, next_frame, next_message, run, until

from hcat_ros.boxes import Box
from hcat_ros.select_page import client as client_module
from hcat_ros.select_page.view import ShownTrack, Status, View


def test_picture_is_sent_with_its_track_in_full_image_pixels(serve: Any, seen: Any) -> None:
    server = serve(max_width=160)
    stamp = 1_764_000_000_123_456_789  # more than JavaScript's numbers hold

    async def test() -> None:
        async with looking(server) as live:
            server.feed.tell(Status('tracking', 'well'))
            server.feed.show(seen(stamp, 240, 320, (20.5, 30, 40, 50)))
            frame, pixels = await next_frame(live)
            assert pixels.shape == (120, 160, 3)
            assert frame['stamp'] == str(stamp)
            assert (frame['width'], frame['height']) == (320, 240)
            assert frame['track'] == {
                'box': [20.5, 30, 40, 50],
                'id': '1',
                'class': 'target',
                'score': 0.9,
            }
            assert frame['others'] == []
            others = (ShownTrack(Box(1, 2, 3, 4), '2', 'car', None),)
            server.feed.show(replace(seen(stamp + 1, box=(20, 30, 40, 50)), others=others))
            frame, _ = await next_frame(live)
            assert frame['track']['id'] == '1'
            assert frame['others'] == [
                {'box': [1, 2, 3, 4], 'id': '2', 'class': 'car', 'score': None}
            ]
            assert frame['status'] == {'state': 'tracking', 'detail': 'well', 'problem': ''}

    run(test)


def test_unreadable_image_is_reported_and_the_next_one_is_shown(serve: Any, seen: Any) -> None:
    server = serve()

    def broken() -> Any:
        raise ValueError("encoding '32FC1' is not supported")

    async def test() -> None:
        async with looking(server) as live:
            server.feed.show(View(1, broken))
            message = json.loads((await next_message(live)).data)
            assert message['status']['problem'] == (
                "image refused: encoding '32FC1' is not supported"
            )
            server.feed.show(seen(2))
            assert (await next_frame(live))[0]['stamp'] == '2'

    run(test)


def test_client_gets_only_the_newest_picture_at_a_limited_rate(serve: Any, seen: Any) -> None:
    server = serve(rate=20.0)

    async def test() -> None:
        async with looking(server) as live:
            stamps = []
            started = time.monotonic()
            for _ in range(6):
                for number in range(10):
                    server.feed.show(seen(len(stamps) * 10 + number))
                stamps.append(int((await next_frame(live))[0]['stamp']))
            assert stamps == [9, 19, 29, 39, 49, 59]
            assert time.monotonic() - started >= 5 / 20

    run(test)


def test_clients_share_each_picture_and_the_robot_knows_it_is_watched(
    serve: Any, seen: Any, robot: Any
) -> None:
    server = serve()
    read: list[int] = []

    def view(stamp: int) -> View:
        made = seen(stamp)

        def reading() -> Any:
            read.append(stamp)
            return made.read()

        return View(stamp, reading)

    async def test() -> None:
        assert robot.watched == []
        async with looking(server) as first, looking(server) as second:
            server.feed.show(view(7))
            frames = await asyncio.gather(next_frame(first), next_frame(second))
            assert [frame['stamp'] for frame, _ in frames] == ['7', '7']
            await first.close()
            server.feed.show(view(8))
            assert (await next_frame(second))[0]['stamp'] == '8'
            assert robot.watched == [True]
        await until(lambda: robot.watched == [True, False])
        assert read == [7, 8]

    run(test)


def test_client_that_reads_nothing_uses_no_memory_and_is_disconnected(
    serve: Any, robot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, 'SEND_LIMIT', 3.0)
    server = serve(rate=120.0, max_width=4096, jpeg_quality=100)
    noise = np.random.default_rng(0).integers(0, 256, (900, 1600, 3), np.uint8)
    jpegs: list[int] = []

    def show(stamp: int) -> None:
        def read() -> Any:
            jpegs.append(stamp)
            return noise, 'bgr8'

        server.feed.show(View(stamp, read))

    async def test() -> None:
        deaf = deaf_client(server.port)
        await until(lambda: robot.watched == [True])
        before = peak_memory()
        stamp, count = 0, -1
        while count != len(jpegs):  # until all buffers of the connection are full
            count = len(jpegs)
            for _ in range(20):
                stamp += 1
                show(stamp)
                deaf.sendall(text_message(b'{"ask": "next"}'))
                await asyncio.sleep(0.02)
        assert 0 < len(jpegs) < stamp / 2
        # Other clients are still served.
        async with looking(server) as live:
            for _ in range(5):
                stamp += 1
                show(stamp)
                assert (await next_frame(live))[0]['stamp'] == str(stamp)
        assert peak_memory() - before < 60, 'MB'
        await until(lambda: robot.watched == [True, False])  # SEND_LIMIT is over
        deaf.close()

    run(test)


def deaf_client(port: int) -> socket.socket:
    """Return a websocket that the server has accepted and that reads nothing."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(('127.0.0.1', port))
    deaf.sendall(
        f'GET /live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n'
        'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'.encode()
    )
    deaf.sendall(text_message(b'{}'))
    return deaf


def text_message(text: bytes) -> bytes:
    # Clients must mask their messages; a mask of zeros leaves the text as it is.
    return bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text


def peak_memory() -> float:
    """Return the peak memory of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def test_client_that_reads_nothing_does_not_delay_closing(serve: Any, robot: Any) -> None:
    server = serve(rate=120.0, max_width=4096, jpeg_quality=100)
    noise = np.random.default_rng(0).integers(0, 256, (900, 1600, 3), np.uint8)

    async def test() -> None:
        deaf = deaf_client(server.port)
        await until(lambda: robot.watched == [True])
        for stamp in range(40):
            server.feed.show(View(stamp, lambda: (noise, 'bgr8')))
            deaf.sendall(text_message(b'{"ask": "next"}'))
            await asyncio.sleep(0.02)
        started = time.monotonic()
        await asyncio.get_running_loop().run_in_executor(None, server.close)
        assert time.monotonic() - started < 6
        deaf.close()

    run(test)
