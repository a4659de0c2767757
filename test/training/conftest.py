# SPDX-License-Identifier: Apache-2.0
"""What several tests of training need: small image files and sequences."""

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
    """Leave no garbage to forked processes.

    One that destroys an ONNX Runtime session of an earlier test waits for ever for the session's
    threads, which it has not got.
    """
    gc.collect()


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
