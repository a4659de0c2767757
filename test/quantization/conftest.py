# SPDX-License-Identifier: Apache-2.0
"""Fixtures: sequences for calibration, and a quantizer of the shipped model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hcat_ros.evaluation.clips import Clip, read_clips
from hcat_ros.models import load_model


@pytest.fixture(scope='session')
def clips(tmp_path_factory: pytest.TempPathFactory, sequence: Callable[..., Path]) -> list[Clip]:
    """Two sequences of a moving patch."""
    folder = tmp_path_factory.mktemp('video')
    for number in range(2):
        sequence(folder / f'clip_{number}', 5, number, absent=(2,))
    return read_clips('plain', folder)


@pytest.fixture(scope='session')
def quantizer(clips: list[Clip], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A quantizer of the shipped model."""
    for module in ('onnx', 'onnxruntime'):
        pytest.importorskip(module)
    from hcat_ros.quantization.examples import crops_along_tracks
    from hcat_ros.quantization.graph import SearchQuantizer

    model = load_model('hcat_base')
    crops = crops_along_tracks(clips, model.card, 6)
    return SearchQuantizer(model, crops[:4], crops[4:], tmp_path_factory.mktemp('work'))
