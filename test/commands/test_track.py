# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

from hcat_ros.boxes import Box, iou
from hcat_ros.commands import track
from hcat_ros.commands.main import main
from hcat_ros.drawing import draw_track
from hcat_ros.frames import Frame, FrameSource
from hcat_ros.models import CARD_FILE, SEARCH_FILE, load_model
from hcat_ros.tracking import TargetState, Track

COUNT = 8
BOX = ['60', '90', '64', '48']
FLOAT = ['--engine', 'onnxruntime', '--precision', 'fp32']
HEADER = ['frame', 'time_s', 'x', 'y', 'w', 'h', 'score', 'state']


@pytest.fixture
def folder(tmp_path: Path, picture: Callable[..., np.ndarray]) -> Path:
    """Images in which a textured patch slides over a grey wall."""
    images = tmp_path / 'images'
    images.mkdir()
    patch = picture(48, 64, 1)
    for index in range(COUNT):
        scene = np.full((240, 320, 3), 120, np.uint8)
        scene[90:138, 60 + 5 * index : 124 + 5 * index] = patch
        cv2.imwrite(str(images / f'{index}.png'), scene)
    return images


def rows(path: Path) -> list[list[str]]:
    with path.open(newline='', encoding='utf-8') as file:
        return list(csv.reader(file))


def failure(argv: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """Run the command, which must fail with one line on stderr, and return that line.

    Engine and precision are given, because with 'auto' a line reports the choice.
    """
    capfd.readouterr()
    assert main(['track', *FLOAT, *argv]) == 1
    text = capfd.readouterr().err
    assert text.startswith('hcat track: ')
    assert text.endswith('\n')
    assert text.count('\n') == 1
    return text


def test_a_folder_is_tracked_and_both_files_are_written(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, table = tmp_path / 'track.mp4', tmp_path / 'track.csv'
    argv = ['track', str(folder), '--box', *BOX, '--out', str(out), '--csv', str(table)]
    assert main(argv) == 0

    header, *content = rows(table)
    assert header == HEADER
    assert [row[0] for row in content] == [str(i) for i in range(COUNT)]
    assert [float(row[1]) for row in content] == pytest.approx(
        [i / 30 for i in range(COUNT)], abs=1e-3
    )
    assert [float(value) for value in content[0][2:6]] == [60, 90, 64, 48]
    assert content[0][6:] == ['1.0000', 'tracking']
    x, y, w, h = (float(value) for value in content[-1][2:6])
    assert abs(x + w / 2 - (92 + 5 * (COUNT - 1))) < 16
    assert abs(y + h / 2 - 114) < 16
    assert all(0 < float(row[6]) <= 1 for row in content)

    video = cv2.VideoCapture(str(out))
    assert video.get(cv2.CAP_PROP_FPS) == 30
    frames = []
    while (found := video.read())[0]:
        frames.append(found[1])
    assert len(frames) == COUNT
    plain = cv2.imread(str(folder / '0.png'))
    drawn = plain.copy()
    draw_track(drawn, Track(Box(60, 90, 64, 48), 1.0, TargetState.TRACKING), 'frame 0')
    near_drawn, near_plain = (cv2.absdiff(frames[0], image).mean() for image in (drawn, plain))
    assert near_drawn < 3
    assert near_drawn < near_plain

    text = capsys.readouterr().out
    assert f'{COUNT} frames, ' in text
    assert 'with hcat_base in ' in text
    assert f'wrote {out}\nwrote {table}\n' in text


def test_tracking_starts_at_the_given_frame(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / 'track.csv'
    box = [str(60 + 5 * 3), *BOX[1:]]
    argv = ['track', *FLOAT, str(folder), '--start', '3', '--box', *box, '--csv', str(table)]
    assert main(argv) == 0
    _, *content = rows(table)
    assert len(content) == COUNT - 3
    last = Box(*(float(value) for value in content[-1][2:6]))
    assert iou(last, Box(60 + 5 * (COUNT - 1), 90, 64, 48)) > 0.7


def test_each_target_has_its_own_rows(
    folder: Path, tmp_path: Path, picture: Callable[..., np.ndarray]
) -> None:
    """The second target does not move."""
    out, table, still = tmp_path / 'track.mp4', tmp_path / 'track.csv', ('250', '180', '48', '40')
    for path in folder.iterdir():
        scene = cv2.imread(str(path))
        scene[180:220, 250:298] = picture(40, 48, 2)
        cv2.imwrite(str(path), scene)
    argv = ['track', str(folder), '--box', *BOX, '--box', *still, '--csv', str(table)]
    assert main([*argv, '--out', str(out)]) == 0
    header, *content = rows(table)
    assert header == [*HEADER, 'target']
    assert [(row[0], row[-1]) for row in content] == [
        (str(frame), target) for frame in range(COUNT) for target in '12'
    ]
    first, second = ([float(value) for value in row[2:6]] for row in content[-2:])
    assert abs(first[0] + first[2] / 2 - (92 + 5 * (COUNT - 1))) < 16
    assert iou(Box(*second), Box(250, 180, 48, 40)) > 0.5
    assert out.stat().st_size > 0


def test_a_video_file_is_tracked(folder: Path, tmp_path: Path) -> None:
    video, table = tmp_path / 'video.avi', tmp_path / 'track.csv'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*'MJPG'), 10.0, (320, 240))
    for index in range(COUNT):
        writer.write(cv2.imread(str(folder / f'{index}.png')))
    writer.release()
    assert main(['track', str(video), '--box', *BOX, '--csv', str(table)]) == 0
    content = rows(table)[1:]
    assert len(content) == COUNT
    assert float(content[-1][1]) == pytest.approx((COUNT - 1) / 10)
    x, _, w, _ = (float(value) for value in content[-1][2:6])
    assert abs(x + w / 2 - (92 + 5 * (COUNT - 1))) < 16


def test_the_same_command_writes_the_same_track(folder: Path, tmp_path: Path) -> None:
    written = []
    for name in ('one.csv', 'two.csv'):
        argv = [
            'track',
            str(folder),
            '--box',
            *BOX,
            '--csv',
            str(tmp_path / name),
            '--threads',
            '1',
        ]
        assert main(argv) == 0
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]


