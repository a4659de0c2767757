# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import re
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

from hcat_ros import models
from hcat_ros.models import (
    CARD_FILE,
    DEFAULT_MODEL,
    INT8_SEARCH_FILE,
    SEARCH_FILE,
    TEMPLATE_FILE,
    ModelCard,
    ModelError,
    accepted_precisions,
    add_to_model,
    available_models,
    int8_objection,
    load_model,
    model_folders,
)
from hcat_ros.tracking import TrackerConfig

GRAPHS = {TEMPLATE_FILE: b'the template graph', SEARCH_FILE: b'the search graph'}


def write_model(folder: Path, **changes: Any) -> Path:
    """A model folder with graphs of a few bytes; a change to None leaves the field out."""
    folder.mkdir(parents=True)
    hashes = {}
    for name, content in GRAPHS.items():
        (folder / name).write_bytes(content)
        hashes[name] = hashlib.sha256(content).hexdigest()
    card = {
        'name': folder.name,
        'template_size': 128,
        'search_size': 256,
        'grid': 16,
        'sha256': hashes,
        **changes,
    }
    card = {name: value for name, value in card.items() if value is not None}
    (folder / CARD_FILE).write_text(yaml.safe_dump(card))
    return folder


def test_the_default_model_ships_with_the_package(checkout: Path) -> None:
    model = load_model()
    assert model.folder == checkout / 'models' / DEFAULT_MODEL
    assert load_model(DEFAULT_MODEL) == model
    card = model.card
    assert (card.name, card.template_size, card.search_size) == (DEFAULT_MODEL, 128, 256)
    assert card.licence
    assert card.training
    assert card.scores
    TrackerConfig(**card.tracking)
    for name in GRAPHS:
        assert model.file(name).read_bytes()


@pytest.mark.parametrize('as_text', [True, False])
def test_a_model_is_loaded_from_its_folder(tmp_path: Path, as_text: bool) -> None:
    folder = write_model(tmp_path / 'mine', window_penalty=0.3, size_smoothing=0.5)
    model = load_model(str(folder) if as_text else folder)
    assert model.card.name == 'mine'
    expected = {
        'window_penalty': 0.3,
        'size_smoothing': 0.5,
        'box_correction': 0.0,
        'uncertain_threshold': 0.0,
        'lost_threshold': 0.0,
        'found_threshold': 0.95,
    }
    assert model.card.tracking == expected
    assert model.file(SEARCH_FILE) == folder / SEARCH_FILE


def test_tilde_in_a_model_path_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HOME', str(tmp_path))
    write_model(tmp_path / 'mine')
    assert load_model('~/mine').folder == tmp_path / 'mine'


def test_a_model_is_found_by_name(no_models: Path) -> None:
    write_model(no_models / 'first')
    write_model(no_models / 'second')
    (no_models / 'no_model').mkdir()
    assert list(available_models()) == ['first', 'second']
    assert load_model('second').folder == no_models / 'second'


def test_models_are_found_below_ros_prefixes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay, underlay = tmp_path / 'overlay', tmp_path / 'underlay'
    for prefix in (overlay, underlay):
        write_model(prefix / 'share/hcat_ros/models/shared_name')
    write_model(underlay / 'share/hcat_ros/models/old_name')
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'{overlay}:{tmp_path / "gone"}:{underlay}')
    found = available_models()
    assert found['shared_name'].is_relative_to(overlay)
    assert found['old_name'].is_relative_to(underlay)
    assert DEFAULT_MODEL in found
    assert all(folder.is_dir() for folder in model_folders())


def test_models_are_found_where_pip_puts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path / 'share/hcat_ros/models/by_pip')
    monkeypatch.setattr(sysconfig, 'get_path', lambda name: str(tmp_path))
    assert 'by_pip' in available_models()


def test_unknown_name_lists_the_installed_models(no_models: Path) -> None:
    with pytest.raises(ModelError) as error:
        load_model('hcat_huge')
    assert "no model 'hcat_huge'" in str(error.value)
    assert '(none installed)' in str(error.value)
    write_model(no_models / 'first')
    write_model(no_models / 'second')
    with pytest.raises(ModelError) as error:
        load_model('hcat_huge')
    assert 'one of first, second' in str(error.value)


