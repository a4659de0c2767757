# SPDX-License-Identifier: Apache-2.0
"""Requests that clients of a real server may send to the robot, a double."""

from typing import Any

import pytest

pytest.importorskip('aiohttp', reason='needs aiohttp (pip install aiohttp)')

from page_clients import LIMIT, ask, looking, run

from hcat_ros.boxes import Box
from hcat_ros.select_page import client as client_module


def test_boxes_and_resets_reach_the_robot_and_its_answer_comes_back(serve: Any, robot: Any) -> None:
    server = serve()

    async def test() -> None:
        async with looking(server) as live:
            answer = await ask(live, ask='start', stamp='12345678901234567', box=[1.5, 2, 30, 40])
            assert answer == {'answer': 'start', 'ok': True, 'text': 'done'}
            assert robot.asked == [(12345678901234567, Box(1.5, 2, 30, 40))]
            robot.answer = ValueError('no tracker')
            answer = await ask(live, ask='reset')
            assert answer == {'answer': 'reset', 'ok': False, 'text': 'no tracker'}
            assert robot.asked[-1] == 'reset'

    run(test)


@pytest.mark.parametrize('what', ['primary', 'drop'])
def test_primary_and_drop_requests_name_a_target_by_its_id(
    serve: Any, robot: Any, what: str
) -> None:
    server = serve()

    async def test() -> None:
        async with looking(server) as live:
            answer = await ask(live, ask=what, id='7f-2')
            assert answer == {'answer': what, 'ok': True, 'text': 'done'}
            for bad in ({}, {'id': ''}, {'id': 3}, {'id': 'x' * 257}, {'id': ['7f-2']}):
                answer = await ask(live, ask=what, **bad)
                assert not answer['ok']
                assert 'expected text of 1 to 256 characters' in answer['text']
                assert len(answer['text']) < 200
            assert robot.asked == [(what, '7f-2')]

    run(test)


def test_missing_answer_of_the_robot_is_reported(
    serve: Any, robot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, 'ANSWER_LIMIT', 0.2)
    robot.answer = None
    server = serve()

    async def test() -> None:
        async with looking(server) as live:
            answer = await ask(live, ask='reset')
            assert answer == {'answer': 'reset', 'ok': False, 'text': 'no answer within 0.2 s'}

    run(test)


@pytest.mark.parametrize(
    ('request_', 'reason'),
    [
        ({'ask': 'start', 'stamp': '1', 'box': [1, 2, 3]}, 'box'),
        ({'ask': 'start', 'stamp': '1', 'box': [1, 2, 3, float('nan')]}, 'box'),
        ({'ask': 'start', 'stamp': '1', 'box': [1, 2, 0.5, 30]}, 'at least 1'),
        ({'ask': 'start', 'stamp': '1', 'box': [1, 2, 10**400, 30]}, 'box'),
        ({'ask': 'start', 'stamp': '1', 'box': [True, 2, 3, 4]}, 'box'),
        ({'ask': 'start', 'stamp': '1', 'box': 'all'}, 'box'),
        ({'ask': 'start', 'stamp': 1, 'box': [1, 2, 3, 4]}, 'nanoseconds as text'),
        ({'ask': 'start', 'stamp': '-1', 'box': [1, 2, 3, 4]}, 'nanoseconds as text'),
        ({'ask': 'start', 'stamp': '9' * 19, 'box': [1, 2, 3, 4]}, 'nanoseconds as text'),
        ({'ask': 'start', 'box': [1, 2, 3, 4]}, 'nanoseconds as text'),
        ({'ask': 'shutdown'}, "'shutdown' is not a request"),
        ({}, 'is not a request'),
    ],
)
def test_a_bad_request_is_refused_and_the_next_is_served(
    serve: Any, robot: Any, request_: dict[str, Any], reason: str
) -> None:
    server = serve()

    async def test() -> None:
        async with looking(server) as live:
            answer = await ask(live, **request_)
            assert not answer['ok']
            assert reason in answer['text']
            assert robot.asked == []
            for bad in ('no JSON', '[]', '"text"', '{' * 2000):
                await live.send_str(bad)
                assert not (await live.receive_json(timeout=LIMIT))['ok']
            assert (await ask(live, ask='reset'))['ok']

    run(test)
