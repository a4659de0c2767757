# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from hcat_ros.boxes import Box
from hcat_ros.nodes.frame_buffer import FrameBuffer, StampedFrame
from hcat_ros.nodes.target_requests import TargetRequest, TargetRequests

SECOND = 1_000_000_000


def frame(seconds: float) -> StampedFrame:
    return StampedFrame(int(seconds * SECOND), None, np.zeros((4, 4, 3), np.uint8), 'bgr8')


def request(seconds: float) -> TargetRequest:
    return TargetRequest(Box(0, 0, 2, 2), int(seconds * SECOND), 'target')


def requests(*seconds: float, tolerance: float = 0.02) -> TargetRequests:
    buffer = FrameBuffer(1000)
    for second in seconds:
        buffer.append(frame(second))
    return TargetRequests(buffer, tolerance)


def test_without_a_stamp_the_newest_frame_counts() -> None:
    assert requests(1.0, 1.1).submit(request(0)).stamp == 1.1 * SECOND


def test_without_a_frame_it_waits_for_the_first() -> None:
    waiting = requests()
    assert waiting.submit(request(0)) is None
    waiting.buffer.append(frame(5.0))
    assert waiting.take_arrived() == (request(0), waiting.buffer.newest)
    assert waiting.take_arrived() is None


@pytest.mark.parametrize('seconds', [1.1, 1.115, 1.085])
def test_the_frame_of_that_stamp_within_the_tolerance(seconds: float) -> None:
    assert requests(1.0, 1.1, 1.2).submit(request(seconds)).stamp == 1.1 * SECOND


def test_a_stamp_to_come_is_waited_for() -> None:
    waiting = requests(1.0)
    assert waiting.submit(request(1.2)) is None
    waiting.buffer.append(frame(1.1))
    assert waiting.take_arrived() is None
    waiting.buffer.append(frame(1.2))
    assert waiting.take_arrived()[1].stamp == 1.2 * SECOND


def test_a_frame_that_never_came_is_told() -> None:
    waiting = requests(1.0)
    waiting.submit(request(1.2))
    waiting.buffer.append(frame(1.3))
    with pytest.raises(ValueError, match=r'0\.100 s older than the newest one'):
        waiting.take_arrived()
    assert waiting.waiting is None


def test_too_old_is_refused_with_the_age_and_the_remedy() -> None:
    with pytest.raises(
        ValueError, match=r'is 2\.500 s older .* 2 frames over 0\.500 s .raise buffer'
    ):
        requests(3.0, 3.5).submit(request(1.0))


def test_the_last_request_counts() -> None:
    waiting = requests(1.0)
    waiting.submit(request(2.0))
    waiting.submit(request(1.0))
    assert waiting.waiting is None
