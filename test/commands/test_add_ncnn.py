# SPDX-License-Identifier: Apache-2.0
"""`hcat add-ncnn` with the real pnnx and ncnn."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('onnxslim', reason='needs the exporter')
pytest.importorskip('pnnx', reason='needs pnnx')
pytest.importorskip('ncnn', reason='needs ncnn')

from hcat_ros.commands.add_ncnn import sha256
from hcat_ros.commands.main import main
from hcat_ros.engines import load_engine
from hcat_ros.models import CARD_FILE, REFERENCE_FILE, WEIGHTS_FILE, load_model

GRAPHS = ['template.ncnn.param', 'template.ncnn.bin', 'search.ncnn.param', 'search.ncnn.bin']


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped model."""
    return Path(shutil.copytree(load_model('hcat_base').folder, tmp_path / 'copy'))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def failure(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command, which must fail and leave the folder unchanged; return its stderr."""
    before = content(folder)
    assert main(['add-ncnn', str(folder)]) == 1
    assert content(folder) == before
    return capsys.readouterr().err


def edit(folder: Path, **hashes: str | None) -> None:
    """Change hashes in the model card; None removes a hash."""
    card = yaml.safe_load((folder / CARD_FILE).read_text())
    for file, value in hashes.items():
        card['sha256'][file] = value
        if value is None:
            del card['sha256'][file]
    (folder / CARD_FILE).write_text(yaml.safe_dump(card))


def test_ncnn_graphs_are_added_and_other_files_stay_unchanged(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(folder)
    assert main(['add-ncnn', str(folder)]) == 0
    assert capsys.readouterr().out.startswith('hcat_base is ready for ncnn ')
    after = content(folder)
    assert set(after) == {*before, *GRAPHS}
    assert all(after[name] == before[name] for name in before if name != CARD_FILE)
    card, old = (yaml.safe_load(files[CARD_FILE]) for files in (after, before))
    assert list(card['sha256']) == [*old['sha256'], *GRAPHS]
    assert {**card, 'sha256': None} == {**old, 'sha256': None}
    assert load_engine(folder, 'ncnn').card.model == 'hcat_base'
    # A second run over the existing files gives identical files.
    assert main(['add-ncnn', str(folder)]) == 0
    assert content(folder) == after


def test_graphs_that_fail_the_self_test_are_not_added(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights differ from the ones that the reference outputs were computed with."""
    import torch

    from hcat_ros.network import load_checkpoint, save_checkpoint

    network = load_checkpoint(folder / WEIGHTS_FILE)
    with torch.no_grad():
        network.projection.weight.mul_(0.5)
    save_checkpoint(network, folder / WEIGHTS_FILE)
    edit(folder, **{WEIGHTS_FILE: sha256(folder / WEIGHTS_FILE)})
    assert 'differs from the network by' in failure(folder, capsys)


@pytest.mark.parametrize('file', [REFERENCE_FILE, WEIGHTS_FILE])
def test_a_model_card_without_a_hash_of_weights_or_reference_is_refused(
    folder: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(folder, **{file: None})
    assert f'lists no sha256 for {file}' in failure(folder, capsys)


def test_a_missing_package_is_named_with_its_remedy(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'hcat_ros.network.ncnn_graph', None)
    assert "pip install 'hcat_ros[export-ncnn]'" in failure(folder, capsys)
