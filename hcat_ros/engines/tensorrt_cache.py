# SPDX-License-Identifier: Apache-2.0
"""Where TensorRT's built engines (plans) are kept, and how a wrong one is never loaded.

A plan runs only on the GPU and the TensorRT that it was built for, and it is code: TensorRT runs
what the file says. So each lies beside a sidecar, a JSON file that tells what it is, and only the
pair is worth anything: the sidecar's key must be the one asked for, and its size and sha256 those
of the plan's bytes. The plan is put in place first, its sidecar last, both by a rename of a whole
file; a process that is killed anywhere on the way leaves a pair that does not fit, or the one that
was there before.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hcat_ros.engines.base import EngineError, cache_folder
from hcat_ros.files import whole_file, write_text

RECIPE = 1
"""Counted up when plans are built in another way, so that older ones are built again."""

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TimingKey:
    """What the measured speeds of TensorRT's kernels hold for."""

    tensorrt: str
    """Version."""
    gpu: str
    compute_capability: str

    @property
    def stem(self) -> str:
        """The file's name, without its ending."""
        return f'timing-{digest(asdict(self))}'

    def accepts(self, found: Mapping[str, Any]) -> bool:
        """Return whether an entry with this key may be used."""
        return dict(found) == asdict(self)


@dataclass(frozen=True)
class PlanKey(TimingKey):
    """What a plan was, or is to be, built from and for."""

    onnx_sha256: str
    precision: str
    dla: int | None = None
    """Core of the deep learning accelerator, None for the GPU."""
    workspace: int | None = None
    """Memory that the build was limited to, MiB; None for no limit, and when asking, for any."""
    recipe: int = RECIPE

    @property
    def stem(self) -> str:
        """The file's name, without its ending; the same for any workspace."""
        return f'plan-{self.precision}-{digest({**asdict(self), "workspace": None})}'

    def accepts(self, found: Mapping[str, Any]) -> bool:
        """Return whether a plan with this key may be used."""
        wanted = asdict(self)
        if self.workspace is None:
            wanted['workspace'] = found.get('workspace')
        return dict(found) == wanted


def digest(key: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits for a key."""
    text = json.dumps(key, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class EngineCache:
    """A folder of entries, each bytes and their sidecar, readable by their owner alone."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: made when first written to; `cache_folder()` / tensorrt unless given."""
        self.folder = folder or cache_folder() / 'tensorrt'

    def path(self, key: TimingKey) -> Path:
        """Return where the entry's bytes are, or will be."""
        return self.folder / f'{key.stem}.bin'

    def read(self, key: TimingKey) -> bytes | None:
        """Return an entry's bytes, None if there is none that is whole and has this key."""
        path = self.path(key)
        try:
            sidecar = json.loads(path.with_suffix('.json').read_bytes())
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            LOG.warning('%s is not used: its sidecar or itself is unreadable (%s)', path, error)
            return None
        reason = _mismatch(sidecar, content, key)
        if reason:
            LOG.warning('%s is not used: %s', path, reason)
            return None
        return content

    def write(self, key: TimingKey, content: bytes, about: Mapping[str, Any]) -> Path:
        """Store an entry; returns the path of its bytes.

        about: what else the sidecar shall tell people. Raises EngineError where the folder
        cannot be written to or is full; what was stored before is then still whole, or gone.
        """
        path = self.path(key)
        sidecar = {
            'key': asdict(key),
            'size': len(content),
            'sha256': hashlib.sha256(content).hexdigest(),
            **about,
        }
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with whole_file(path) as partial:
                partial.chmod(0o600)  # a plan is code: only its owner may exchange it
                partial.write_bytes(content)
            write_text(path.with_suffix('.json'), json.dumps(sidecar, indent=2))
            _sync_folder(self.folder)
        except OSError as error:
            raise EngineError(
                f'cannot write {path}: {error.strerror or error}; free space there, or set '
                'XDG_CACHE_HOME to a folder that can be written to'
            ) from error
        return path

    def check_writable(self) -> None:
        """Raise EngineError if nothing can be stored, before minutes are spent on building."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise EngineError(
                f'cannot write to {self.folder}: {error.strerror or error}; set XDG_CACHE_HOME to '
                'a folder that can be written to'
            ) from error


def _mismatch(sidecar: object, content: bytes, key: TimingKey) -> str:
    """Return why the bytes are not the entry asked for, '' if they are."""
    if not isinstance(sidecar, dict) or not isinstance(sidecar.get('key'), dict):
        return 'its sidecar is not one'
    if not key.accepts(sidecar['key']):
        return f'it was made for {sidecar["key"]}'
    if sidecar.get('size') != len(content):
        return f'it has {len(content)} bytes, its sidecar says {sidecar.get("size")}'
    found = hashlib.sha256(content).hexdigest()
    if sidecar.get('sha256') != found:
        return f'its sha256 is {found}, its sidecar says {sidecar.get("sha256")}'
    return ''


def _sync_folder(folder: Path) -> None:
    """Have the renames themselves on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
