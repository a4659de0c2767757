# SPDX-License-Identifier: Apache-2.0
"""`hcat build-engine` with test doubles in place of TensorRT, Polygraphy and CUDA."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip('onnx', reason='needs onnx')
pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

sys.path.append(str(Path(__file__).resolve().parents[1] / 'engines'))

from tensorrt_double import Machine, installed

from hcat_ros.commands import build_engine
from hcat_ros.engines import EngineError
from hcat_ros.models import ModelError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machine]:
    """A Jetson Orin with an empty cache."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    with installed(Machine(dla_cores=2), real_polygraphy=False) as found:
        yield found


def run(*arguments: str) -> None:
    """Call `hcat build-engine` as the command line does."""
    parser = argparse.ArgumentParser()
    build_engine.add_arguments(parser)
    build_engine.run(parser.parse_args(arguments))


def test_both_engine_files_are_built_stored_and_tested(
    machine: Machine,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    run('hcat_base')
    lines = capsys.readouterr().out.splitlines()
    stored = [Path(line.removeprefix('stored ')) for line in lines if line.startswith('stored ')]
    assert len(stored) == len(machine.builds) == 2
    assert all(path.is_file() and tmp_path in path.parents for path in stored)
    assert [line for line in caplog.messages if line.startswith('building ')]
    assert 'Building Engine: 50 %' in caplog.messages
    assert lines[-1] == 'hcat_base is ready: TensorRT 10.3.0, fp16'


def test_existing_engine_files_are_rebuilt_only_with_force(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    run('hcat_base')
    capsys.readouterr()
    run('hcat_base')
    assert capsys.readouterr().out.count('already exists') == 2
    assert len(machine.builds) == 2
    run('hcat_base', '--force')
    assert len(machine.builds) == 4


def test_command_line_options_are_passed_to_the_builder(machine: Machine) -> None:
    run('hcat_base', '--precision', 'fp16', '--workspace', '256', '--dla', '1')
    for build in machine.builds:
        assert build['workspace'] == 256 << 20
        assert build['DLA_core'] == 1
    run('hcat_base', '--precision', 'fp32')
    assert machine.builds[-1]['flags'] == set()


def test_a_failed_self_test_of_the_engine_is_an_error(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(engine: object, model: object) -> None:
        raise EngineError('differs from the network')

    monkeypatch.setattr(build_engine, 'self_test', refuse)
    with pytest.raises(EngineError, match='differs from the network'):
        run('hcat_base')


def test_an_unwritable_cache_is_reported_before_the_build_starts(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', '/proc/self')
    with pytest.raises(EngineError, match='cannot write to /proc/self/hcat_ros'):
        run('hcat_base')
    assert not machine.builds


def test_a_full_disk_is_an_error(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('os.replace', full)
    with pytest.raises(EngineError, match='No space left on device; free space there'):
        run('hcat_base')


@pytest.mark.parametrize('arguments', [['--dla', '7'], ['--workspace', '0']])
def test_invalid_build_options_and_unknown_models_are_errors(
    machine: Machine, arguments: list[str]
) -> None:
    with pytest.raises(EngineError):
        run('hcat_base', *arguments)
    with pytest.raises(ModelError, match="no model 'nope'"):
        run('nope', *arguments)


def test_an_unknown_precision_is_refused_by_the_command_line(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run('hcat_base', '--precision', 'fp8')
    assert "invalid choice: 'fp8'" in capsys.readouterr().err


def test_missing_tensorrt_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    with pytest.raises(EngineError, match='TensorRT cannot be imported'):
        run('hcat_base')
