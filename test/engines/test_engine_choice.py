# SPDX-License-Identifier: Apache-2.0
"""Which engine and precision 'auto' chooses, with real model files in the real ONNX Runtime."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

import onnxruntime
from runtimes import FLOAT_FASTER, INT8_FASTER, Timed, change_card
from tensorrt_double import Machine

from hcat_ros import engines
from hcat_ros.engines import ENGINES, EngineError, load_engine
from hcat_ros.models import INT8_SEARCH_FILE, ModelError

VERSION = onnxruntime.__version__
pytestmark = pytest.mark.usefixtures('own_timings')


@pytest.mark.parametrize('engine', ['auto', 'onnxruntime'])
def test_the_fastest_engine_that_passes_the_self_test_is_chosen_and_logged(
    engine: str, int8_copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With real timings: which of the two precisions is faster depends on the machine."""
    caplog.set_level(logging.INFO)
    card = load_engine(int8_copy, engine, threads=1).card
    (line,) = caplog.messages
    won, lost = ('int8', 'fp32') if card.precision == 'int8' else ('fp32', 'int8')
    assert line.startswith(f'{card.model} in onnxruntime {VERSION} {won}, ')
    assert ' ms a search: the fastest of 2 that passed the self-test (' in line
    assert f'(onnxruntime {VERSION} {lost} ' in line


@pytest.mark.parametrize(('speeds', 'precision'), [(INT8_FASTER, 'int8'), (FLOAT_FASTER, 'fp32')])
def test_the_faster_precision_is_chosen(
    speeds: dict[str, float], precision: str, int8_copy: Path, timed: Timed
) -> None:
    calls = timed(speeds)
    assert load_engine(int8_copy, threads=1).card.precision == precision
    assert calls == [['onnxruntime fp32', 'onnxruntime int8']]


def test_precision_fp32_excludes_int8_without_timing(int8_copy: Path, timed: Timed) -> None:
    calls = timed(INT8_FASTER)
    assert load_engine(int8_copy, precision='fp32', threads=1).card.precision == 'fp32'
    assert load_engine(int8_copy, 'onnxruntime', 'fp32', threads=1).card.precision == 'fp32'
    assert calls == [], 'where one candidate is left there is nothing to time'


def is_silent(card: dict[str, Any]) -> None:
    del card['scores']['INT8']


def lost_too_much(card: dict[str, Any]) -> None:
    card['scores']['INT8'][INT8_SEARCH_FILE]['AO'] = 0.629


def lists_no_graph(card: dict[str, Any]) -> None:
    del card['sha256'][INT8_SEARCH_FILE]


@pytest.mark.parametrize('change', [is_silent, lost_too_much, lists_no_graph])
@pytest.mark.parametrize('engine', ['auto', 'onnxruntime'])
def test_int8_is_not_chosen_automatically_unless_the_card_accepts_it(
    engine: str,
    change: Callable[[dict[str, Any]], None],
    int8_copy: Path,
    timed: Timed,
) -> None:
    timed(INT8_FASTER)
    change_card(int8_copy, change)
    assert load_engine(int8_copy, engine, threads=1).card.precision == 'fp32'
    if change is not lists_no_graph:
        assert load_engine(int8_copy, engine, 'int8', threads=1).card.precision == 'int8'


@pytest.mark.parametrize('engine', ['auto', 'onnxruntime'])
def test_an_int8_graph_that_fails_the_self_test_is_skipped_and_the_reason_logged(
    engine: str,
    wrong_int8: Path,
    timed: Timed,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, 'hcat_ros')
    calls = timed(INT8_FASTER)
    assert load_engine(wrong_int8, engine, threads=1).card.precision == 'fp32'
    assert calls == []
    (line,) = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert 'that passed the self-test' in line.message
    (reason,) = [text for text in caplog.messages if 'passed over onnxruntime int8' in text]
    assert 'in int8 differs from the network by' in reason
    with pytest.raises(EngineError, match='in int8 differs from the network by'):
        load_engine(wrong_int8, precision='int8', threads=1)


def test_a_damaged_int8_graph_raises_a_model_error(int8_copy: Path) -> None:
    (int8_copy / INT8_SEARCH_FILE).write_bytes(b'damaged')
    with pytest.raises(ModelError, match=f'{INT8_SEARCH_FILE} is damaged'):
        load_engine(int8_copy)
    assert load_engine(int8_copy, precision='fp32').card.precision == 'fp32'


def test_a_runtime_that_fails_with_any_exception_is_skipped(
    int8_copy: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, 'hcat_ros')
    monkeypatch.setitem(ENGINES, 'ncnn', ('hcat_ros.engines.ncnn_engine', 'NoSuchClass'))
    load_engine(int8_copy, precision='fp32', threads=1)
    assert any('passed over ncnn fp32: AttributeError' in text for text in caplog.messages)


# Precedence


def test_tensorrt_is_chosen_without_timing_on_a_machine_with_a_gpu(
    machine: Machine, timed: Timed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, 'hcat_ros.engines')
    calls = timed({})
    card = load_engine('hcat_base').card
    assert (card.runtime, card.precision) == ('tensorrt', 'fp16')
    assert calls == []
    assert machine.builds == []
    assert 'an engine built for the GPU is not timed' in caplog.messages[-1]


def in_own_python(code: str, tmp_path: Path) -> list[str]:
    """Output lines of a separate Python process, since this one must not load OpenVINO."""
    command = [sys.executable, '-c', code]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    return found.stdout.splitlines()


@pytest.mark.parametrize('torch', [False, True])
def test_openvino_is_considered_unless_pytorch_is_loaded(torch: bool, tmp_path: Path) -> None:
    try:
        metadata.version('openvino')
    except metadata.PackageNotFoundError:
        pytest.skip('needs OpenVINO')
    if torch:
        pytest.importorskip('torch', reason='needs PyTorch')
    lines = in_own_python(
        f"""
import logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format='%(levelname)s %(message)s')
{'import torch' if torch else ''}
from hcat_ros.engines import load_engine
load_engine(precision='fp32', threads=1)
""",
        tmp_path,
    )
    (info,) = [line for line in lines if line.startswith('INFO')]
    # OpenVINO is logged either as the fastest or as a slower engine; noise decides which.
    assert bool(re.search(r'\bopenvino \d', info)) is not torch
    told = any(
        'passed over openvino: OpenVINO has crashed in processes that had' in line for line in lines
    )
    assert told is torch


def test_pytorch_is_the_last_resort(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip('torch', reason='needs PyTorch')
    caplog.set_level(logging.INFO)
    pytorch = ('hcat_ros.engines.torch_engine', 'TorchEngine')
    nothing = ('hcat_ros.engines.onnxruntime_engine', 'NoSuchClass')
    monkeypatch.setattr(engines, 'ENGINES', {'onnxruntime': nothing, 'torch': pytorch})
    assert load_engine().card.runtime == 'torch'
    assert 'no faster engine passed the self-test' in caplog.messages[0]