def test_folder_without_a_model_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as error:
        load_model(tmp_path)
    assert str(error.value) == f'{tmp_path} has no model.yaml; make a model with hcat export'


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'mapping'),
        ('- a\n- list\n', 'mapping'),
        ('just a word', 'mapping'),
        ('name: [unclosed', 'cannot read'),
        ('name: x\n', 'template_size'),
        ('!!python/object/apply:os.system ["echo"]', 'cannot read'),
        ('\x00', 'cannot read'),
    ],
)
def test_invalid_model_card_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / CARD_FILE).write_text(text)
    with pytest.raises(ModelError) as error:
        load_model(tmp_path)
    assert str(tmp_path / CARD_FILE) in str(error.value)
    assert reason in str(error.value)


def test_binary_model_card_is_refused(tmp_path: Path) -> None:
    (tmp_path / CARD_FILE).write_bytes(b'\xff\xfe\x00name')
    with pytest.raises(ModelError, match='cannot read'):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'grid': None}, 'grid'),
        ({'sha256': None}, 'sha256'),
        ({'colour': 'blue'}, 'colour'),
        ({'grid': 'sixteen'}, "grid 'sixteen'"),
        ({'template_size': 128.5}, 'template_size 128.5'),
        ({'search_size': -256}, 'search_size -256'),
        ({'window_penalty': 'much'}, "window_penalty 'much'"),
        ({'sha256': ['abc']}, "sha256 ['abc']"),
        ({'network': 'HCAT'}, "network 'HCAT'"),
    ],
)
def test_a_card_with_a_wrong_field_names_file_and_field(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    folder = write_model(tmp_path / 'mine', **change)
    with pytest.raises(ModelError) as error:
        load_model(folder)
    assert str(folder / CARD_FILE) in str(error.value)
    assert reason in str(error.value)


def test_a_git_lfs_pointer_is_named_in_the_error(tmp_path: Path) -> None:
    """A clone without git-lfs has a pointer in place of each large file."""
    folder = shutil.copytree(load_model().folder, tmp_path / 'copy')
    pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n'
    (folder / TEMPLATE_FILE).write_text(pointer)
    with pytest.raises(ModelError, match=r'template\.onnx is a pointer of Git LFS.* git lfs pull'):
        load_model(folder).file(TEMPLATE_FILE)


def test_one_flipped_byte_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / 'copy'
    shutil.copytree(load_model().folder, folder)
    model = load_model(folder)
    assert model.file(TEMPLATE_FILE) == folder / TEMPLATE_FILE
    content = bytearray((folder / TEMPLATE_FILE).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / TEMPLATE_FILE).write_bytes(content)
    with pytest.raises(ModelError) as error:
        model.file(TEMPLATE_FILE)
    assert f'{folder / TEMPLATE_FILE} is damaged or was replaced' in str(error.value)
    assert hashlib.sha256(content).hexdigest() in str(error.value)
    assert model.card.sha256[TEMPLATE_FILE] in str(error.value)
    assert 'install the model again or run hcat export' in str(error.value)


@pytest.mark.parametrize('size', [0, 7])
def test_a_truncated_file_is_noticed(tmp_path: Path, size: int) -> None:
    model = load_model(write_model(tmp_path / 'mine'))
    (model.folder / SEARCH_FILE).write_bytes(GRAPHS[SEARCH_FILE][:size])
    with pytest.raises(ModelError, match='is damaged'):
        model.file(SEARCH_FILE)


def test_missing_file_is_named_in_the_error(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path / 'mine'))
    (model.folder / SEARCH_FILE).unlink()
    with pytest.raises(ModelError) as error:
        model.file(SEARCH_FILE)
    assert f'cannot read {model.folder / SEARCH_FILE}: No such file' in str(error.value)


def test_a_file_without_a_hash_is_not_used(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path / 'mine', sha256={}))
    with pytest.raises(ModelError) as error:
        model.file(SEARCH_FILE)
    assert 'lists no sha256 for search.onnx' in str(error.value)


def test_no_models_fixture_hides_all_models(no_models: Path) -> None:
    """The fixture hides all installed models, the shipped one included."""
    assert models.available_models() == {}
    with pytest.raises(ModelError, match=f"no model '{DEFAULT_MODEL}'"):
        load_model()


