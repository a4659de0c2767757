# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from hcat_ros.frames import FrameSource

COUNT, FPS = 60, 25.0


def delayed(content: bytes, milliseconds: int) -> bytes:
    """A Matroska video of one cluster whose picture starts later, as if the sound came first.

    Elements, their sizes and the times of blocks: RFC 8794, 4 and RFC 9559, 10.
    """
    data = bytearray(content)
    (duration,) = struct.unpack_from('>d', data, at := data.index(b'\x44\x89\x88') + 3)
    struct.pack_into('>d', data, at, duration + milliseconds)
    place, end = data.index(b'\x1f\x43\xb6\x75') + 4, len(data)
    size, place = read_size(data, place)
    end = place + size
    while place < end:
        kind = data[place]
        size, place = read_size(data, place + 1)
        if kind == 0xA3:  # SimpleBlock: number of the track, time in the cluster, flags
            (time,) = struct.unpack_from('>h', data, place + 1)
            struct.pack_into('>h', data, place + 1, time + milliseconds)
        place += size
    return bytes(data)


def read_size(data: bytes | bytearray, place: int) -> tuple[int, int]:
    """The size of an element at `place`, and the place behind it."""
    length = 9 - data[place].bit_length()
    size = int.from_bytes(data[place : place + length], 'big') - (1 << 7 * length)
    return size, place + length


@pytest.fixture
def late(tmp_path: Path) -> str:
    """A video whose first frame is 5 s behind the beginning of the file."""
    path = tmp_path / 'late.mkv'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), FPS, (64, 48))
    for number in range(COUNT):
        writer.write(np.full((48, 64, 3), 20 + 3 * number, np.uint8))
    writer.release()
    path.write_bytes(delayed(path.read_bytes(), 5000))
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) == COUNT + 5 * FPS
    return str(path)


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
