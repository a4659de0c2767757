# SPDX-License-Identifier: Apache-2.0
"""The web page's node and a tracker over real DDS, and a real websocket client."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
aiohttp = pytest.importorskip('aiohttp', reason='needs aiohttp (pip install aiohttp)')

from rclpy.parameter import Parameter
from talker import TARGET, Talker, count_matched, scene, stamp, truth

from hcat_ros.boxes import Box, iou
from hcat_ros.nodes.images import image_message
from hcat_ros.nodes.tools import tracker_requests
from hcat_ros.nodes.tools.select_page import SelectPage


class Operator:
    """A client of the web page on a thread of its own: receives frames and sends requests."""

    def __init__(self, page: SelectPage, spin: Callable[..., None]) -> None:
        self.states: list[dict[str, Any]] = []
        self.frames: list[dict[str, Any]] = []
        self._answers: list[dict[str, Any]] = []
        self._spin = spin
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._ready = threading.Event()
        self._task = self._begin(self._look(page.server.port))
        spin(self._ready.is_set, 'the page lets us in')

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _look(self, port: int) -> None:
        async with aiohttp.ClientSession() as session:
            self._live = await session.ws_connect(f'http://127.0.0.1:{port}/live', max_msg_size=0)
            await self._live.send_json({})
            async for message in self._live:
                if message.type is aiohttp.WSMsgType.BINARY:
                    length = int.from_bytes(message.data[:4], 'big')
                    frame = json.loads(message.data[4 : 4 + length])
                    self.frames.append(frame)
                    self.states.append(frame['status'])
                else:
                    content = json.loads(message.data)
                    self._ready.set()
                    if 'answer' in content:
                        self._answers.append(content)
                        continue
                    if 'status' in content:
                        self.states.append(content['status'])
                await self._live.send_json({'ask': 'next'})

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return its answer."""
        self._answers.clear()
        self._begin(self._live.send_json(request))
        self._spin(lambda: self._answers, f'an answer to {request}')
        return self._answers[0]

    def sees(self, state: str) -> bool:
        return bool(self.states) and self.states[-1]['state'] == state

    def leave(self) -> Future[None]:
        """Leave the page; the future is done once the connection is closed."""
        return self._begin(self._live.close())

    def close(self) -> None:
        self.leave().result(5)
        self._task.result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def look(talk: Callable[..., Talker]) -> Iterator[Callable[..., tuple[Talker, Operator]]]:
    """A function that brings up a tracker, a page and an operator who looks at it."""
    closers: list[Callable[[], None]] = []

    def make(transport: str = 'raw', start: bool = True, **parameters: Any) -> Any:
        talker = talk(transport=transport, diagnostics_period=0.2, **parameters)
        values = {'port': 0, 'rate': 120.0, 'image_transport': transport}
        page = SelectPage(parameter_overrides=[Parameter(n, value=v) for n, v in values.items()])
        talker.executor.add_node(page)
        closers.append(page.destroy_node)
        if start:
            talker.start()
        operator = Operator(page, talker.spin)
        closers.append(operator.close)
        if start:
            subscribed = 2 if start else 1  # the tracker and the page
            talker.spin(
                lambda: (
                    talker.images.get_subscription_count() == subscribed
                    and talker.boxes.get_subscription_count() > 0
                    and count_matched(page, 'init_box') > 0
                    and page.count_publishers('track') > 0
                ),
                'the page to be connected',
            )
            talker.spin_for(0.3)
        return talker, operator

    yield make
    for close in closers[::-1]:
        close()


def show(talker: Talker, operator: Operator, number: int) -> dict[str, Any]:
    """Send a frame and return what the operator sees of it."""
    wanted = nanoseconds(number)
    talker.send(number)
    talker.spin(
        lambda: any(frame['stamp'] == wanted for frame in operator.frames),
        f'frame {number} on the page',
    )
    return next(frame for frame in operator.frames if frame['stamp'] == wanted)