def test_add_to_model_adds_files_and_fields(tmp_path: Path) -> None:
    folder = write_model(tmp_path / 'm', description='kept', unheard_of=None)
    (tmp_path / 'made').write_bytes(b'new')
    found = add_to_model(load_model(folder), {'extra.onnx': tmp_path / 'made'}, window_penalty=0.7)
    assert found == load_model(folder)
    assert found.card.window_penalty == 0.7
    assert found.card.description == 'kept'
    assert found.file('extra.onnx').read_bytes() == b'new'
    assert found.file(SEARCH_FILE).read_bytes() == GRAPHS[SEARCH_FILE]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*GRAPHS, 'extra.onnx', CARD_FILE]
    )
    (tmp_path / 'made').write_bytes(b'newer')
    again = add_to_model(found, {'extra.onnx': tmp_path / 'made'})
    assert again.file('extra.onnx').read_bytes() == b'newer'


def test_add_to_model_does_not_write_an_invalid_card(tmp_path: Path) -> None:
    folder = write_model(tmp_path / 'm')
    before = (folder / CARD_FILE).read_bytes()
    new = tmp_path / 'new'
    new.write_bytes(b'a new search graph')
    for files in ({}, {SEARCH_FILE: new}, {'a name': new}):
        for changes in ({'grid': 0}, {'no_such_field': 1}, {'scores': {'AO': {1, 2}}}):
            with pytest.raises(ModelError, match=re.escape(f'{folder / CARD_FILE}: ')):
                add_to_model(load_model(folder), files, **changes)
    with pytest.raises(ModelError, match="sha256 of 'a name': expected the name of a file"):
        add_to_model(load_model(folder), {SEARCH_FILE: new, 'a name': new})
    assert sorted(path.name for path in folder.iterdir()) == sorted([*GRAPHS, CARD_FILE])
    with pytest.raises(FileNotFoundError):
        add_to_model(load_model(folder), {SEARCH_FILE: tmp_path / 'nowhere'})
    assert (folder / CARD_FILE).read_bytes() == before
    assert load_model(folder).file(SEARCH_FILE).read_bytes() == GRAPHS[SEARCH_FILE]


def int8_card(folder: Path, int8: Any, listed: bool = True) -> ModelCard:
    """The card of a model with these scores of INT8; listed: whether it has the INT8 graph."""
    write_model(folder, scores={} if int8 is None else {'INT8': int8})
    model = load_model(folder)
    if listed:
        (folder.parent / 'graph').write_bytes(b'an INT8 graph')
        model = add_to_model(model, {INT8_SEARCH_FILE: folder.parent / 'graph'})
    return model.card


@pytest.mark.parametrize('ao', [0.63, 0.631, 0.64, 0.7])
def test_int8_with_a_small_ao_loss_is_accepted(tmp_path: Path, ao: float) -> None:
    card = int8_card(tmp_path / 'model', {'fp32': 0.64, INT8_SEARCH_FILE: {'AO': ao}})
    assert int8_objection(card) == ''
    assert accepted_precisions(card) == ('fp32', 'int8')


@pytest.mark.parametrize(
    ('int8', 'objection'),
    [
        (None, 'has no AO of search.int8.onnx and of fp32'),
        ('good', 'has no AO'),
        ({'fp32': 0.64}, 'has no AO'),
        ({'fp32': 0.64, INT8_SEARCH_FILE: 0.64}, 'has no AO'),
        ({'fp32': '0.64', INT8_SEARCH_FILE: {'AO': 0.64}}, 'has no AO'),
        ({INT8_SEARCH_FILE: {'AO': 0.64}}, 'has no AO'),
        ({'fp32': 0.64, INT8_SEARCH_FILE: {'AO': float('nan')}}, 'nan below fp32'),
        ({'fp32': 0.64, INT8_SEARCH_FILE: {'AO': 0.629}}, 'an AO 0.011 below fp32, more than'),
    ],
)
def test_int8_without_measured_scores_close_to_fp32_is_refused(
    tmp_path: Path, int8: Any, objection: str
) -> None:
    card = int8_card(tmp_path / 'model', int8)
    assert objection in int8_objection(card)
    assert accepted_precisions(card) == ('fp32',)


def test_int8_without_a_graph_is_not_accepted(tmp_path: Path) -> None:
    good = {'fp32': 0.64, INT8_SEARCH_FILE: {'AO': 0.64}}
    card = int8_card(tmp_path / 'model', good, listed=False)
    assert 'lists no search.int8.onnx; hcat quantize creates it' in int8_objection(card)
    assert accepted_precisions(card) == ('fp32',)
