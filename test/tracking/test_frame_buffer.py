# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from hcat_ros.tracking import frame_buffer
from hcat_ros.tracking.frame_buffer import FrameBuffer, StampedFrame


def frame(stamp: int) -> StampedFrame:
    return StampedFrame(stamp, None, np.zeros((10, 10, 3), np.uint8), 'bgr8')


def filled(*stamps: int, max_bytes: int = 10_000) -> FrameBuffer:
    buffer = FrameBuffer(max_bytes)
    for stamp in stamps:
        buffer.append(frame(stamp))
    return buffer


def stamps(buffer: FrameBuffer) -> list[int]:
    return [kept.stamp for kept in buffer.after(-1)]


def test_oldest_frames_are_dropped_at_the_byte_limit() -> None:
    assert stamps(filled(1, 2, 3, 4, max_bytes=900)) == [2, 3, 4]


def test_newest_frame_is_kept_even_above_the_limit() -> None:
    assert stamps(filled(1, 2, max_bytes=0)) == [2]


def test_frames_are_found_by_their_stamps() -> None:
    buffer = filled(10, 20, 30)
    assert buffer.nearest(24).stamp == 20
    assert buffer.nearest(-5).stamp == 10
    assert [kept.stamp for kept in buffer.after(10)] == [20, 30]
    assert (buffer.oldest.stamp, buffer.newest.stamp) == (10, 30)


def test_empty_buffer_returns_no_frames() -> None:
    buffer = FrameBuffer(100)
    assert buffer.nearest(1) is None
    assert buffer.newest is None
    assert buffer.oldest is None
    assert buffer.after(0) == []


def test_backward_time_jump_clears_the_buffer() -> None:
    buffer = filled(10, 20, 5)
    assert stamps(buffer) == [5]
    buffer.append(frame(6))
    assert stamps(buffer) == [5, 6]


def test_number_of_small_frames_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_buffer, 'MOST_FRAMES', 3)
    buffer = FrameBuffer(10**6)
    for stamp in range(9):
        buffer.append(StampedFrame(stamp, None, np.zeros((1, 1), np.uint8), 'mono8'))
    assert [frame.stamp for frame in buffer.after(-1)] == [6, 7, 8]
