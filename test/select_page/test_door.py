# SPDX-License-Identifier: Apache-2.0
"""Connections that nobody has let in, to a real server."""

import asyncio
import contextlib
import json
from typing import Any

import pytest

aiohttp = pytest.importorskip('aiohttp', reason='needs aiohttp (pip install aiohttp)')

from page_clients import LIMIT, ask, looking, run

from hcat_ros.select_page import door as door_module
from hcat_ros.select_page.client import packed
from hcat_ros.select_page.door import MAX_CONNECTIONS

HEADERS = ('Content-Security-Policy', 'X-Frame-Options', 'X-Content-Type-Options')


def test_idle_sockets_lock_nobody_out(serve: Any) -> None:
    server = serve()

    async def test() -> None:
        async with looking(server) as first:
            idle = [
                await asyncio.open_connection('127.0.0.1', server.port)
                for _ in range(3 * MAX_CONNECTIONS)
            ]
            async with looking(server) as second:
                for live in (first, second):
                    assert (await ask(live, ask='reset'))['ok'], 'who is in stays in'
                # The oldest had to go; at most as many as there is room for are still open.
                ended = 0
                for reader, _ in idle:
                    try:
                        ended += await asyncio.wait_for(reader.read(), 0.01) == b''
                    except ConnectionError:
                        ended += 1
                    except asyncio.TimeoutError:
                        pass
                assert ended >= 2 * MAX_CONNECTIONS
            for _, writer in idle:
                writer.close()

    run(test)


@pytest.mark.parametrize('sent', [b'', b'GET / HTTP/1.1\r\nHost: 127.0', b'GET /live HTTP/1.1\r\n'])
def test_half_requests_are_ended(serve: Any, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, 'PATIENCE', 0.3)
    server = serve()

    async def test() -> None:
        reader, writer = await asyncio.open_connection('127.0.0.1', server.port)
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), LIMIT) == b''
        writer.close()

    run(test)


def test_who_is_let_in_may_stay(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, 'PATIENCE', 0.3)
    server = serve()

    async def test() -> None:
        async with looking(server) as live:
            await asyncio.sleep(1.0)
            assert (await ask(live, ask='reset'))['ok']

    run(test)


@pytest.mark.parametrize('path', ['/', '/nothing', '/live'])
def test_every_answer_has_the_security_headers(serve: Any, path: str) -> None:
    server = serve()

    async def test() -> None:
        url = f'http://127.0.0.1:{server.port}{path}'
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            for name in HEADERS:
                assert name in response.headers, (response.status, name)

    run(test)


def test_so_has_the_answer_to_what_is_no_http(serve: Any) -> None:
    server = serve()

    async def test() -> None:
        reader, writer = await asyncio.open_connection('127.0.0.1', server.port)
        writer.write(b'nonsense\r\n\r\n')
        answer = (await asyncio.wait_for(reader.read(4096), LIMIT)).decode()
        assert answer.startswith(('HTTP/1.0 400', 'HTTP/1.1 400'))
        for name in HEADERS:
            assert name in answer
        writer.close()

    run(test)


def test_what_json_cannot_hold_is_not_sent() -> None:
    """A browser's JSON.parse fails on NaN, and the page would stand still."""
    with pytest.raises(ValueError, match='not JSON compliant'):
        packed({'status': float('nan')}, view(), picture())
    text = packed({'status': {}}, view(), picture())[4:-3]
    assert json.loads(text)['width'] == 32


def view() -> Any:
    from hcat_ros.select_page.view import View

    return View(1, lambda: None)  # type: ignore[arg-type, return-value]


def picture() -> Any:
    from hcat_ros.select_page.pictures import Picture

    return Picture(b'jpg', 32, 24)
