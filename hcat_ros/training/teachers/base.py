# SPDX-License-Identifier: Apache-2.0
"""The interface of a teacher, a tracker that works on HCAT's own crops.

A template of 128 px spans twice the target's size, a search region of 256 px four times.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hcat_ros.files import read_bytes

GRID = 16
"""Cells along a side of the student's score map: a search region of 256 px at stride 16."""
TEMPLATE_SIZE, SEARCH_SIZE = 128, 256
"""Sides of the template and search crops, pixels."""
KINDS = ('nanotrack', 'lightfc')

Floats = NDArray[np.float32]


class Sight(NamedTuple):
    """The answer of one teacher, or of the committee, for a search region."""

    scores: Floats
    """Probability of the target in each cell, (GRID, GRID), 0..1."""
    boxes: Floats
    """Box of each cell, (GRID, GRID, 4) as cx cy w h in 0..1 of the search region."""


@dataclass(frozen=True)
class TeacherConfig:
    """A teacher's files and kind, and whether its boxes count."""

    backbone: str
    """ONNX file that maps an image to features. nanotrack: RGB 0..255, template (1, 3, 127, 127) to
    (1, K, 8, 8) and search region (1, 3, 255, 255) to (1, K, 16, 16); lightfc: ImageNet-normalised
    template (1, 3, 128, 128) to (1, 96, 8, 8)."""
    head: str
    """ONNX file of the head. nanotrack: features of template and search region to scores
    (1, 2, g, g) and distances of the four sides (1, 4, g, g); lightfc: features of the template and
    the search region itself (1, 3, 256, 256) to score, size and offset maps."""
    kind: str = 'nanotrack'
    """Kind: nanotrack (v1 to v3; Apache-2.0, github.com/HonglinChu/SiamTrackers) or lightfc (MIT,
    github.com/EDOGing/LightFC_Deploy)."""
    boxes: bool = True
    """Whether the teacher's boxes count; its scores always count."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind '{self.kind}': expected {' or '.join(KINDS)}")


class Teacher(Protocol):
    """A tracker that works on HCAT's crops."""

    config: TeacherConfig

    def features(self, crops: NDArray[np.uint8]) -> Floats:
        """Return the features (V, K, g, g) of RGB crops (V, side, side, 3)."""

    def look(self, template: Floats, search: Floats) -> Sight:
        """Find the target in a search region, given the features of both.

        template: (K, 8, 8). search: (K, 16, 16).
        """


class OnnxTeacher(ABC):
    """A teacher whose graphs run in ONNX Runtime.

    Each process loads the graphs at first use, because sessions do not survive a fork. Raises
    ValueError for files that are missing or cannot be loaded.
    """

    def __init__(self, config: TeacherConfig) -> None:
        self.config = config
        for path in (config.backbone, config.head):
            if not Path(path).is_file():
                raise ValueError(f'teacher: there is no file {path}')
        self._loaded: tuple[int, list[Any]] = (-1, [])

    def get(self) -> list[Any]:
        """Return this process's sessions, loading them at first use."""
        if self._loaded[0] != os.getpid():
            self._loaded = (os.getpid(), self._load())
        return self._loaded[1]

    def _load(self) -> list[Any]:
        sessions = [self._session(path, model) for path, model in self._graphs()]
        self._check(*sessions)
        return sessions

    @abstractmethod
    def _graphs(self) -> list[tuple[str, Any]]:
        """Return the path and the ONNX model of each graph."""

    @abstractmethod
    def _check(self, *sessions: Any) -> None:
        """Raise ValueError if the graphs do not belong to a teacher of this kind."""

    def _read(self, path: str) -> Any:
        import onnx

        try:
            return onnx.load(path)
        except Exception as error:  # protobuf raises exceptions of its own
            raise ValueError(f'teacher: cannot load {path}: {error}') from error

    def _session(self, path: str, model: Any) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            return onnxruntime.InferenceSession(
                model.SerializeToString(), options, ['CPUExecutionProvider']
            )
        except Exception as error:  # the runtime raises many exception types
            raise ValueError(f'teacher: cannot load {path}: {error}') from error


def fingerprint(config: TeacherConfig) -> dict[str, Any]:
    """Return what lessons depend on: the teacher's kind and files, and whether its boxes count."""
    files = (read_bytes(Path(path)) for path in (config.backbone, config.head))
    hashes = [hashlib.sha256(content).hexdigest() for content in files]
    return {'kind': config.kind, 'boxes': config.boxes, 'sha256': hashes}
