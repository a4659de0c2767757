# SPDX-License-Identifier: Apache-2.0
"""For machines with an NVIDIA GPU, TensorRT and Polygraphy: `python -m pytest test/hardware`.

Elsewhere these tests skip and say what is missing. They build for minutes;
`--log-cli-level=info` shows how far they are.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from hcat_ros.engines import EngineError
from hcat_ros.engines.tensorrt_plans import TensorRtPlans
from hcat_ros.models import Model, load_model


@pytest.fixture(scope='session', autouse=True)
def plans() -> TensorRtPlans:
    """The TensorRT plans of the default model; skips without TensorRT or an NVIDIA GPU."""
    try:
        return TensorRtPlans(load_model('hcat_base'))
    except EngineError as error:
        pytest.skip(f'needs TensorRT and an NVIDIA GPU: {error}')


@pytest.fixture(scope='session')
def model() -> Model:
    return load_model('hcat_base')


@pytest.fixture(scope='session')
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty cache for this run, so that engines are built and not loaded."""
    return tmp_path_factory.mktemp('cache')


@pytest.fixture(autouse=True)
def use_cache_home(cache_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(cache_home))
