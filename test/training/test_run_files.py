# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip('torch', reason='needs PyTorch')

from hcat_ros.training.config import load_config
from hcat_ros.training.run_files import read_run

BASE: dict[str, Any] = {
    'network': {'layers': 2, 'channels': 64},
    'backbone': 'weights.pth',
    'data': [{'share': 1, 'root': 'a'}, {'share': 2, 'root': 'b'}],
    'schedule': {'steps': 5},
}


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_mappings_are_merged_and_other_values_replaced(tmp_path: Path) -> None:
    write(tmp_path / 'base.yaml', BASE)
    data = [{'share': 3, 'root': 'c'}]
    changes = {'extends': 'base.yaml', 'network': {'layers': 1}, 'data': data, 'start': 's.pth'}
    assert read_run(write(tmp_path / 'run.yaml', changes)) == {
        'network': {'layers': 1, 'channels': 64},
        'backbone': str(tmp_path / 'weights.pth'),
        'data': [{'share': 3, 'root': str(tmp_path / 'c')}],
        'schedule': {'steps': 5},
        'start': str(tmp_path / 's.pth'),
    }


def test_paths_are_relative_to_the_file_that_contains_them(tmp_path: Path) -> None:
    write(tmp_path / 'one' / 'base.yaml', BASE)
    middle = {'extends': '../one/base.yaml', 'backbone': 'other.pth'}
    write(tmp_path / 'two' / 'middle.yaml', middle)
    top = write(tmp_path / 'three' / 'run.yaml', 'extends: ../two/middle.yaml')
    config = load_config(top, steps=9)
    assert config.backbone == str(tmp_path / 'two' / 'other.pth')
    assert [row.root for row in config.data] == [str(tmp_path / 'one' / n) for n in 'ab']
    assert config.schedule.steps == 9
    assert config.network.channels == 64


def test_weights_of_an_extended_run_can_be_left_out(tmp_path: Path) -> None:
    write(tmp_path / 'base.yaml', BASE)
    path = write(tmp_path / 'run.yaml', {'extends': 'base.yaml', 'backbone': ''})
    assert load_config(path).backbone == ''


@pytest.mark.parametrize('value', [7, '', ['base.yaml'], None])
def test_an_extends_value_that_is_not_a_path_is_refused(tmp_path: Path, value: Any) -> None:
    path = write(tmp_path / 'run.yaml', {'extends': value})
    with pytest.raises(ValueError, match='expected the path of a run file') as error:
        load_config(path)
    assert str(error.value).startswith(f'{path}: extends {value!r}')


def test_a_missing_file_is_named_with_the_one_that_extends_it(tmp_path: Path) -> None:
    path = write(tmp_path / 'run.yaml', {'extends': 'none.yaml'})
    with pytest.raises(ValueError, match='extends: there is no file') as error:
        load_config(path)
    assert str(error.value) == f'{path}: extends: there is no file {tmp_path / "none.yaml"}'


def test_run_files_that_extend_each_other_in_a_circle_are_refused(tmp_path: Path) -> None:
    names = ['a.yaml', 'b.yaml', 'c.yaml']
    paths = [tmp_path / name for name in names]
    for path, following in zip(paths, [*names[1:], 'b.yaml']):
        write(path, {'extends': following})
    with pytest.raises(ValueError, match='goes round in a circle') as error:
        load_config(paths[0])
    assert str(error.value).endswith(f'circle: {paths[1]} -> {paths[2]} -> {paths[1]}')
    write(paths[0], {'extends': 'a.yaml'})
    with pytest.raises(ValueError, match=r'a\.yaml -> .*a\.yaml$'):
        load_config(paths[0])


@pytest.mark.parametrize('content', ['- a', 'a: [', '\udcff'.encode('utf-8', 'surrogateescape')])
def test_a_broken_extended_file_is_named_in_the_error(tmp_path: Path, content: str | bytes) -> None:
    base = tmp_path / 'base.yaml'
    base.write_bytes(content if isinstance(content, bytes) else content.encode())
    path = write(tmp_path / 'run.yaml', {'extends': 'base.yaml'})
    with pytest.raises(ValueError) as error:
        load_config(path)
    assert str(error.value).startswith(str(base))
