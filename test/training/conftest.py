# SPDX-License-Identifier: Apache-2.0
"""Fixtures for tests of training: small image files and sequences."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
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


@pytest.fixture
def no_garbage() -> None:
    """Collect garbage before processes are forked.

    A forked process that destroys an ONNX Runtime session of an earlier test waits forever for the
    session's threads, which do not exist there.
    """
    gc.collect()


@pytest.fixture
def config_file(tmp_path: Path, sequence: Callable[..., Path]) -> Path:
    """A training configuration that takes seconds: a tiny network and two sequences."""
    for number in range(2):
        sequence(tmp_path / 'video' / f'clip_{number}', 6, number)
    path = tmp_path / 'run.yaml'
    path.write_text(RUN)
    return path


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Restore the numbers of threads of PyTorch and OpenCV, which training changes."""
    if (torch := sys.modules.get('torch')) is None:
        yield
        return
    counts = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(counts[0])
    cv2.setNumThreads(counts[1])


@pytest.fixture
def config(config_file: Path) -> Any:
    """The configuration in `config_file`."""
    from hcat_ros.training.config import load_config

    return load_config(config_file)
