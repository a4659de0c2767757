# SPDX-License-Identifier: Apache-2.0
"""Access to a real server, and the port where it listens."""

import asyncio
import socket
from typing import Any

import pytest

aiohttp = pytest.importorskip('aiohttp', reason='needs aiohttp (pip install aiohttp)')

from page_clients import LIMIT, ask, looking, run

from hcat_ros.select_page import client as client_module
from hcat_ros.select_page import server as server_module

TOKEN = 'a token of the operator'


def test_page_allows_only_its_own_script(serve: Any) -> None:
    server = serve()

    async def test() -> None:
        async with aiohttp.ClientSession() as session:
            async with session.get(f'http://127.0.0.1:{server.port}/') as response:
                assert response.status == 200
                assert response.content_type == 'text/html'
                text = await response.text()
                policy = response.headers['Content-Security-Policy']
                assert "default-src 'none'" in policy
                assert "frame-ancestors 'none'" in policy
                assert 'unsafe' not in policy
            for word in ('http:', 'https:', 'src=', '@import', ' style=', ' onclick='):
                # Robots have no Internet access, and the policy would refuse inline handlers.
                assert word not in text.replace("'https:'", ''), word
            async with session.get(f'http://127.0.0.1:{server.port}/server.py') as response:
                assert response.status == 404

    run(test)


@pytest.mark.parametrize(
    'headers',
    [
        {'Origin': 'http://evil.example'},
        {'Origin': 'null'},
        {'Host': 'evil.example'},
        {'Host': 'evil.example', 'Origin': 'http://evil.example'},
    ],
)
def test_other_sites_are_refused(serve: Any, robot: Any, headers: dict[str, str]) -> None:
    server = serve()

    async def test() -> None:
        url = f'http://127.0.0.1:{server.port}'
        async with aiohttp.ClientSession(headers=headers) as session:
            for path in ('/', '/live'):
                async with session.get(url + path) as response:
                    assert response.status == 403
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(url + '/live')
        assert robot.watched == []

    run(test)


def test_request_from_the_page_itself_is_accepted(serve: Any) -> None:
    server = serve()

    async def test() -> None:
        async with looking(server, origin=f'http://127.0.0.1:{server.port}') as live:
            assert (await ask(live, ask='reset'))['ok']

    run(test)


@pytest.mark.parametrize(
    ('first', 'reason'),
    [
        ({'token': 'another token, as long'}, 'wrong token'),
        ({'token': ''}, 'a token is needed'),
        ({'ask': 'reset'}, 'a token is needed'),
        (None, 'a token is needed'),
    ],
)
def test_client_without_the_token_is_refused(
    serve: Any, robot: Any, first: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, 'TOKEN_LIMIT', 0.5)
    server = serve(token=TOKEN)

    async def test() -> None:
        url = f'http://127.0.0.1:{server.port}/live'
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as live:
            if first is not None:
                await live.send_json(first)
                await live.send_json({'ask': 'reset'})
            assert await live.receive_json(timeout=LIMIT) == {'refused': reason}
            await live.receive(timeout=LIMIT)
            assert live.close_code == 4401
        assert robot.asked == []
        assert robot.watched == []

    run(test)


def test_client_with_the_token_is_accepted(serve: Any) -> None:
    server = serve(token=TOKEN)
    assert server.url == f'http://127.0.0.1:{server.port}/#token={TOKEN.replace(" ", "%20")}'

    async def test() -> None:
        async with looking(server, TOKEN) as live:
            assert (await ask(live, ask='reset'))['ok']

    run(test)


def test_client_above_the_limit_is_refused(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, 'MAX_CLIENTS', 1)
    server = serve()

    async def test() -> None:
        async with looking(server):
            with pytest.raises(AssertionError, match='1 browsers are connected'):
                async with looking(server):
                    pass

    run(test)


def test_port_in_use_is_named_in_the_error(serve: Any) -> None:
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = server_module.PageServer(serve().robot, server_module.PageSettings(port=port))
        with pytest.raises(OSError, match=f'cannot serve on 127.0.0.1:{port}: the port is in use'):
            server.start()


def test_closing_the_server_disconnects_its_clients(serve: Any) -> None:
    server = serve()

    async def test() -> None:
        async with looking(server) as live:
            await asyncio.get_running_loop().run_in_executor(None, server.close)
            message = await live.receive(timeout=LIMIT)
            assert message.type is aiohttp.WSMsgType.CLOSE
            assert message.data == 1001

    run(test)
    server.close()  # closing twice does no harm
