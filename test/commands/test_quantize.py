# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from hcat_ros.commands import quantize
from hcat_ros.commands.main import main
from hcat_ros.engines import load_engine
from hcat_ros.engines.self_test import self_test
from hcat_ros.models import INT8_SEARCH_FILE, INT8_TENSORRT_FILE, load_model
from hcat_ros.quantization.choice import Judge, Overlap
from hcat_ros.quantization.graph import SearchQuantizer


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(load_model('hcat_base').folder, tmp_path / 'model'))


@pytest.fixture
def arguments(
    model: Path,
    tmp_path: Path,
    sequence: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """Arguments of a run that takes seconds: few crops, every 30th layer."""
    monkeypatch.setattr(quantize, 'CALIBRATION', 2)
    monkeypatch.setattr(quantize, 'TEST', 1)
    every = SearchQuantizer.layers.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(SearchQuantizer, 'layers', property(lambda self: every(self)[::30]))
    sequence(tmp_path / 'data' / 'clip', 5)
    folder = str(tmp_path / 'data')
    return ['quantize', str(model), '--data', folder, '--evaluate', folder, '--starts', '2']


def test_accepted_int8_graphs_are_added_to_the_model(
    arguments: list[str], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, '--max-drop', '0.3', '--jobs', '2']) == 0
    printed = capsys.readouterr()
    assert 'fp32: AO 0.' in printed.out
    assert '/backbone/stem/Conv alone in INT8: scores 0.' in printed.err
    found = load_model(model)
    assert {INT8_SEARCH_FILE, INT8_TENSORRT_FILE} <= set(found.card.sha256)
    told = found.card.scores['INT8']
    assert told['protocol'] == 'mean AO of 2 starts'
    assert 0 < told['fp32'] <= 1
    assert 0 < told[INT8_SEARCH_FILE]['AO'] <= 1
    assert found.card.scores['mean AO'] == load_model('hcat_base').card.scores['mean AO']
    assert (
        found.file(INT8_SEARCH_FILE).stat().st_size < 0.5 * found.file('search.onnx').stat().st_size
    )
    engine = load_engine(found, 'onnxruntime', 'int8')
    assert engine.card.precision == 'int8'
    self_test(engine, found)
    assert not [path for path in model.iterdir() if path.name.startswith('.')]


def test_left_out_sequences_are_named_in_a_final_warning(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / 'data' / 'broken'
    broken.mkdir()
    (broken / 'groundtruth.txt').write_text('no box\n')
    with pytest.warns(UserWarning, match='skipped'):
        assert main([*arguments, '--max-drop', '0.3']) == 3
    told = capsys.readouterr()
    assert f'wrote {INT8_SEARCH_FILE}' in told.out
    warning = told.err.splitlines()[-1]
    assert 'hcat quantize: warning: sequences left out: ' in warning
    assert warning.count(str(broken)) == 1 + warning.count(f'{broken}/groundtruth.txt')


def test_a_model_stays_unchanged_when_no_int8_graph_is_accurate_enough(
    arguments: list[str],
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    monkeypatch.setattr(Judge, 'overlap', lambda *_: Overlap((0.1, 0.1)))
    assert main(arguments) == 1
    assert 'no INT8 graph is accepted' in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before


@pytest.mark.parametrize(
    ('extra', 'reason'),
    [
        (['--starts', '0'], '--starts 0: expected 1 or more'),
        (['--jobs', '-1'], '--jobs -1: expected 1 to 256'),
        (['--max-drop', 'nan'], '--max-drop nan: expected 0 or more'),
        (['--data', 'nowhere'], 'plain: no folder nowhere'),
    ],
)
def test_invalid_arguments_are_reported(
    arguments: list[str], extra: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *extra]) == 1
    assert reason in capsys.readouterr().err


def test_an_unwritable_model_folder_is_reported(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quantize.os, 'access', lambda *_: False)  # root may write anywhere
    assert main(arguments) == 1
    assert 'is not writable; copy the folder and name the copy' in capsys.readouterr().err
