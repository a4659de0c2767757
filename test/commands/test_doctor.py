# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

import onnxruntime

from hcat_ros import __version__
from hcat_ros.commands import doctor
from hcat_ros.commands.main import main
from hcat_ros.engines import ENGINES
from hcat_ros.models import CARD_FILE, REFERENCE_FILE, load_model

QUICK = ['--seconds', '0.01', '--threads', '1']


def rows(text: str) -> dict[str, list[str]]:
    """The table's rows by engine, and by engine and precision where that is not fp32."""
    cells = [line.strip('|').split('|') for line in text.splitlines() if line.startswith('| ')]
    found = [[cell.strip() for cell in row] for row in cells]
    return {f'{row[0].split()[0]} {row[1]}'.removesuffix(' fp32').strip(): row for row in found}


def only(monkeypatch: pytest.MonkeyPatch, *engines: str, packages: tuple[str, ...] = ()) -> None:
    """Have the report speak of these alone."""
    for name, wanted in (('ENGINES', engines), ('PACKAGES', packages)):
        every = getattr(doctor, name)
        monkeypatch.setattr(doctor, name, {key: every[key] for key in wanted})


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, **modules: str) -> None:
    """Put modules before those that are installed, also for processes that are started."""
    folder.mkdir()
    for name, code in modules.items():
        (folder / f'{name}.py').write_text(code)
    monkeypatch.syspath_prepend(folder)


def test_the_report_tells_versions_engines_and_speeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['doctor', *QUICK]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f'hcat_ros {__version__}, Python {sys.version.split()[0]}')
    assert f'{onnxruntime.__version__} (' in text
    assert 'CPUExecutionProvider' in text
    found = rows(text)
    assert {name.split()[0] for name in found} == {'engine', *ENGINES}
    for row, precision in (('onnxruntime', 'fp32'), ('onnxruntime int8', 'int8')):
        name, shown, median, p95, state = found[row]
        version = f'onnxruntime {onnxruntime.__version__}'
        assert (name, shown, state) == (version, precision, 'passed')
        assert all(re.fullmatch(r'\d+\.\d ms', value) for value in (median, p95))
    # Each of the others works or says what it lacks.
    assert all(row[-1] for row in found.values() if row[0] != 'engine')
    assert re.search(r'engine auto, precision auto takes: .* ms a search: the fastest of', text)
    assert 'For float: precision:=fp32 (node), --precision fp32 (hcat).' in text


def test_int8_that_the_card_does_not_accept_is_told_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only(monkeypatch, 'onnxruntime')
    folder = shutil.copytree(load_model().folder, tmp_path / 'model')
    card = yaml.safe_load((folder / CARD_FILE).read_text())
    del card['scores']['INT8']
    (folder / CARD_FILE).write_text(yaml.safe_dump(card))
    assert main(['doctor', *QUICK, '--model', str(folder)]) == 0
    found = rows(capsys.readouterr().out)
    assert found['onnxruntime'][-1] == 'passed'
    state = 'passed; runs only with precision int8, not auto: the card has no AO of'
    assert found['onnxruntime int8'][-1].startswith(state)


def test_a_precision_that_is_asked_for_is_tried_in_every_engine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, 'onnxruntime-cuda', 'onnxruntime')
    assert main(['doctor', *QUICK, '--precision', 'int8']) == 0
    text = capsys.readouterr().out
    assert list(rows(text)) == ['engine precision', 'onnxruntime-cuda int8', 'onnxruntime int8']
    assert "has no precision 'int8'" in rows(text)['onnxruntime-cuda int8'][-1]
    assert re.search(r'engine auto, precision int8 takes: hcat_\w+ in \w+ [\d.]+ int8', text)


