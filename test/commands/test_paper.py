# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

for module in ('torch', 'onnx', 'onnxslim', 'onnxruntime', 'safetensors'):
    pytest.importorskip(module, reason=f'needs {module}')

from hcat_ros.commands import paper
from hcat_ros.commands.main import main
from hcat_ros.models import load_model

RUN = """
network: {{backbone: {backbone}, channels: 32, heads: 4, ffn_channels: 32, layers: 1,
  template_size: 32, search_size: 64, sparsification: false, hierarchical: {hierarchical}}}
data: [{{share: 1, root: nowhere}}]
schedule: {{steps: 1}}
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the networks of the paper by tiny ones; hcat_n1 cannot be built."""

    def run_file(name: str) -> Path:
        path = tmp_path / f'{name}.yaml'
        backbone = 'timm/no_such_network' if name == 'hcat_n1' else 'efficientnet_lite0'
        hierarchical = 'false' if name == 'baseline' else 'true'
        path.write_text(RUN.format(backbone=backbone, hierarchical=hierarchical))
        return path

    monkeypatch.setattr(paper, 'run_file', run_file)


def failure(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(['paper', *argv]) == 1
    text = capsys.readouterr().err
    assert 'Traceback' not in text
    return text.splitlines()[-1]


def test_systems_are_built_timed_and_compared(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, numbers, models = tmp_path / 'p.md', tmp_path / 'p.json', tmp_path / 'models'
    argv = ['paper', '--only', 'hierarchical', 'baseline', '--rounds', '3', '--seconds', '0.001']
    argv += ['--threads', '1', '--export', str(models), '--out', str(page), '--json', str(numbers)]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    assert page.read_text() in printed
    content = json.loads(numbers.read_text())
    found = {(row['system'], row['runtime'], row['form']) for row in content['rows']}
    assert found == {
        (system, runtime, form)
        for system in ('hierarchical', 'baseline')
        for runtime in ('torch', 'onnxruntime')
        for form in ('authors', 'ours')
    }, content['missing']
    assert all(len(row['rounds_ms']) == 3 and row['ms'] > 0 for row in content['rows'])
    costs = content['costs']
    assert costs['hierarchical'] == costs['baseline']
    assert costs['baseline']['whole'] > costs['baseline']['authors'] > costs['baseline']['ours']
    assert 'parameters and multiply-adds | not at hand | equal | yes' in printed
    assert (content['measuring']['threads'], content['measuring']['rounds']) == (1, 3)
    card = load_model(models / 'baseline').card
    assert card.description.startswith('Untrained')
    assert card.network['hierarchical'] is False


def test_without_rounds_only_parameters_and_multiply_adds_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ['paper', '--only', 'hcat', '--rounds', '0', '--json', str(tmp_path / 'p.json')]
    assert main(argv) == 0
    content = json.loads((tmp_path / 'p.json').read_text())
    assert content['costs']['hcat']['parameters'] == 9_956_934
    assert (content['rows'], content['measuring']) == ([], None)
    assert '| 45 | not measured | - |' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('argv', 'reason'),
    [
        (['--only', 'hcat', 'transt_x'], "no system 'transt_x' in the paper; there are hcat, "),
        (['--rounds', '-1'], '--rounds -1: expected 0 or more'),
        (['--threads', '-2'], 'threads -2: expected 0 (one per core) to 256'),
        (['--seconds', '0'], '--seconds 0: expected above 0'),
        (['--results', 'hcat=nowhere'], 'no nowhere/results.json; make it with hcat evaluate'),
    ],
)
def test_invalid_arguments_are_reported(
    argv: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reason in failure(argv, capsys)


def test_output_never_overwrites_results_that_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'results.json'
    path.write_text('[]')
    for output in ('--json', '--out'):
        words = ['--only', 'hcat', '--rounds', '0', '--results', f'hcat={tmp_path}']
        assert f'{path} would be written over' in failure([*words, output, str(path)], capsys)
    assert path.read_text() == '[]'


def test_an_export_never_replaces_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An untrained model must not replace a trained one of the same name."""
    card = tmp_path / 'hcat' / 'model.yaml'
    card.parent.mkdir()
    card.write_text('name: trained')
    words = ['--only', 'hcat', '--rounds', '0', '--export', str(tmp_path)]
    assert f'{card.parent} holds a model; give another folder with --export' in failure(
        words, capsys
    )
    assert card.read_text() == 'name: trained'


def test_a_system_that_cannot_be_built_is_named_with_the_reason(
    small: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'timm', None)
    assert main(['paper', '--only', 'hcat', 'hcat_n1', '--rounds', '0']) == 0
    assert (
        "- hcat_n1: import of timm halted; None in sys.modules; pip install 'hcat_ros[timm]'"
        in (capsys.readouterr().out)
    )
    assert 'hcat_n1: ' in failure(['--only', 'hcat_n1', '--rounds', '0'], capsys)


def test_missing_pytorch_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(sys.modules):
        if name.startswith(('hcat_ros.network', 'hcat_ros.training')):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'torch', None)
    assert "pip install 'hcat_ros[export]'" in failure(['--only', 'hcat'], capsys)
