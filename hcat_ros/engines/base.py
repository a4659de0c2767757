# SPDX-License-Identifier: Apache-2.0
"""The one interface that every inference runtime has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Features = Any
"""A template's features: opaque, valid for the engine that made them."""


class EngineError(RuntimeError):
    """An engine that cannot be loaded or fails; the message says what to do."""


class Prediction(NamedTuple):
    """The network's answer for one search region, n = grid * grid cells, row-major."""

    scores: NDArray[np.floating]
    """(grid, grid), probability of the target in 0..1."""
    boxes: NDArray[np.floating]
    """(n, 4) as (cx, cy, w, h), in 0..1 of the search region."""


@dataclass(frozen=True)
class EngineCard:
    """What an engine is."""

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


class Engine(Protocol):
    """A loaded model. Crops are uint8 RGB, C-contiguous; results are the caller's to keep."""

    @property
    def card(self) -> EngineCard:
        """What this engine is."""

    def template(self, crop: NDArray[np.uint8]) -> Features:
        """Return the features of a template crop (template_size, template_size, 3)."""

    def search(self, crop: NDArray[np.uint8], features: Features) -> Prediction:
        """Find the template in a search crop (search_size, search_size, 3)."""