def test_what_is_missing_is_named_with_its_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = ('openvino', 'torch', 'rclpy')
    only(monkeypatch, 'openvino', 'torch', 'onnxruntime', packages=missing)
    code = {name: f'raise ModuleNotFoundError("No module named {name}")' for name in missing}
    install(monkeypatch, tmp_path / 'modules', **code)
    assert main(['doctor', *QUICK]) == 0
    text = capsys.readouterr().out
    assert re.search(r'openvino +- \(ModuleNotFoundError.*pip install openvino\)', text)
    assert re.search(r'rclpy +- \(ModuleNotFoundError.*source its setup.bash\)', text)
    found = rows(text)
    assert 'pip install openvino' in found['openvino'][-1]
    assert 'PyTorch cannot be imported' in found['torch'][-1]
    assert found['onnxruntime'][-1] == 'passed'


def test_an_engine_that_ends_its_process_is_a_line_of_the_report(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Here while it is imported."""
    only(monkeypatch, 'openvino', 'onnxruntime', packages=('openvino', 'numpy'))
    code = 'import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n'
    install(monkeypatch, tmp_path / 'modules', openvino=code)
    assert main(['doctor', *QUICK]) == 0
    text = capsys.readouterr().out
    assert re.search(r'openvino +- \(its process ended by SIGSEGV\)', text)
    assert re.search(r'numpy +\d', text)
    found = rows(text)
    assert found['openvino'] == ['openvino', 'fp32', '', '', 'its process ended by SIGSEGV']
    assert found['onnxruntime'][-1] == 'passed'


def test_an_engine_that_hangs_is_a_line_of_the_report(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only(monkeypatch, 'openvino')
    install(monkeypatch, tmp_path / 'modules', openvino='import time\ntime.sleep(300)\n')
    assert main(['doctor', *QUICK, '--limit', '1']) == 0
    reason = rows(capsys.readouterr().out)['openvino'][-1]
    assert reason == 'its process gave no answer within 1.01 s'


def test_an_installation_that_is_broken_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only(monkeypatch, 'openvino', packages=('openvino',))
    install(monkeypatch, tmp_path / 'modules', openvino='raise AttributeError("no\\nsuch")\n')
    assert main(['doctor', *QUICK]) == 0
    text = capsys.readouterr().out
    assert '- (AttributeError: no such; pip install openvino)' in text
    assert rows(text)['openvino'][-1] == 'AttributeError: no such'


def test_an_engine_that_computes_something_else_does_not_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A model whose stored answer is another's."""
    import hashlib

    import numpy as np

    only(monkeypatch, 'onnxruntime')
    folder = shutil.copytree(load_model().folder, tmp_path / 'model')
    with np.load(folder / REFERENCE_FILE) as stored:
        content = {name: stored[name] for name in stored}
    content['scores'] = 1 - content['scores']
    np.savez(folder / REFERENCE_FILE, **content)
    card = yaml.safe_load((folder / 'model.yaml').read_text())
    digest = hashlib.sha256((folder / REFERENCE_FILE).read_bytes()).hexdigest()
    card['sha256'][REFERENCE_FILE] = digest
    (folder / 'model.yaml').write_text(yaml.safe_dump(card))
    assert main(['doctor', *QUICK, '--model', str(folder)]) == 0
    assert 'differs from the network by' in rows(capsys.readouterr().out)['onnxruntime'][-1]


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['--seconds', '0'], '--seconds 0.0: expected above 0'),
        (['--limit', 'inf'], '--limit inf: expected above 0, at most 86400'),
        (['--seconds', 'nan'], '--seconds nan: expected above 0'),
        (['--limit', '-1'], '--limit -1.0: expected above 0'),
        (['--model', 'no'], "no model 'no'"),
    ],
)
def test_errors_are_told(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['doctor', *arguments]) == 1
    assert reason in capsys.readouterr().err


def test_the_processors_features_have_the_names_that_people_know(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    info = tmp_path / 'cpuinfo'
    info.write_text('model name : X\nflags\t: fpu avx2 avx512f avx512_vnni avx_vnni\nflags : sve\n')
    real = open

    def opened(path: str, **how: str) -> object:
        return real(info if path == '/proc/cpuinfo' else path, **how)

    monkeypatch.setattr('builtins.open', opened)
    assert doctor.cpu_features() == ['AVX2', 'AVX-512', 'VNNI']