def nanoseconds(number: int) -> str:
    """Return the stamp of a frame as it goes over the wire."""
    return str(stamp(number).sec * 10**9 + stamp(number).nanosec)


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_a_box_starts_a_target_and_its_track_is_shown(look: Any, transport: str) -> None:
    talker, operator = look(transport)
    frame = show(talker, operator, 0)
    assert (frame['width'], frame['height']) == (320, 240)
    assert frame['track'] is None
    answer = operator.ask(ask='start', stamp=frame['stamp'], box=list(TARGET))
    assert answer['ok'], answer
    talker.spin(lambda: talker.tracker.session.has_target, 'the target')
    for number in range(1, 6):
        show(talker, operator, number)
    talker.spin(lambda: operator.frames[-1]['track'], 'a track')
    frame = operator.frames[-1]
    assert frame['stamp'] == nanoseconds(5)
    assert iou(Box(*frame['track']['box']), truth(5)) > 0.5
    assert frame['track']['id'].endswith('-1')
    assert 0 <= frame['track']['score'] <= 1
    for number in range(6, 20):  # the state depends on the tracks of the last second
        if operator.sees('tracking'):
            break
        show(talker, operator, number)
    assert operator.sees('tracking')


def test_a_box_starts_on_the_frame_that_it_was_drawn_on(look: Any) -> None:
    talker, operator = look()
    frames = [show(talker, operator, number) for number in range(5)]
    operator.ask(ask='start', stamp=frames[1]['stamp'], box=list(truth(1)))
    talker.spin(lambda: len(talker.tracks) == 3, 'tracks of frames 2 to 4')
    assert [track.header.stamp for track in talker.tracks] == [stamp(n) for n in (2, 3, 4)]
    assert talker.tracker.session.target.stamp == int(frames[1]['stamp'])
    assert tuple(talker.tracker.session.target.box) == pytest.approx(tuple(truth(1)))


def test_reset_drops_the_target(look: Any) -> None:
    talker, operator = look()
    assert operator.ask(ask='reset')['text'] == 'there was no target'
    frame = show(talker, operator, 0)
    operator.ask(ask='start', stamp=frame['stamp'], box=list(TARGET))
    show(talker, operator, 1)
    assert operator.ask(ask='reset') == {
        'answer': 'reset',
        'ok': True,
        'text': 'target dropped',
    }
    assert not talker.tracker.session.has_target
    assert show(talker, operator, 2)['track'] is None
    talker.spin(lambda: operator.sees('no target'), 'the state')


