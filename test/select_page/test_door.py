# SPDX-License-Identifier: Apache-2.0
"""Connections to a real server that are not authorised."""

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


def test_idle_sockets_do_not_lock_clients_out(serve: Any) -> None:
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
                # The oldest ones were closed; at most MAX_CONNECTIONS are still open.
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
def test_incomplete_request_is_disconnected(
    serve: Any, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, 'PATIENCE', 0.3)
    server = serve()

    async def test() -> None:
        reader, writer = await asyncio.open_connection('127.0.0.1', server.port)
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), LIMIT) == b''
        writer.close()

    run(test)


def test_accepted_client_is_not_disconnected(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_answer_to_a_non_http_request_has_the_security_headers(serve: Any) -> None:
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


def test_nan_is_refused_when_packing_json() -> None:
    """A browser's JSON.parse fails on NaN, and the page would stop updating."""
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


NO_REQUESTS = (
    b'GET / HTTP/9.9\r\n\r\n',
    b'GET / HTTP/1.1\r\n\r\n',
    b'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
    b'GET /' + b'a' * 9000 + b' HTTP/1.1\r\n\r\n',
    b'CONNECT [ HTTP/1.1\r\nHost: a\r\n\r\n',
    b'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0',
    b'POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello',
)
UPGRADE = (
    b'GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n'
    b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'
)
BROKEN_FRAMES = (
    b'\xf1\x80\0\0\0\0',  # reserved bits
    b'\x81\xff\x7f' + b'\xff' * 7 + b'\0' * 4,  # 2^63 bytes
    b'\x80\x80\0\0\0\0',  # continuation of no message
    b'\x81\x82\0\0\0\0\xff\xff',  # not UTF-8
    b'\x89\x80\0\0\0\0' * 20000,  # pings, then the client is gone
    b'\x01\x80\0\0\0\0' + b'\x00\x80\0\0\0\0' * 50000,  # an empty message in many parts
)


@pytest.mark.parametrize(('interval', 'most'), [(5.0, 4), (0.0, 1000)])
def test_malformed_requests_are_logged_every_few_seconds_without_a_traceback(
    serve: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    interval: float,
    most: int,
) -> None:
    """Anyone can send them without a token; aiohttp would log a traceback for each."""
    monkeypatch.setattr(door_module, 'LOG_INTERVAL', interval)
    server = serve()
    requests = (*NO_REQUESTS, *(UPGRADE + frames for frames in BROKEN_FRAMES))

    async def send(data: bytes) -> None:
        reader, writer = await asyncio.open_connection('127.0.0.1', server.port)
        with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
            writer.write(data)
            await asyncio.wait_for(reader.read(4096), LIMIT)
        writer.transport.abort()

    async def test() -> None:
        for data in 5 * requests:
            await send(data)
        async with looking(server) as live:
            assert (await ask(live, ask='reset'))['ok']

    run(test)
    records = caplog.records
    assert 1 <= len(records) <= most, [record.getMessage() for record in records]
    for record in records:
        assert record.exc_info is None, record.getMessage()
        assert len(record.getMessage()) < 300


@pytest.mark.parametrize('header', [b'Host', b'Host: 127.0.0.1\r\nOrigin'])
def test_headers_that_are_not_utf_8_are_refused(serve: Any, header: bytes) -> None:
    server = serve()

    async def test() -> None:
        reader, writer = await asyncio.open_connection('127.0.0.1', server.port)
        writer.write(b'GET / HTTP/1.1\r\n' + header + b': \xff\xfe\r\n\r\n')
        answer = await asyncio.wait_for(reader.read(4096), LIMIT)
        writer.close()
        assert answer.startswith(b'HTTP/1.1 403')

    run(test)
