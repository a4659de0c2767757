# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from hcat_ros.boxes import Box
from hcat_ros.tracking.frame_buffer import FrameBuffer, StampedFrame
from hcat_ros.tracking.target_requests import TargetRequest, TargetRequests

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


def test_request_without_a_stamp_uses_the_newest_frame() -> None:
    assert requests(1.0, 1.1).submit(request(0), 0).stamp == 1.1 * SECOND


def test_request_without_a_stamp_waits_indefinitely_for_the_first_frame() -> None:
    waiting = requests()
    assert waiting.submit(request(0), 0) is None
    assert waiting.take_arrived(100) is None
    waiting.buffer.append(frame(5.0))
    assert waiting.take_arrived(200) == (request(0), waiting.buffer.newest)
    assert waiting.take_arrived(200) is None


@pytest.mark.parametrize('seconds', [1.1, 1.115, 1.085])
def test_frame_within_the_stamp_tolerance_is_used(seconds: float) -> None:
    assert requests(1.0, 1.1, 1.2).submit(request(seconds), 0).stamp == 1.1 * SECOND


def test_request_with_a_future_stamp_waits_for_its_frame() -> None:
    waiting = requests(1.0)
    assert waiting.submit(request(1.2), 0) is None
    waiting.buffer.append(frame(1.1))
    assert waiting.take_arrived(0.1) is None
    waiting.buffer.append(frame(1.2))
    assert waiting.take_arrived(0.2)[1].stamp == 1.2 * SECOND


def test_request_for_a_frame_that_never_came_is_refused() -> None:
    waiting = requests(1.0)
    waiting.submit(request(1.2), 0)
    waiting.buffer.append(frame(1.3))
    with pytest.raises(ValueError, match=r'0\.100 s older than the newest one'):
        waiting.take_arrived(0.3)
    assert waiting.waiting is None


@pytest.mark.parametrize(
    ('ahead', 'reason'),
    [
        (3.0, r'its stamp is 3\.000 s ahead of the newest image: are the clocks'),
        (1e9, r'its stamp is 1000000000\.000 s ahead'),
        (-5.0, r'is 5\.000 s older .* 1 frames over 0\.000 s .*; are the clocks'),
    ],
)
def test_a_stamp_of_another_clock_is_refused_at_once(ahead: float, reason: str) -> None:
    waiting = requests(1.5)
    with pytest.raises(ValueError, match=reason):
        waiting.submit(request(1.5 + ahead) if ahead > -1.5 else request(-3.5), 0)
    assert waiting.waiting is None


def test_request_times_out_after_a_second_with_or_without_images() -> None:
    waiting = requests(1.0)
    assert waiting.submit(request(1.8), 10) is None
    assert waiting.take_arrived(10.9) is None
    with pytest.raises(ValueError, match=r'0\.800 s ahead .* within 1 s: .* synchronised'):
        waiting.take_arrived(11.0)
    assert waiting.take_arrived(12) is None
    without = requests()
    without.submit(request(1.0), 0)
    with pytest.raises(ValueError, match='no image has come within 1 s'):
        without.take_arrived(1.0)


def test_stamped_request_is_refused_if_images_have_no_stamps() -> None:
    with pytest.raises(ValueError, match='the images have none'):
        requests(0.0).submit(request(7.0), 0)


def test_too_old_request_is_refused_with_its_age_and_a_remedy() -> None:
    with pytest.raises(
        ValueError, match=r'is 1\.200 s older .* 2 frames over 0\.500 s .raise buffer_mb .*ce\)$'
    ):
        requests(3.0, 3.5).submit(request(2.3), 0)


def test_newer_request_replaces_the_waiting_one() -> None:
    waiting = requests(1.0)
    waiting.submit(request(2.0), 0)
    waiting.submit(request(1.0), 0)
    assert waiting.waiting is None
