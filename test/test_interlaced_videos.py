# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hcat_ros.frames import FrameSource

COUNT = 24
PICTURE, EXTENSION = b'\x00\x00\x01\x00', b'\x00\x00\x01\xb5'
"""MPEG-2's start codes of a picture and of an extension of a sequence or picture."""


def starts(data: bytes, code: bytes) -> list[int]:
    """The places behind a start code."""
    return [at for at in range(len(code), len(data)) if data[at - len(code) : at] == code]


def write_mpeg2(path: Path, levels: list[int], interlaced: str = '') -> str:
    """Write raw MPEG-2 of grey frames; those of the types in `interlaced` are flagged so.

    interlaced: letters of the types of frame, I, P and B, see ISO 13818-2, 6.2.2.3 and 6.2.3.1.
    """
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mpg2'), 25.0, (64, 64))
    if not writer.isOpened():
        pytest.skip('this OpenCV writes no MPEG-2')
    for level in levels:
        writer.write(np.full((64, 64, 3), level, np.uint8))
    writer.release()
    data = bytearray(path.read_bytes())
    extensions = starts(data, EXTENSION)
    types = ['IPB'[(data[at + 1] >> 3 & 7) - 1] for at in starts(data, PICTURE)]
    pictures = [at for at in extensions if data[at] >> 4 == 8]
    assert len(pictures) == len(types) == len(levels)
    for at in extensions:
        if data[at] >> 4 == 1 and interlaced:
            data[at + 1] &= ~0x08  # progressive_sequence
    for at, kind in zip(pictures, types, strict=True):
        if kind in interlaced:
            data[at + 4] &= ~0x80  # progressive_frame
    path.write_bytes(data)
    return str(path)


def converts_interlaced(path: str) -> bool:
    """Whether this OpenCV converts the interlaced frames of a video; those before 4.13 do."""
    capture = cv2.VideoCapture(path)
    levels = {round(float(capture.read()[1].mean())) for _ in range(6)}
    return len(levels) > 1


def test_interlaced_video_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """OpenCV 5.0 returns whatever is in its memory for each frame, and says that it was read."""
    path = write_mpeg2(tmp_path / 'dv.m2v', [20 + 8 * number for number in range(COUNT)], 'IPB')
    if converts_interlaced(path):
        assert len(list(FrameSource(path))) == COUNT
        return
    capfd.readouterr()
    with pytest.raises(ValueError, match=r'dv\.m2v is interlaced: OpenCV .*; deinterlace the vid'):
        list(FrameSource(path))
    assert 'Cannot convert' not in capfd.readouterr().err


def test_interlaced_frames_among_others_are_left_out(tmp_path: Path) -> None:
    levels = [20 + 8 * number for number in range(COUNT)]
    path = write_mpeg2(tmp_path / 'mixed.m2v', levels, 'B')
    source = FrameSource(path)
    frames = list(source)
    assert [frame.image.mean() for frame in frames] == pytest.approx(
        [levels[frame.index] for frame in frames], abs=3
    )
    if not converts_interlaced(write_mpeg2(tmp_path / 'all.m2v', levels, 'IPB')):
        assert len(frames) < COUNT
        assert source.remarks[0].startswith(f'{COUNT - len(frames)} interlaced frames left out: ')


def test_a_still_video_is_read_whole(tmp_path: Path) -> None:
    """Frames that equal the one before are no sign of interlacing by themselves."""
    source = FrameSource(write_mpeg2(tmp_path / 'still.m2v', [60] * COUNT))
    assert len(list(source)) == COUNT
    assert source.remarks == []
