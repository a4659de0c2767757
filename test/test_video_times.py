# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from hcat_ros.frames import FrameSource

COUNT, FPS = 60, 25.0


def retimed(content: bytes, delay: Callable[[int], int]) -> bytes:
    """A Matroska video of one cluster with other times; delay: milliseconds by number of a frame.

    Elements, their sizes and the times of blocks: RFC 8794, 4 and RFC 9559, 10.
    """
    data = bytearray(content)
    (duration,) = struct.unpack_from('>d', data, at := data.index(b'\x44\x89\x88') + 3)
    struct.pack_into('>d', data, at, duration + delay(COUNT - 1))
    place, end = data.index(b'\x1f\x43\xb6\x75') + 4, len(data)
    size, place = read_size(data, place)
    end, number = place + size, 0
    while place < end:
        kind = data[place]
        size, place = read_size(data, place + 1)
        if kind == 0xA3:  # SimpleBlock: number of the track, time in the cluster, flags
            (time,) = struct.unpack_from('>h', data, place + 1)
            struct.pack_into('>h', data, place + 1, time + delay(number))
            number += 1
        place += size
    return bytes(data)


def read_size(data: bytes | bytearray, place: int) -> tuple[int, int]:
    """The size of an element at `place`, and the place behind it."""
    length = 9 - data[place].bit_length()
    size = int.from_bytes(data[place : place + length], 'big') - (1 << 7 * length)
    return size, place + length


def write_mkv(path: Path, delay: Callable[[int], int]) -> str:
    """Write a video of `COUNT` frames whose times are those of `FPS`, plus a delay in ms."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), FPS, (64, 48))
    for number in range(COUNT):
        writer.write(np.full((48, 64, 3), 20 + 3 * number, np.uint8))
    writer.release()
    path.write_bytes(retimed(path.read_bytes(), delay))
    return str(path)


@pytest.fixture
def late(tmp_path: Path) -> str:
    """A video whose first frame is 5 s behind the beginning of the file."""
    path = write_mkv(tmp_path / 'late.mkv', lambda number: 5000)
    assert cv2.VideoCapture(path).get(cv2.CAP_PROP_FRAME_COUNT) == COUNT + 5 * FPS
    return path


@pytest.mark.skipif(not hasattr(cv2, 'CAP_PROP_PTS'), reason='this OpenCV tells no PTS')
@pytest.mark.parametrize('options', [{}, {'fps': 10.0}, {'start': 10}, {'fps': 60.0, 'start': 10}])
def test_a_video_that_starts_after_its_sound_is_whole(late: str, options: dict[str, int]) -> None:
    """OpenCV takes the duration of the file for the duration of its frames: 185 in place of 60."""
    source = FrameSource(late, **options)
    assert len(list(source)) == COUNT - options.get('start', 0)
    assert source.remarks == []


def test_a_late_video_that_is_cut_is_reported(late: str) -> None:
    path = Path(late)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])
    source = FrameSource(late)
    count = len(list(source))
    assert 1 < count < COUNT // 2
    assert source.remarks == [f'{COUNT + 5 * FPS:.0f} frames stated, {count} read']


def test_frames_that_are_lost_between_others_are_reported(tmp_path: Path) -> None:
    """Where a part of a Matroska file is damaged, FFmpeg goes on behind it without an error."""
    path = write_mkv(tmp_path / 'gap.mkv', lambda number: 1000 if number >= 30 else 0)
    source = FrameSource(path)
    assert len(list(source)) == COUNT
    assert source.remarks == ['25 frames are missing by the timestamps, first before frame 30']


def test_a_rate_that_varies_is_no_loss(tmp_path: Path) -> None:
    """The last third of the video has 5 frames per second."""
    path = write_mkv(tmp_path / 'slow.mkv', lambda number: 160 * max(0, number - 40))
    source = FrameSource(path)
    assert len(list(source)) == COUNT
    assert source.remarks == []


def test_swapped_timestamps_do_not_delay_all_later_frames(tmp_path: Path) -> None:
    """After damage FFmpeg's H.264 gives frames from before and after it by turns."""
    path = write_mkv(
        tmp_path / 'swapped.mkv', lambda number: 0 if number < 30 or number == 31 else 960
    )
    times = np.array([frame.time for frame in FrameSource(path)])
    assert (np.diff(times) > 0).all()
    assert times[33:] == pytest.approx(np.arange(33, COUNT) / FPS + 0.96, abs=1e-3)


def with_two_frame_rates(content: bytes, fast: int, slow: int, factor: int) -> bytes:
    """An MP4 whose last `slow` frames last `factor` times as long as the `fast` ones before."""
    data = bytearray(content)
    assert data.index(b'moov') > data.index(b'mdat'), 'or places in the file would change'
    table = data.index(b'stts')
    (delta,) = struct.unpack('>I', data[table + 16 : table + 20])
    entries = struct.pack('>5I', 2, fast, delta, slow, factor * delta)
    data[table + 8 : table + 20] = entries
    for box in (b'moov', b'trak', b'mdia', b'minf', b'stbl', b'stts'):
        at = data.index(box) - 4
        (size,) = struct.unpack('>I', data[at : at + 4])
        data[at : at + 4] = struct.pack('>I', size + 8)
    data[data.index(b'edts') : data.index(b'edts') + 4] = b'free'  # an edit list ends too early
    return bytes(data)


def test_variable_frame_rate_video_keeps_its_frame_times(tmp_path: Path) -> None:
    """The video has 60 fps, and 5 fps from frame 60 on, which is at 1.0 s."""
    path = tmp_path / 'varying.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 60.0, (64, 48))
    for index in range(70):
        writer.write(np.full((48, 64, 3), 3 * index, np.uint8))
    writer.release()
    path.write_bytes(with_two_frame_rates(path.read_bytes(), 60, 10, 12))
    source = FrameSource(str(path))
    frames = list(source)
    assert [frame.index for frame in frames] == list(range(70))
    assert frames[59].time == pytest.approx(59 / 60, abs=1e-3)
    assert frames[60].time == pytest.approx(1.0, abs=1e-3)
    assert frames[69].time == pytest.approx(1.0 + 9 / 5, abs=1e-3)
    assert source.remarks == []
