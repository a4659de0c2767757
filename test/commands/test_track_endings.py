# SPDX-License-Identifier: Apache-2.0
"""`hcat track` never overwrites its inputs, and keeps its output when a signal ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest

pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

from test_track import BOX, COUNT, FLOAT, failure, folder, rows

__all__ = ['folder']  # a fixture


@pytest.mark.parametrize('option', ['--out', '--csv'])
def test_an_output_never_overwrites_an_input(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str
) -> None:
    video = tmp_path / 'video.avi'
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*'MJPG'), 25.0, (320, 240))
    for index in range(COUNT):
        writer.write(cv2.imread(str(folder / f'{index}.png')))
    writer.release()
    before, link = video.read_bytes(), tmp_path / 'other.avi'
    os.link(video, link)
    text = failure([str(video), '--box', *BOX, option, str(link)], capfd)
    assert f'{link} would be written over {video}, which is read' in text
    image = folder / '0.png'
    text = failure([str(folder), '--box', *BOX, option, str(image)], capfd)
    assert f'{image} would be written over {folder}' in text
    assert video.read_bytes() == before


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_frames_tracked_before_a_signal_are_kept(
    folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """The signal reaches a child process in the middle of a long video."""
    video, table, out = (tmp_path / name for name in ('video.avi', 'track.csv', 'track.mp4'))
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*'MJPG'), 25.0, (320, 240))
    images = [cv2.imread(str(folder / f'{index}.png')) for index in range(COUNT)]
    for index in range(4000):
        writer.write(images[index % COUNT])
    writer.release()
    words = ['track', str(video), '--box', *BOX, *FLOAT, '--csv', str(table), '--out', str(out)]
    code = (
        'import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n'
        'signal.signal(signal.SIGHUP, signal.SIG_DFL)\n'  # nohup ignores this signal
        'from hcat_ros.commands.main import main; sys.exit(main(sys.argv[1:]))'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', code, *words], stderr=subprocess.PIPE, text=True
    )
    try:
        # Wait until the temporary file holds a few frames.
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size > 2000 for path in tmp_path.glob('.track.csv.partial-*')):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        _, text = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number, text
    assert 'Traceback' not in text
    assert f'ended by {number.name}' in text
    kept = rows(table)[1:]
    assert [int(row[0]) for row in kept] == list(range(len(kept)))
    frames = cv2.VideoCapture(str(out)).get(cv2.CAP_PROP_FRAME_COUNT)
    assert 20 < len(kept) < 4000
    assert abs(frames - len(kept)) <= 1
    assert not list(tmp_path.glob('.*partial*'))
