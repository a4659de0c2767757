# SPDX-License-Identifier: Apache-2.0
"""The interface that all inference engines share, and checks that several of them need."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hcat_ros.models import CARD_FILE, INT8_SEARCH_FILE, SEARCH_FILE, Model, ModelCard

Features = Any
"""A template's features: opaque, and valid only for the engine that computed them."""

Shape = Sequence[int] | None


class EngineError(RuntimeError):
    """Raised when an engine cannot be loaded or fails; the message says what to do."""


class Prediction(NamedTuple):
    """The network's answer for one search region, n = grid * grid cells, row-major."""

    scores: NDArray[np.floating]
    """Probability of the target in each cell, (grid, grid), 0..1."""
    boxes: NDArray[np.floating]
    """Box that each cell predicts, (n, 4) as (cx, cy, w, h), in 0..1 of the search region."""


@dataclass(frozen=True)
class EngineCard:
    """Describes an engine: its model, runtime, precision and sizes."""

    model: str
    runtime: str
    runtime_version: str
    precision: str
    template_size: int
    """Side of the template crop, pixels."""
    search_size: int
    """Side of the search crop, pixels."""
    grid: int
    """Cells along a side of the score map."""

    @classmethod
    def of(cls, model: ModelCard, runtime: str, version: str, precision: str) -> EngineCard:
        """Return the card of an engine that runs `model`."""
        sizes = (model.template_size, model.search_size, model.grid)
        return cls(model.name, runtime, version, precision, *sizes)


class Engine(Protocol):
    """A loaded model. Crops are uint8 RGB, C-contiguous; later calls do not overwrite results."""

    @property
    def card(self) -> EngineCard:
        """Description of this engine."""

    def template(self, crop: NDArray[np.uint8]) -> Features:
        """Return the features of a template crop (template_size, template_size, 3)."""

    def search(self, crop: NDArray[np.uint8], features: Features) -> Prediction:
        """Find the template in a search crop (search_size, search_size, 3)."""


MOST_THREADS = 256
"""Largest number of threads of an engine: 100,000 take 17 GB and leave no processor to others."""


def check_threads(threads: int) -> None:
    """Raise EngineError for a number of threads below 0 or above `MOST_THREADS`."""
    if not 0 <= threads <= MOST_THREADS:
        raise EngineError(f'threads {threads}: expected 0 (one per core) to {MOST_THREADS}')


def cache_folder() -> Path:
    """Return the folder in which engines cache what they built or measured on this machine."""
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'hcat_ros'


def resolve_precision(runtime: str, has: Sequence[str], precision: str, threads: int = 0) -> str:
    """Return the precision to run in; 'auto' stands for the runtime's first, a float precision.

    `load_engine`, which knows the model's card, decides whether int8 is used instead.

    Raises EngineError for a precision that the runtime lacks, and see `check_threads`.
    """
    if precision not in ('auto', *has):
        raise EngineError(f"{runtime} has no precision '{precision}'; it has {', '.join(has)}")
    check_threads(threads)
    return has[0] if precision == 'auto' else precision


def search_file(model: Model, precision: str, int8_file: str = INT8_SEARCH_FILE) -> str:
    """Return the search graph's file name for a precision. Raises EngineError if there is none."""
    if precision != 'int8':
        return SEARCH_FILE
    if int8_file not in model.card.sha256:
        raise EngineError(
            f'{model.folder / CARD_FILE} lists no {int8_file}: make it with hcat quantize, or '
            'choose another precision'
        )
    return int8_file


def check_crop(crop: NDArray[np.uint8], size: int, what: str) -> None:
    """Raise EngineError unless a crop is uint8 (size, size, 3); what: 'template' or 'search'.

    Runtimes that copy the crop into a buffer of their own would copy any other array silently.
    """
    shape = (size, size, 3)
    if crop.shape != shape or crop.dtype != np.uint8:
        raise EngineError(f'{what} crop: expected {shape} uint8, got {crop.shape} {crop.dtype}')


def graph_content(model: Model, name: str) -> bytes:
    """Return the bytes of a model's self-contained ONNX graph, checked against the card's hash.

    Raises ModelError; EngineError for a graph whose weights lie in another file, which no hash
    covers, and for a graph with control flow or functions: a loop may never end, functions that
    call each other may expand to billions of nodes, and no signal interrupts a runtime; the tensors
    inside of a branch escape OpenVINO's check of sizes.
    """
    content = model.content(name)
    if _EXTERNAL.search(content):
        raise EngineError(
            f'{model.folder / name} keeps weights in another file, which its hash does not cover; '
            'save it with its weights inside'
        )
    if flow := _CONTROL_FLOW.search(content):
        operator = (flow[1] or flow[2]).decode().replace('then_branch', 'If')
        raise EngineError(
            f'{model.folder / name} has the operator {operator}, whose time and memory have no '
            'bound; export the model with hcat export, whose graphs have no control flow'
        )
    if _FUNCTIONS in _model_fields(content):
        raise EngineError(
            f'{model.folder / name} has functions, which may expand to any number of nodes; export '
            'the model with hcat export, whose graphs have no functions'
        )
    return content


_FUNCTIONS = 25
"""Number of the field `functions` of ONNX's ModelProto."""


def _model_fields(content: bytes) -> set[int]:
    """Return the numbers of the fields of an ONNX model, up to the first damaged byte."""
    found, place = set(), 0
    try:
        while place < len(content):
            tag, place = _read_varint(content, place)
            found.add(tag >> 3)
            length = {1: 8, 5: 4}.get(tag & 7, 0)  # fixed64 and fixed32
            if tag & 7 in (0, 2):  # a varint, or the length of what follows
                value, place = _read_varint(content, place)
                length = value if tag & 7 == 2 else 0
            place += length
    except IndexError:
        pass  # the file is cut; its runtime will say so
    return found


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    """Return the number at a place and the place behind it.

    Raises IndexError at the end of the content, and for a number of more than ten bytes.
    """
    value = 0
    for shift in range(0, 70, 7):
        byte, place = content[place], place + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise IndexError('a number of more than ten bytes')


# Before a text protobuf writes its length; in a longer encoding of the same length, the last byte
# is 0.
_EXTERNAL = re.compile(rb'[\x00\x08]location')
"""The key of a tensor's external_data."""
_CONTROL_FLOW = re.compile(rb'[\x00\x04](Loop|Scan)|[\x00\x0b](SequenceMap|then_branch)')
"""A node's op_type, or the name of an attribute that only `If` has: `If` alone is short enough to
occur among the weights."""


def check_shapes(
    path: Path, crop: Shape, crop_size: int, scores: Shape | None = None, grid: int = 0
) -> None:
    """Raise EngineError for a graph whose shapes differ from those on its model's card.

    crop, scores: shapes of the graph's input `crop` and output `scores`, None if it has none. grid:
    expected cells along a side of the score map; 0 for a template graph, which has no scores.
    """
    expected = [1, crop_size, crop_size, 3]
    if crop is None or list(crop) != expected:
        found = 'has no input crop' if crop is None else f'takes a crop {list(crop)}'
        raise EngineError(f'{path} {found}, but its card expects {expected}; run hcat export again')
    if grid and (scores is None or list(scores) != [1, grid, grid]):
        found = 'has no output scores' if scores is None else f'gives scores {list(scores)}'
        raise EngineError(
            f'{path} {found}, but its card expects a grid of {grid}; run hcat export again'
        )
