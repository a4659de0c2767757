# SPDX-License-Identifier: Apache-2.0
"""Stores TensorRT's built engines (plans) so that a wrong plan is never loaded.

A plan runs only on the GPU and the TensorRT version that it was built for. A plan is also code,
which TensorRT executes. Each plan therefore has a sidecar, a JSON file that describes it. A plan is
loaded only if the sidecar's key is the requested one and its size and sha256 match the plan's
bytes. Both files are written whole and renamed into place, the plan first and the sidecar last. If
the process is killed in between, the files are the previous pair or do not match each other.
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
"""Version of the way in which plans are built; increasing it makes older plans be rebuilt."""

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class TimingKey:
    """What TensorRT's timing cache, the measured speeds of its kernels, is valid for."""

    tensorrt: str
    """Version of TensorRT."""
    gpu: str
    compute_capability: str

    @property
    def stem(self) -> str:
        """File name of the entry, without its extension."""
        return f'timing-{digest(asdict(self))}'

    def accepts(self, found: Mapping[str, Any]) -> bool:
        """Return whether an entry whose key is `found` may be used."""
        return dict(found) == asdict(self)


@dataclass(frozen=True)
class PlanKey(TimingKey):
    """What a plan is built from and for."""

    onnx_sha256: str
    precision: str
    dla: int | None = None
    """Core of the deep learning accelerator, None for the GPU."""
    workspace: int | None = None
    """Memory limit of a kernel, MiB. None: a build has no limit; a lookup accepts any limit."""
    recipe: int = RECIPE

    @property
    def stem(self) -> str:
        """File name of the entry, without its extension; the same for any workspace."""
        return f'plan-{self.precision}-{digest({**asdict(self), "workspace": None})}'

    def accepts(self, found: Mapping[str, Any]) -> bool:
        """Return whether a plan whose key is `found` may be used."""
        wanted = asdict(self)
        if self.workspace is None:
            wanted['workspace'] = found.get('workspace')
        return dict(found) == wanted


def digest(key: Mapping[str, Any]) -> str:
    """Return a hash of a key, 16 hexadecimal digits."""
    text = json.dumps(key, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class EngineCache:
    """A folder of entries, each a binary file and its sidecar, readable by their owner only."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: created by the first write; `cache_folder()` / tensorrt if None."""
        self.folder = folder or cache_folder() / 'tensorrt'

    def path(self, key: TimingKey) -> Path:
        """Return the path of the entry's bytes, which need not exist."""
        return self.folder / f'{key.stem}.bin'

    def read(self, key: TimingKey) -> bytes | None:
        """Return an entry's bytes, None if no intact entry has this key."""
        path = self.path(key)
        try:
            sidecar = json.loads(path.with_suffix('.json').read_bytes())
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            LOG.warning('%s is not used: it or its sidecar is unreadable (%s)', path, error)
            return None
        reason = _mismatch(sidecar, content, key)
        if reason:
            LOG.warning('%s is not used: %s', path, reason)
            return None
        return content

    def write(self, key: TimingKey, content: bytes, about: Mapping[str, Any]) -> Path:
        """Store an entry; return the path of its bytes.

        about: further fields of the sidecar, for people. Raises EngineError if the folder is full
        or not writable; the previous entry is then intact or no longer used.
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
                partial.chmod(0o600)  # a plan is code: only its owner may replace it
                partial.write_bytes(content)
            write_text(path.with_suffix('.json'), json.dumps(sidecar, indent=2))
            _sync_folder(self.folder)
        except OSError as error:
            raise EngineError(
                f'cannot write {path}: {error.strerror or error}; free space there, or set '
                'XDG_CACHE_HOME to a writable folder'
            ) from error
        return path

    def check_writable(self) -> None:
        """Raise EngineError if the folder is not writable, before a build that takes minutes."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise EngineError(
                f'cannot write to {self.folder}: {error.strerror or error}; set XDG_CACHE_HOME to '
                'a writable folder'
            ) from error


def _mismatch(sidecar: object, content: bytes, key: TimingKey) -> str:
    """Return why the bytes are not the requested entry, '' if they are."""
    if not isinstance(sidecar, dict) or not isinstance(sidecar.get('key'), dict):
        return 'its sidecar has no key'
    if not key.accepts(sidecar['key']):
        return f'it was made for {sidecar["key"]}'
    if sidecar.get('size') != len(content):
        return f'it has {len(content)} bytes, but its sidecar says {sidecar.get("size")}'
    found = hashlib.sha256(content).hexdigest()
    if sidecar.get('sha256') != found:
        return f'its sha256 is {found}, but its sidecar says {sidecar.get("sha256")}'
    return ''


def _sync_folder(folder: Path) -> None:
    """Flush the folder, so that the renames survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