def test_the_window_penalty_option_changes_the_track(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / 'still.csv'
    argv = ['track', str(folder), '--box', *BOX, '--csv', str(table), '--window-penalty', '1']
    assert main(argv) == 0
    assert rows(table)[1:] != []
    free = tmp_path / 'free.csv'
    assert main([*argv[:7], '--csv', str(free), '--window-penalty', '0']) == 0
    assert rows(free) != rows(table)


def test_errors_name_the_value_and_what_to_do(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    video, missing = str(folder), str(tmp_path / 'missing.mp4')
    assert 'name the target with --box X Y W H' in failure([video], capfd)
    assert f'{missing} does not exist; expected a video' in failure([missing, '--box', *BOX], capfd)
    text = failure([video, '--box', '900', '9', '30', '30'], capfd)
    assert 'box x=900 y=9 w=30 h=30 lies outside of the 320x240 frame' in text
    text = failure([video, '--box', 'nan', '9', '30', '30'], capfd)
    assert 'box x=nan y=9 w=30 h=30 is not finite' in text
    text = failure([video, '--box', *BOX, '--window-penalty', '2'], capfd)
    assert 'window_penalty 2.0: expected 0 to 1' in text
    text = failure([video, '--box', *BOX, '--precision', 'fp1'], capfd)
    assert "no precision 'fp1'; it has " in text
    text = failure([video, '--box', *BOX, '--threads', '-3'], capfd)
    assert 'threads -3: expected 0' in text
    text = failure([video, '--box', *BOX, '--model', 'hcat_huge'], capfd)
    assert "no model 'hcat_huge'" in text
    assert 'hcat_base' in text


def test_files_that_cannot_be_written_are_named(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lost = tmp_path / 'no' / 'folder'
    text = failure([str(folder), '--box', *BOX, '--csv', f'{lost}/track.csv'], capfd)
    assert f'{lost}/track.csv' in text
    assert f'No folder {lost}' in text
    text = failure([str(folder), '--box', *BOX, '--out', f'{lost}/track.mp4'], capfd)
    assert f"No folder {lost}: '{lost}/track.mp4'" in text


@pytest.mark.parametrize('name', ['notes.mp4', 'notes'])
def test_a_file_that_is_not_a_video_is_refused(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the output of Python is captured: FFmpeg may print messages of its own."""
    path = tmp_path / name
    path.write_text('no video\n' * 30)
    text = failure([str(path), '--box', *BOX], capsys)
    assert f'OpenCV cannot open {path} as a video or camera' in text


def test_an_unsupported_output_format_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'track.txt'
    text = failure([str(folder), '--box', *BOX, '--out', str(out)], capsys)
    assert f'{out}: expected a name that ends in .mp4' in text


def test_damaged_model_files_are_named(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = Path(shutil.copytree(load_model().folder, tmp_path / 'model'))
    (model / SEARCH_FILE).write_bytes(b'')
    text = failure([str(folder), '--box', *BOX, '--model', str(model)], capfd)
    assert f'{model / SEARCH_FILE} is damaged' in text
    (model / CARD_FILE).write_text('- no card')
    text = failure([str(folder), '--box', *BOX, '--model', str(model)], capfd)
    assert str(model / CARD_FILE) in text


def test_an_unreadable_image_is_left_out_with_exit_code_3(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / '3.png').write_bytes(b'no image')
    table = tmp_path / 'track.csv'
    assert main(['track', *FLOAT, str(folder), '--box', *BOX, '--csv', str(table)]) == 3
    assert f'{folder / "3.png"} is not a readable image' in capfd.readouterr().err
    assert [row[0] for row in rows(table)[1:]] == [str(n) for n in range(COUNT) if n != 3]


@pytest.mark.parametrize('factor', [1, 10])
def test_a_video_that_plays_at_another_speed_than_its_source_is_told(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    factor: int,
) -> None:
    """As of a webcam that states 30 frames per second and sends 3 in the dark."""

    class SlowSource(FrameSource):
        def __iter__(self) -> Iterator[Frame]:
            for frame in super().__iter__():
                yield Frame(frame.index, factor * frame.time, frame.image)

    monkeypatch.setattr(track, 'FrameSource', SlowSource)
    out = tmp_path / 'track.mp4'
    assert main(['track', *FLOAT, str(folder), '--box', *BOX, '--out', str(out)]) == 0
    expected = f'{out} plays 0.2 s for 2.3 s of the source: it has a constant 30 frames per second'
    assert (expected in capfd.readouterr().err) == (factor == 10)


def test_show_without_window_support_is_an_error_with_a_remedy(
    checkout: Path, folder: Path
) -> None:
    """The command runs in a child process: a window library may end its process on failure."""
    if not re.search(r'GUI:\s+NONE', cv2.getBuildInformation()):
        pytest.skip('this OpenCV can open windows')
    code = 'import sys; from hcat_ros.commands.main import main; sys.exit(main(sys.argv[1:]))'
    found = subprocess.run(
        [sys.executable, '-c', code, 'track', str(folder), '--show', *FLOAT],
        cwd=checkout,
        env={k: v for k, v in os.environ.items() if k != 'DISPLAY'},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 1
    assert 'Traceback' not in found.stderr
    assert 'cannot open a window' in found.stderr
    assert '--box and --out' in found.stderr
    assert found.stderr.count('\n') == 1


def test_the_shipped_model_follows_a_real_drone(shared: Path, tmp_path: Path) -> None:
    """The measure is the mean overlap with the true box over the first 60 frames."""
    sequence, images = shared / 'data' / 'eval' / 'tlp_drone1', tmp_path / 'images'
    images.mkdir()
    for index in range(60):
        shutil.copy(sequence / f'{index:04d}.webp', images)
    truth = np.loadtxt(sequence / 'groundtruth.txt', delimiter=',')[:60]
    table = tmp_path / 'track.csv'
    box = [str(value) for value in truth[0]]
    assert main(['track', str(images), '--box', *box, '--csv', str(table)]) == 0
    boxes = np.array([[float(value) for value in row[2:6]] for row in rows(table)[1:]])
    still = iou(truth[0], truth)[1:].mean()
    overlap = iou(boxes, truth)[1:].mean()
    assert overlap > 0.7
    assert overlap > still + 0.1  # clearly better than a box that never moves
