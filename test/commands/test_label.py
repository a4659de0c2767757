# SPDX-License-Identifier: Apache-2.0
"""`hcat label` on a square that moves over a plain background, with a teacher in numpy."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('torch', reason='needs PyTorch')

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'training'))
from colour_teacher import ColourTeacher, scene, square_at

from hcat_ros.boxes import Box, iou
from hcat_ros.commands.main import main
from hcat_ros.evaluation.clips import read_clips
from hcat_ros.training import pseudo_labels, teachers

RUN = """
data: [{share: 1, root: video}]
schedule: {steps: 1}
teachers: [{backbone: b.onnx, head: h.onnx}]
"""


@pytest.fixture
def label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Call `hcat label` with the numpy teacher and one target per scene."""
    monkeypatch.setattr(teachers, 'load_teacher', ColourTeacher)
    run = tmp_path / 'run.yaml'
    run.write_text(RUN)

    def call(*videos: Path, options: tuple[str, ...] = ()) -> int:
        words = ['label', *map(str, videos), '--out', str(tmp_path / 'out'), '--run', str(run)]
        return main([*words, '--length', '16', '--targets', '1', *options])

    return call


def write_video(path: Path, frames: list[np.ndarray]) -> Path:
    """Write a video of 20 frames per second, of which every second frame is used by default."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), 20.0, (320, 240))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


def moving(first: int, count: int, step: int = 1) -> list[np.ndarray]:
    return [scene(square_at(first + step * number)) for number in range(count)]


def starts(out: Path) -> list[int]:
    return sorted(int(folder.name.split('_')[-2]) for folder in out.iterdir() if folder.is_dir())


def times(out: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in out.rglob('*') if file.parent != out}


def test_clips_follow_the_moving_object(
    label: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / 'square.avi', moving(0, 56))
    assert label(video) == 0
    assert f'2 clips of 1 videos in {tmp_path / "out"}' in capsys.readouterr().out
    assert starts(tmp_path / 'out') == [0, 32]  # 16 frames at every second image; 12 remain
    clips = sorted(read_clips('plain', tmp_path / 'out'), key=lambda clip: clip.name)
    assert [len(clip.images) for clip in clips] == [16, 12]
    for first, clip in zip((0, 32), clips):
        for number, (image, box) in enumerate(zip(clip.images, clip.boxes)):
            truth = square_at(first + 2 * number)
            pixels = cv2.imread(str(image)).astype(int)
            assert np.abs(pixels - scene(truth)).mean() < 8
            assert iou(Box(*map(float, box)), truth) > 0.6


def test_a_scene_cut_ends_a_clip(label: Callable[..., int], tmp_path: Path) -> None:
    other = [scene(square_at(number), ground=(20, 200, 20)) for number in range(30)]
    assert label(write_video(tmp_path / 'cut.avi', [*moving(0, 26), *other])) == 0
    assert starts(tmp_path / 'out') == [0, 26]


def test_frames_are_sampled_at_the_given_rate(label: Callable[..., int], tmp_path: Path) -> None:
    video = write_video(tmp_path / 'square.avi', moving(0, 16, step=2))
    assert label(video, options=('--rate', '20')) == 0
    (clip,) = read_clips('plain', tmp_path / 'out')
    assert len(clip.images) == 16


def test_an_interrupted_run_resumes_and_keeps_finished_clips(
    label: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    videos = [write_video(tmp_path / f'{name}.avi', moving(0, 64)) for name in 'ab']
    follow, left = pseudo_labels.follow_both_ways, 3

    def stop(*args: object) -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return follow(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(pseudo_labels, 'follow_both_ways', stop)
    assert label(*videos) == 130
    before = times(tmp_path / 'out')
    assert starts(tmp_path / 'out') == [0, 0, 32]  # two clips of the first video, one of the second
    left = 1  # enough only if no finished clip is followed again
    capsys.readouterr()
    assert label(*videos) == 0
    assert starts(tmp_path / 'out') == [0, 0, 32, 32]
    assert times(tmp_path / 'out').items() >= before.items()
    assert '4 clips of 2 videos' in capsys.readouterr().out
    for video in videos:
        video.unlink()
    assert label(*videos) == 0  # finished videos are not opened again
    told = capsys.readouterr()
    assert '4 clips of 2 videos' in told.out
    assert 'left out' not in told.out + told.err


def test_videos_with_equal_names_get_separate_clips(
    label: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / name / 'img' for name in 'ab']
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        for index, frame in enumerate(moving(20 * number, 14, step=2)):
            assert cv2.imwrite(str(folder / f'{index}.png'), frame)
    assert label(*folders, options=('--rate', '30')) == 0
    assert '2 clips of 2 videos' in capsys.readouterr().out
    found = sorted(float(clip.boxes[0][0]) for clip in read_clips('plain', tmp_path / 'out'))
    assert found == pytest.approx([square_at(0).x, square_at(20).x], abs=4)


def test_a_video_that_cannot_be_read_is_named_and_left_out(
    label: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, missing = tmp_path / 'broken.avi', tmp_path / 'missing.avi'
    broken.write_text('no video')
    loop, long = tmp_path / 'loop.avi', tmp_path / ('long' * 80)  # the system refuses both
    loop.symlink_to(loop)
    good = write_video(tmp_path / 'good.avi', moving(0, 32))
    assert label(broken, missing, loop, long) == 1, 'there is nothing that could be used'
    capsys.readouterr()
    assert label(broken, missing, loop, long, good) == 3
    told = capsys.readouterr()
    for path in (broken, missing, loop, long):
        assert any(
            'left out' in line and str(path) in line for line in (told.out + told.err).splitlines()
        )
    assert '1 clips of 1 videos' in told.out
    (warning,) = (line for line in told.err.splitlines() if 'warning' in line)
    assert warning.startswith('hcat label: warning: ')
    assert str(broken) in warning
    assert str(missing) in warning
    assert str(good) not in warning


def test_a_link_to_a_name_that_is_not_utf8_is_labelled(
    label: Callable[..., int], tmp_path: Path
) -> None:
    video = write_video(tmp_path / 'good.avi', moving(0, 32))
    (tmp_path / 'link.avi').symlink_to(os.fsdecode(b'caf\xe9.avi'))
    video.rename(os.fsdecode(os.fsencode(tmp_path) + b'/caf\xe9.avi'))
    for _ in range(2):
        assert label(tmp_path / 'link.avi') == 0
        assert starts(tmp_path / 'out') == [0]


def test_unreadable_images_are_counted_in_a_final_warning(
    label: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / 'img'
    folder.mkdir()
    for index, frame in enumerate(moving(0, 14, step=2)):
        assert cv2.imwrite(str(folder / f'{index:02d}.png'), frame)
    (folder / '14.png').write_text('no image')
    assert label(folder, options=('--rate', '30')) == 3
    told = capsys.readouterr()
    assert '1 clips of 1 videos' in told.out
    assert f'hcat label: warning: {folder}: 1 of 15 images left out: ' in told.err


def test_invalid_arguments_are_reported_in_one_line(
    label: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / 'square.avi', moving(0, 2))

    def failure(*options: str) -> str:
        capsys.readouterr()
        assert label(video, options=options) == 1
        return capsys.readouterr().err.splitlines()[-1]

    assert '--rate 0: expected above 0' in failure('--rate', '0')
    assert 'length 5: expected shortest, 12, or more' in failure('--length', '5')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'labelled.json').write_text('[1')
    assert 'labelled.json is damaged' in failure()
    (tmp_path / 'out' / 'labelled.json').write_text('{"a.mp4": 1e999}')
    assert 'labelled.json is damaged' in failure()
    (tmp_path / 'run.yaml').write_text(RUN.split('teachers')[0])
    assert f'{tmp_path / "run.yaml"} names no teachers' in failure()