def test_several_targets_are_shown_selected_and_dropped(look: Any) -> None:
    pytest.importorskip('hcat_ros_interfaces', reason='targets are selected by its services')
    talker, operator = look(max_targets=3)
    frame = show(talker, operator, 0)
    corner = [4, 4, 40, 40]
    for box in (list(TARGET), corner):
        answer = operator.ask(ask='start', stamp=frame['stamp'], box=box)
        assert answer['ok'], answer
    ids = [target.id for target in talker.tracker.session.targets]
    numbers = iter(range(1, 60))

    def until(so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        for number in numbers:
            seen = show(talker, operator, number)
            if so(seen):
                return seen
        raise AssertionError(f'never seen, the last is {seen}')

    seen = until(lambda seen: len(seen['others']) == 1)
    assert [seen['track']['id'], seen['others'][0]['id']] == ids
    assert iou(Box(*seen['others'][0]['box']), Box(*corner)) > 0.5
    assert (
        operator.ask(ask='primary', id=ids[1])['text'] == f'target {ids[1]} is the primary one now'
    )
    seen = until(lambda seen: seen['track']['id'] == ids[1])
    assert [other['id'] for other in seen['others']] == [ids[0]]
    # Each image is sent once, with all tracks.
    stamps = [frame['stamp'] for frame in operator.frames if frame['others']]
    assert len(stamps) == len(set(stamps))
    answer = operator.ask(ask='drop', id='nobody')
    assert (answer['ok'], ids[0] in answer['text']) == (False, True)
    assert operator.ask(ask='drop', id=ids[1])['text'] == f'target {ids[1]} dropped'
    seen = until(lambda seen: not seen['others'])
    assert seen['track']['id'] == ids[0]
    until(lambda seen: seen['track'] and not seen['others'])


def test_a_lost_target_is_shown_as_lost(look: Any) -> None:
    talker, operator = look(lost_threshold=1.0)
    frame = show(talker, operator, 0)
    operator.ask(ask='start', stamp=frame['stamp'], box=list(TARGET))
    talker.spin(lambda: talker.tracker.session.has_target, 'the target')

    def shown() -> bool:
        return any(f['track'] and f['track']['score'] is None for f in operator.frames)

    for number in range(1, 30):  # until a frame scores less than the first ones did
        if shown():
            break
        show(talker, operator, number)
    assert shown()
    talker.spin(lambda: operator.sees('lost'), 'the state')


@pytest.mark.parametrize('service', [True, False], ids=['service', 'topic'])
def test_refused_box_is_shown_with_the_reason(
    look: Any, monkeypatch: pytest.MonkeyPatch, service: bool
) -> None:
    if service:
        pytest.importorskip('hcat_ros_interfaces.srv', reason='needs hcat_ros_interfaces')
    else:
        monkeypatch.setattr(tracker_requests, 'SetTarget', None)
    talker, operator = look(buffer_mb=0)
    talker.spin(lambda: operator.sees('no target'), 'a first report')
    first = show(talker, operator, 0)
    show(talker, operator, 19)
    answer = operator.ask(ask='start', stamp=first['stamp'], box=list(TARGET))
    assert answer['ok'] is not service
    if service:
        assert '0.950 s older' in answer['text']
    talker.spin(lambda: operator.states[-1]['problem'], 'the problem')
    assert '0.950 s older' in operator.states[-1]['problem']
    assert 'raise buffer_mb' in operator.states[-1]['problem']


@pytest.mark.parametrize('service', [True, False], ids=['service', 'topic'])
def test_inactive_tracker_is_shown(
    look: Any, monkeypatch: pytest.MonkeyPatch, service: bool
) -> None:
    reason = 'the tracker is unconfigured: activate it first'
    if service:
        pytest.importorskip('hcat_ros_interfaces.srv', reason='needs hcat_ros_interfaces')
    else:
        monkeypatch.setattr(tracker_requests, 'SetTarget', None)
        reason = 'nobody listens on /init_box: is the tracker active?'
    talker, operator = look(start=False)
    answer = operator.ask(ask='start', stamp='0', box=list(TARGET))
    assert answer['text'] == reason
    talker.spin(lambda: operator.sees('inactive'), 'the state')
    assert operator.states[-1]['detail'] == 'unconfigured'


def test_missing_tracker_is_shown(look: Any) -> None:
    talker, operator = look()
    talker.executor.remove_node(talker.tracker)
    talker.tracker.destroy_node()
    talker.spin(lambda: operator.sees('no tracker'), 'the state')
    answer = operator.ask(ask='reset')
    assert answer['text'] == 'no tracker: nobody serves /hcat_tracker/reset'
    assert not answer['ok']


def test_images_are_subscribed_only_while_a_client_is_connected(look: Any) -> None:
    talker, operator = look()
    show(talker, operator, 0)
    second = Operator(operator_page(talker), talker.spin)
    second.close()
    assert talker.images.get_subscription_count() == 2
    operator.leave()
    talker.spin(lambda: talker.images.get_subscription_count() == 1, 'the end of the subscription')


def operator_page(talker: Talker) -> SelectPage:
    return next(node for node in talker.executor.get_nodes() if isinstance(node, SelectPage))


def test_image_with_an_overlong_text_is_refused(
    look: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    talker, operator = look()
    show(talker, operator, 0)
    message = image_message(scene(1), 'bgr8')
    message.encoding = 'e' * 10**6
    talker.images.publish(message)
    talker.spin_for(0.5)
    assert show(talker, operator, 2)['width'] == np.shape(scene(2))[1]
    assert 'image refused: encoding has 1000000 characters' in capfd.readouterr().err


def test_image_that_cannot_be_shown_is_reported(look: Any) -> None:
    talker, operator = look()
    show(talker, operator, 0)
    message = image_message(scene(1), 'bgr8')
    message.encoding = '32FC1'
    message.header.stamp = stamp(1)
    talker.images.publish(message)
    talker.spin(
        lambda: any("encoding '32FC1'" in state['problem'] for state in operator.states),
        'the problem',
    )
    assert show(talker, operator, 2)['width'] == np.shape(scene(2))[1]
