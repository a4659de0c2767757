# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib
import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('onnx', reason='needs onnx')
pytest.importorskip('onnxslim', reason='needs onnxslim')
pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

import numpy as np
import onnx
import onnxslim
import torch

from hcat_ros.commands.main import main
from hcat_ros.engines import load_engine
from hcat_ros.models import WEIGHTS_FILE, load_model
from hcat_ros.network import HCAT, HCATConfig, load_checkpoint, save_checkpoint
from hcat_ros.tracking import Tracker


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the simplification of graphs, which takes most of the time of an export."""
    monkeypatch.setattr(onnxslim, 'slim', onnx.load)


def network(**fields: Any) -> HCAT:
    torch.manual_seed(7)
    config = {'layers': 1, 'channels': 32, 'ffn_channels': 16, 'template_size': 64}
    return HCAT(HCATConfig(**{**config, **fields})).eval()


def failure(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command, which must fail with one line on stderr, and return that line."""
    capsys.readouterr()
    assert main(['export', *argv]) == 1
    text = capsys.readouterr().err
    assert text.startswith('hcat export: ')
    assert text.endswith('\n')
    assert text.count('\n') == 1
    return text


@pytest.mark.parametrize('kind', ['pth', 'safetensors'])
def test_an_exported_checkpoint_can_be_loaded_as_a_model(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / f'weights.{kind}', tmp_path / 'models' / 'mine'
    fields = {} if kind == 'safetensors' else {'template_size': 128}
    model = network(heads=4, **fields)
    if kind == 'pth':
        torch.save({'net': model.state_dict()}, path)
    else:
        save_checkpoint(model, path)
    argv = ['export', str(path), '--out', str(out), '--window-penalty', '0.3']
    argv += ['--size-smoothing', '0.5', '--box-correction', '0.8']
    argv += ['--licence', 'CC0', '--training', 'noise']
    argv += ['--description', 'a test']
    assert main([*argv, '--heads', '4'] if kind == 'pth' else argv) == 0

    card = load_model(out).card
    assert (card.name, card.licence, card.training) == ('mine', 'CC0', 'noise')
    assert card.description == 'a test'
    assert (card.window_penalty, card.size_smoothing, card.lost_threshold) == (0.3, 0.5, 0.0)
    assert card.box_correction == 0.8
    assert HCATConfig(**card.network) == model.config
    assert load_engine(out).card.model == 'mine'
    text = capsys.readouterr().out
    assert f'wrote {out}; largest difference from PyTorch: ' in text
    assert 'in scores' in text
    assert 'in boxes' in text


def test_options_set_the_configuration_that_tensors_cannot_show(tmp_path: Path) -> None:
    path, out = tmp_path / 'weights.pth', tmp_path / 'mine'
    torch.save(network(template_size=128).state_dict(), path)
    argv = ['export', str(path), '--out', str(out), '--name', 'other']
    argv += ['--heads', '2', '--juxtaposed', '--self-attention', '--box-anchor']
    assert main(argv) == 0
    card = load_model(out).card
    assert card.name == 'other'
    expected = {'heads': 2, 'hierarchical': False, 'attention': 'self', 'box_anchor': True}
    assert expected.items() <= card.network.items()


def test_errors_name_the_value_and_leave_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / 'weights.safetensors', tmp_path / 'mine'
    save_checkpoint(network(), path)
    missing = tmp_path / 'missing.pth'
    text = failure([str(missing), '--out', str(out)], capsys)
    assert f'no checkpoint at {missing}' in text
    text = failure([str(path), '--out', str(out), '--heads', '3'], capsys)
    assert f'{path}: channels 32: expected a multiple' in text
    text = failure([str(path), '--out', str(out), '--window-penalty', '7'], capsys)
    assert 'window_penalty 7.0: expected 0 to 1' in text
    text = failure([str(path), '--out', str(out), '--size-smoothing', '0'], capsys)
    assert 'size_smoothing 0.0: expected above 0' in text
    path.write_bytes(path.read_bytes()[:100])
    text = failure([str(path), '--out', str(out)], capsys)
    assert f'{path}: not a readable safetensors file' in text
    assert [p.name for p in tmp_path.iterdir()] == ['weights.safetensors']


def test_an_existing_file_at_the_output_path_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / 'weights.safetensors', tmp_path / 'mine'
    save_checkpoint(network(), path)
    out.write_text('precious')
    capsys.readouterr()
    assert main(['export', str(path), '--out', str(out)]) == 1
    assert str(out) in capsys.readouterr().err
    assert out.read_text() == 'precious'
    assert len(list(tmp_path.iterdir())) == 2


RUN = """
network: {channels: 32, heads: 4, ffn_channels: 32, layers: 1, stride: 8, sparsification: false,
  backbone: efficientnet_lite0, template_size: 32, search_size: 64}
backbone: not_there.pth
data: [{share: 1, root: not_there}]
schedule: {steps: 1, seed: 3}
"""


def test_a_run_file_is_exported_as_an_untrained_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / 'run.yaml', tmp_path / 'mine'
    path.write_text(RUN)
    argv = ['export', str(path), '--out', str(out), '--description', 'For a test.']
    assert main(argv) == 0
    card = load_model(out).card
    assert card.description.startswith('Untrained: ')
    assert card.description.endswith(' For a test.')
    assert (card.grid, card.network['stride'], card.network['sparsification']) == (8, 8, False)
    assert f'warning: {out} is untrained' in capsys.readouterr().out
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    tracker = Tracker(load_engine(out))
    tracker.init(frame, (20, 20, 20, 20))
    assert 0 < tracker.update(frame).score < 1
    torch.manual_seed(3)
    expected = HCAT(HCATConfig(**card.network)).state_dict()
    found = load_checkpoint(out / 'weights.safetensors').state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_options_cannot_override_the_network_of_a_run_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / 'run.yaml', tmp_path / 'mine'
    path.write_text(RUN)
    text = failure([str(path), '--out', str(out), '--juxtaposed', '--heads', '2'], capsys)
    assert f'heads, hierarchical: {path} defines the network' in text
    path.write_text(RUN.replace('channels: 32, heads', 'chanels: 32, heads'))
    text = failure([str(path), '--out', str(out)], capsys)
    assert f"{path}: network: unknown field 'chanels'" in text
    assert not out.exists()


@pytest.mark.parametrize('package', ['torch', 'onnx'])
def test_a_missing_package_is_named_with_its_remedy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    package: str,
) -> None:
    for name in list(sys.modules):
        if name.startswith('hcat_ros.network'):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    text = failure([str(tmp_path / 'x.pth'), '--out', str(tmp_path / 'mine')], capsys)
    assert package in text
    assert "pip install 'hcat_ros[export]'" in text


