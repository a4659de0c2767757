# SPDX-License-Identifier: Apache-2.0
"""What several tests of training need: small image files and sequences."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

RUN = """
network:
  backbone: efficientnet_lite0
  channels: 32
  heads: 4
  ffn_channels: 32
  layers: 1
  template_size: 64
  search_size: 128
data:
  - {share: 1, root: video}
schedule:
  steps: 6
  batch: 4
  groups: 2
  views: 2
  warm_up: 2
  trained_blocks: 1
  workers: 0
  precision: fp32
"""


@pytest.fixture(scope='session')
def write_image() -> Callable[..., Path]:
    """Writes an image file, of a grey level or of these pixels, and the folders above it."""

    def write(path: Path, content: int | np.ndarray = 90) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.full((24, 32, 3), content, np.uint8) if isinstance(content, int) else content
        assert cv2.imwrite(str(path), image)
        return path

    return write


@pytest.fixture(scope='session')
def sequence(
    write_image: Callable[..., Path], picture: Callable[..., np.ndarray]
) -> Callable[..., Path]:
    """Writes a plain sequence: a patch that moves over a blocky ground, hidden in `absent`."""

    def write(folder: Path, frames: int = 5, seed: int = 0, absent: tuple[int, ...] = ()) -> Path:
        ground, patch = picture(96, 128, seed) // 2, picture(24, 32, seed + 50)
        rows = []
        for number in range(frames):
            image, x, y = ground.copy(), 20 + 8 * number, 30 + 2 * number
            if number not in absent:
                image[y : y + 24, x : x + 32] = patch
            write_image(folder / f'{number:04d}.png', image)
            rows.append('nan nan nan nan' if number in absent else f'{x},{y},32,24')
        (folder / 'groundtruth.txt').write_text('\n'.join(rows))
        return folder

    return write


@pytest.fixture
def config_file(tmp_path: Path, sequence: Callable[..., Path]) -> Path:
    """A run that takes seconds: a tiny network, two sequences beside the file."""
    for number in range(2):
        sequence(tmp_path / 'video' / f'clip_{number}', 6, number)
    path = tmp_path / 'run.yaml'
    path.write_text(RUN)
    return path


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Training sets the threads of PyTorch and OpenCV."""
    if (torch := sys.modules.get('torch')) is None:
        yield
        return
    counts = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(counts[0])
    cv2.setNumThreads(counts[1])


@pytest.fixture
def config(config_file: Path) -> Any:
    """What `config_file` says."""
    from hcat_ros.training.config import load_config

    return load_config(config_file)
