# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hcat_ros import engines
from hcat_ros.engines import ENGINES, EngineCard, EngineError, Prediction, load_engine
from hcat_ros.models import REFERENCE_FILE, ModelError, load_model


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A timing cache of its own, so that timings of fake runtimes do not reach other tests."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'own_cache'))


class Absent:
    """A runtime that is not installed."""

    def __init__(self, model: Any, **settings: Any) -> None:
        raise EngineError('no such runtime here; pip install it')


class Present:
    """A runtime that loads any model and returns the stored answer of the self-test."""

    def __init__(self, model: Any, **settings: Any) -> None:
        self.model, self.settings = model, settings
        self.card = EngineCard('hcat_base', 'present', '1', 'fp32', 128, 256, 16)
        with np.load(model.file(REFERENCE_FILE)) as stored:
            self.answer = Prediction(stored['scores'], stored['boxes'])

    def template(self, crop: np.ndarray) -> None:
        pass

    def search(self, crop: np.ndarray, features: None) -> Prediction:
        return self.answer


class Slow(Present):
    """A slow runtime with the right answer."""

    def search(self, crop: np.ndarray, features: None) -> Prediction:
        time.sleep(0.1)
        return self.answer


class Wrong(Present):
    """A runtime that computes wrong scores."""

    def search(self, crop: np.ndarray, features: None) -> Prediction:
        return Prediction(self.answer.scores * 0.9, self.answer.boxes)


def offered(monkeypatch: pytest.MonkeyPatch, **classes: str) -> None:
    """Replace the available runtimes with classes of this file."""
    found = {name: (__name__, class_name) for name, class_name in classes.items()}
    monkeypatch.setattr(engines, 'ENGINES', found)


def test_an_unknown_engine_is_refused_and_the_known_ones_are_listed() -> None:
    with pytest.raises(EngineError) as error:
        load_engine(engine='abacus')
    assert f"no engine 'abacus'; there are auto, {', '.join(ENGINES)}" in str(error.value)


def test_an_unknown_model_raises_a_model_error() -> None:
    with pytest.raises(ModelError, match="no model 'hcat_huge'"):
        load_engine('hcat_huge')


@pytest.mark.parametrize('engine', ['auto', 'onnxruntime'])
def test_the_default_model_loads(engine: str) -> None:
    pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')
    card = load_engine(engine=engine).card
    assert card.model == 'hcat_base'
    assert card.runtime in ENGINES


def test_auto_chooses_the_fastest_engine_that_passes_the_self_test(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, 'hcat_ros')
    classes = {'tensorrt': 'Absent', 'onnxruntime-cuda': 'Slow', 'onnxruntime': 'Wrong'}
    offered(monkeypatch, **classes, ncnn='Present', torch='Absent')
    found = load_engine('hcat_base', precision='int8', threads=3)
    assert type(found) is Present
    assert found.model == load_model('hcat_base')
    assert found.settings == {'precision': 'int8', 'threads': 3}
    log = caplog.messages
    assert log[0] == 'passed over tensorrt int8: no such runtime here; pip install it'
    reason = 'passed over onnxruntime int8: present 1 in fp32 differs from the network by'
    assert log[1].startswith(reason)
    assert log[2].startswith('hcat_base in present 1 fp32, ')
    assert 'the fastest of 2 that passed the self-test (onnxruntime-cuda 1 int8 ' in log[2]
    levels = [record.levelname for record in caplog.records]
    assert levels == ['DEBUG', 'DEBUG', 'INFO']


def test_a_named_engine_has_to_pass_the_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """A drone acts on its predictions, so an engine chosen by name is tested as well."""
    offered(monkeypatch, faster='Wrong')
    with pytest.raises(EngineError, match=r'faster: .* differs from the network by'):
        load_engine(engine='faster')


def test_a_named_engine_is_not_replaced_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, fastest='Absent', fast='Present')
    with pytest.raises(EngineError) as error:
        load_engine(engine='fastest')
    assert str(error.value) == 'fastest: no such runtime here; pip install it'


def test_build_settings_are_passed_to_tensorrt_only(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, tensorrt='Present', other='Present')
    common = {'precision': 'auto', 'threads': 0}
    building = {'build_if_missing': False, 'workspace': 256}
    assert load_engine(engine='other', **building).settings == common
    found = load_engine(engine='tensorrt', **building, dla=1)
    assert found.settings == {**common, **building, 'dla': 1}


def test_a_dla_core_is_refused_by_engines_other_than_tensorrt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offered(monkeypatch, tensorrt='Absent', other='Present')
    with pytest.raises(EngineError) as error:
        load_engine(engine='other', dla=0)
    assert str(error.value) == 'other: has no DLA core 0; leave it out, or take tensorrt'
    with pytest.raises(EngineError) as error:
        load_engine(dla=0)
    assert str(error.value) == 'tensorrt: no such runtime here; pip install it'


def test_if_no_engine_loads_the_error_lists_every_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, fastest='Absent', fast='Absent')
    with pytest.raises(EngineError) as error:
        load_engine()
    assert 'fastest: no such runtime' in str(error.value)
    assert '; fast: no such runtime' in str(error.value)


def test_the_error_for_a_missing_runtime_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(EngineError) as error:
        load_engine(engine='onnxruntime')
    assert 'ONNX Runtime cannot be imported' in str(error.value)
    assert 'pip install onnxruntime' in str(error.value)


@pytest.mark.parametrize(
    'module', ['hcat_ros.engines', 'hcat_ros.tracking', 'hcat_ros.commands.main']
)
def test_importing_the_package_does_not_import_heavy_modules(checkout: Path, module: str) -> None:
    code = (
        f'import sys, {module}; '
        "print(*[m for m in ('torch', 'onnx', 'onnxruntime', 'rclpy') if sys.modules.get(m)])"
    )
    found = subprocess.run(
        [sys.executable, '-c', code], cwd=checkout, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == ''