@pytest.mark.parametrize(
    ('fields', 'flags'),
    [
        ({'hierarchical': True}, ['--hierarchical']),
        ({'hierarchical': False}, []),
        ({'hierarchical': False}, ['--juxtaposed']),
    ],
)
def test_the_published_transt_is_juxtaposed_unless_hierarchical_is_given(
    fields: dict[str, bool], flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transt = {'backbone': 'resnet50', 'stride': 8, 'dilation': True, 'attention': 'self+cross'}
    model = network(**transt, sparsification=False, template_size=128)
    torch.save({'net': model.state_dict()}, tmp_path / 'transt.pth')
    exported: list[HCATConfig] = []

    def export_model(model: HCAT, *args: Any, **kwargs: Any) -> dict[str, float]:
        exported.append(model.config)
        return {'scores': 0.0}

    module = importlib.import_module('hcat_ros.network.export')
    monkeypatch.setattr(module, 'export_model', export_model)
    argv = ['export', str(tmp_path / 'transt.pth'), '--out', str(tmp_path / 'out'), *flags]
    assert main(argv) == 0
    assert exported == [HCATConfig(**{**model.config.__dict__, **fields})]


def test_weights_with_a_timm_backbone_need_the_backbone_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec('timm') is None:
        pytest.skip('needs timm')
    model = network(backbone='mobilenetv2', template_size=128)
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    argv = [str(tmp_path / 'weights.pth'), '--out', str(tmp_path / 'out')]
    assert 'missing tensors: backbone.0.body.' in failure(argv, capsys)
    assert main(['export', *argv, '--backbone', 'mobilenetv2']) == 0
    assert load_engine(tmp_path / 'out').card.model == 'out'
    monkeypatch.setitem(sys.modules, 'timm', None)
    argv += ['--overwrite']
    assert "pip install 'hcat_ros[timm]'" in failure([*argv, '--backbone', 'mobilenetv2'], capsys)


def test_a_model_is_replaced_only_with_overwrite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An export once overwrote thresholds, licence and INT8 hashes of an existing model card."""
    folder = Path(shutil.copytree(load_model('hcat_base').folder, tmp_path / 'model'))
    before = load_model(folder).card
    argv = [str(folder / WEIGHTS_FILE), '--out', str(folder)]
    assert f'{folder} holds a model' in failure(argv, capsys)
    assert load_model(folder).card == before
    assert main(['export', *argv, '--overwrite', '--licence', 'MIT']) == 0
    after = load_model(folder).card
    assert after.licence == 'MIT'
    assert (after.tracking, after.name) == (before.tracking, before.name)
    assert after.scores == before.scores, 'the weights are the same'
    assert load_engine(folder, precision='int8').card.precision == 'int8'


def test_overwriting_with_other_weights_removes_scores_and_int8_graphs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(load_model('hcat_base').folder, tmp_path / 'model'))
    other = Path(load_model('hcat_nano').folder) / WEIGHTS_FILE
    assert main(['export', str(other), '--out', str(folder), '--overwrite']) == 0
    card = load_model(folder).card
    assert card.lost_threshold == 0.78
    assert card.scores == {}
    assert not list(folder.glob('*int8*'))
    assert set(card.sha256) == {path.name for path in folder.iterdir()} - {
        'model.yaml',
        'TRAINING.md',
    }
