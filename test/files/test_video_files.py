# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest

from hcat_ros.files import videos
from hcat_ros.files.videos import whole_video


def frames_of(path: Path) -> list[np.ndarray]:
    reader, found = cv2.VideoCapture(str(path)), []
    while (read := reader.read())[0]:
        found.append(read[1])
    return found


@pytest.mark.parametrize('suffix', ['.mp4', '.avi', '.mkv'])
def test_all_frames_are_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f'a{suffix}'
    with whole_video(path, 25.0) as video:
        for number in range(12):
            video.write(np.full((48, 64, 3), 10 * number, np.uint8))
    found = frames_of(path)
    assert [round(float(frame.mean()) / 10) for frame in found] == list(range(12))
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize('rate', [29.97, 119.8811, 239.7612, 999.6543])
@pytest.mark.parametrize('suffix', ['.mp4', '.mkv'])
def test_videos_of_high_frame_rates_are_written(tmp_path: Path, suffix: str, rate: float) -> None:
    """MPEG-4 takes the rate as a fraction of numbers of 16 bits; slow motion has a varying rate."""
    path = tmp_path / f'a{suffix}'
    with whole_video(path, rate) as video:
        for _ in range(3):
            video.write(np.zeros((48, 64, 3), np.uint8))
    assert len(frames_of(path)) == 3
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == pytest.approx(rate, rel=1e-3)


def test_odd_frame_size_is_padded_without_losing_pixels(tmp_path: Path) -> None:
    image = np.zeros((47, 63, 3), np.uint8)
    image[46], image[:, 62] = 255, 255
    with whole_video(tmp_path / 'a.mp4', 25.0) as video:
        video.write(image)
    (found,) = frames_of(tmp_path / 'a.mp4')
    assert found.shape == (48, 64, 3)
    assert found[46].mean() > 200
    assert found[:, 62].mean() > 200


def test_frames_of_another_size_are_fitted_to_the_first_frame(tmp_path: Path) -> None:
    with whole_video(tmp_path / 'a.mp4', 25.0) as video:
        for number in range(40):
            shape = (48, 64, 3) if number < 20 else (64, 32, 3)
            video.write(np.full(shape, 200, np.uint8))
    assert video.fitted == 20
    found = frames_of(tmp_path / 'a.mp4')
    assert len(found) == 40
    # 64 rows x 32 columns, scaled to 48 rows, is 24 columns wide, between black borders.
    assert found[30][:, :16].mean() < 20
    assert found[30][:, 24:40].mean() > 180
    assert found[30][:, 48:].mean() < 20


def test_incomplete_video_is_an_error_and_the_old_file_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk, which OpenCV does not report."""
    path = tmp_path / 'a.mp4'
    path.write_text('old')

    def write_truncated() -> None:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            with whole_video(path, 25.0) as video:
                video.write(np.zeros((48, 64, 3), np.uint8))
                # From here on no file grows beyond 100 bytes; FFmpeg writes most data at the end.
                resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    with pytest.raises(OSError, match=r'a\.mp4: incomplete: 0 frames stated, 1 written'):
        write_truncated()
    monkeypatch.setattr(videos, 'FULL', 1 << 62)
    with pytest.raises(OSError, match=r'No space left on device: .*a\.mp4'):
        write_truncated()
    assert path.read_text() == 'old'
    assert [one.name for one in tmp_path.iterdir()] == ['a.mp4']


def test_frames_written_before_ctrl_c_are_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), whole_video(tmp_path / 'a.mp4', 25.0) as video:  # noqa: PT012
        video.write(np.zeros((48, 64, 3), np.uint8))
        raise KeyboardInterrupt
    assert len(frames_of(tmp_path / 'a.mp4')) == 1


def test_unknown_video_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'a\.txt: expected a name that ends in \.mp4'):  # noqa: SIM117
        with whole_video(tmp_path / 'a.txt', 25.0):
            pass


def test_a_folder_whose_name_is_not_utf8_is_refused_behind_a_link(tmp_path: Path) -> None:
    """OpenCV ended the process by SIGSEGV: the incomplete file lies where the link leads."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b'/caf\xe9'))
    folder.mkdir()
    (tmp_path / 'link').symlink_to(folder)
    with (
        pytest.raises(ValueError, match=r'caf\\xe9/a\.mp4: the name is not UTF-8'),
        whole_video(tmp_path / 'link' / 'a.mp4', 25.0),
    ):
        pass
    assert list(folder.iterdir()) == []
