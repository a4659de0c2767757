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
    """Return the rows of the table by engine name, followed by the precision unless it is fp32."""
    cells = [line.strip('|').split('|') for line in text.splitlines() if line.startswith('| ')]
    found = [[cell.strip() for cell in row] for row in cells]
    return {f'{row[0].split()[0]} {row[1]}'.removesuffix(' fp32').strip(): row for row in found}


def only(monkeypatch: pytest.MonkeyPatch, *engines: str, packages: tuple[str, ...] = ()) -> None:
    """Limit the report to these engines and packages."""
    for name, wanted in (('ENGINES', engines), ('PACKAGES', packages)):
        every = getattr(doctor, name)
        monkeypatch.setattr(doctor, name, {key: every[key] for key in wanted})


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, **modules: str) -> None:
    """Shadow installed modules with these, in child processes too."""
    folder.mkdir()
    for name, code in modules.items():
        (folder / f'{name}.py').write_text(code)
    monkeypatch.syspath_prepend(folder)


def test_the_report_lists_versions_engines_and_speeds(capsys: pytest.CaptureFixture[str]) -> None:
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
    # Every other engine either works or has a reason in its last column.
    assert all(row[-1] for row in found.values() if row[0] != 'engine')
    assert re.search(r'engine auto, precision auto takes: .* ms a search: the fastest of', text)
    assert 'For float: precision:=fp32 (node), --precision fp32 (hcat).' in text


def test_int8_without_an_accuracy_in_the_model_card_is_reported_as_not_used_by_auto(
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


def test_a_requested_precision_is_tried_in_every_engine(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    only(monkeypatch, 'onnxruntime-cuda', 'onnxruntime')
    assert main(['doctor', *QUICK, '--precision', 'int8']) == 0
    text = capsys.readouterr().out
    assert list(rows(text)) == ['engine precision', 'onnxruntime-cuda int8', 'onnxruntime int8']
    assert "has no precision 'int8'" in rows(text)['onnxruntime-cuda int8'][-1]
    assert re.search(r'engine auto, precision int8 takes: hcat_\w+ in \w+ [\d.]+ int8', text)


def test_missing_packages_are_named_with_their_remedy(
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


def test_an_engine_that_crashes_its_process_is_listed_in_the_report(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The crash happens on import."""
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


def test_an_engine_that_hangs_is_listed_in_the_report(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only(monkeypatch, 'openvino')
    install(monkeypatch, tmp_path / 'modules', openvino='import time\ntime.sleep(300)\n')
    assert main(['doctor', *QUICK, '--limit', '1']) == 0
    reason = rows(capsys.readouterr().out)['openvino'][-1]
    assert reason == 'its process gave no answer within 1.01 s'


def test_a_broken_installation_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    only(monkeypatch, 'openvino', packages=('openvino',))
    install(monkeypatch, tmp_path / 'modules', openvino='raise AttributeError("no\\nsuch")\n')
    assert main(['doctor', *QUICK]) == 0
    text = capsys.readouterr().out
    assert '- (AttributeError: no such; pip install openvino)' in text
    assert rows(text)['openvino'][-1] == 'AttributeError: no such'


def test_an_engine_that_fails_the_self_test_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The stored reference output of the model is changed, so that no engine can match it."""
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
def test_invalid_arguments_are_reported(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['doctor', *arguments]) == 1
    assert reason in capsys.readouterr().err


def test_cpu_flags_are_translated_to_their_common_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    info = tmp_path / 'cpuinfo'
    info.write_text('model name : X\nflags\t: fpu avx2 avx512f avx512_vnni avx_vnni\nflags : sve\n')
    real = open

    def opened(path: str, **how: str) -> object:
        return real(info if path == '/proc/cpuinfo' else path, **how)

    monkeypatch.setattr('builtins.open', opened)
    assert doctor.cpu_features() == ['AVX2', 'AVX-512', 'VNNI']
