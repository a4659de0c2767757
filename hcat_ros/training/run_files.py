# SPDX-License-Identifier: Apache-2.0
"""Reads the YAML file of a run, and the files that it extends, into one mapping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hcat_ros.files import load_yaml

EXTENDS = 'extends'
PATHS = ('start', 'backbone', 'lessons', 'surroundings', 'distractors')
"""Fields of a run file that name a file or folder."""
ROW_PATHS = {
    'data': ('root', 'names_file', 'cutouts', 'backgrounds'),
    'teachers': ('backbone', 'head'),
}
"""Lists in a run file, and the fields of their rows that name a file or folder."""


def read_run(path: Path) -> dict[str, Any]:
    """Return the content of a run file, with absolute paths.

    `extends: ../train/paper.yaml` starts from that file: mappings are merged, all other fields in
    this file replace those of the extended file. A path is relative to the folder of the file that
    contains it.

    Raises FileNotFoundError if the file itself is missing; ValueError that names the file if it is
    not a YAML mapping, or if an extended file is missing or extends this one.
    """
    return _read(path, ())


def _read(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    try:
        content = load_yaml(path)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f'{path}: {error}') from error
    if not isinstance(content, dict):
        raise ValueError(f'{path}: expected a mapping with network, data and schedule')
    content = _resolve_paths(content, path.parent)
    if EXTENDS not in content:
        return content
    name = content.pop(EXTENDS)
    if not isinstance(name, str) or not name:
        raise ValueError(f'{path}: {EXTENDS} {name!r}: expected the path of a run file')
    base = _absolute(name, path.parent)
    chain = (*above, path.resolve())
    if base in chain:
        circle = ' -> '.join(str(file) for file in (*chain[chain.index(base) :], base))
        raise ValueError(f'{path}: {EXTENDS} goes round in a circle: {circle}')
    if not base.is_file():
        raise ValueError(f'{path}: {EXTENDS}: there is no file {base}')
    return _merge(_read(base, chain), content)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the changes: mappings are merged, all other values are replaced."""
    result = dict(base)
    for name, value in changes.items():
        old = base.get(name)
        are_mappings = isinstance(old, dict) and isinstance(value, dict)
        result[name] = _merge(old, value) if are_mappings else value  # type: ignore[arg-type]
    return result


def _resolve_paths(content: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the content with absolute paths, relative ones resolved against `folder`."""
    resolved = _with_paths(content, PATHS, folder)
    for name, fields in ROW_PATHS.items():
        if isinstance(rows := resolved.get(name), list):
            resolved[name] = [
                _with_paths(row, fields, folder) if isinstance(row, dict) else row for row in rows
            ]
    return resolved


def _with_paths(values: dict[str, Any], names: tuple[str, ...], folder: Path) -> dict[str, Any]:
    def resolve(value: Any) -> Any:
        if isinstance(value, list):
            return [resolve(item) for item in value]
        return str(_absolute(value, folder)) if isinstance(value, str) and value else value

    return {name: resolve(value) if name in names else value for name, value in values.items()}


def _absolute(name: str, folder: Path) -> Path:
    return (folder / Path(name).expanduser()).resolve()
