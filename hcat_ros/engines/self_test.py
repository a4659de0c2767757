# SPDX-License-Identifier: Apache-2.0
"""Checks that an engine computes on this machine what the network computed when it was exported."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcat_ros.engines.base import Engine, EngineError
from hcat_ros.models import REFERENCE_FILE, Model, ModelError

TOLERANCES = {'fp32': 1e-3, 'fp16': 0.03, 'bf16': 0.1, 'int8': 0.2}
"""Largest accepted difference from the fp32 network in each precision, in scores and in the box of
the best cell (fractions of the search region)."""


def self_test(engine: Engine, model: Model) -> None:
    """Compare the engine with the outputs stored in the model's `reference.npz`.

    A runtime may load a graph and still compute wrong results on a chip that it does not know.
    Raises EngineError naming the difference; ModelError for a damaged file. A model without a
    `reference.npz` passes.
    """
    if REFERENCE_FILE not in model.card.sha256:
        return
    card = engine.card
    template, search, scores, boxes = _read_reference(model)
    found = engine.search(search, engine.template(template))
    best = int(np.argmax(scores))
    differences = {
        'scores': float(np.abs(found.scores - scores).max()),
        'box': float(np.abs(found.boxes[best] - boxes[best]).max()),
    }
    tolerance = TOLERANCES[card.precision]
    for name, difference in differences.items():
        if not difference <= tolerance:
            raise EngineError(
                f'{card.runtime} {card.runtime_version} in {card.precision} differs from the '
                f'network by {difference:.2g} in its {name}, more than {tolerance:g}: it computes '
                'something else on this machine; choose another engine or precision'
            )


def _read_reference(model: Model) -> list[NDArray[Any]]:
    """Return template crop, search crop, scores and boxes of the reference. Raises ModelError."""
    card, path = model.card, model.folder / REFERENCE_FILE
    shapes = {
        'template': (card.template_size, card.template_size, 3),
        'search': (card.search_size, card.search_size, 3),
        'scores': (card.grid, card.grid),
        'boxes': (card.grid**2, 4),
    }
    content = model.content(REFERENCE_FILE)
    found: list[NDArray[Any]] = []
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name, shape in shapes.items():
                # Check the header first: a few bytes may claim to unpack to gigabytes.
                with archive.open(f'{name}.npy') as file:
                    version = np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
                    header = np.lib.format.read_array_header_1_0(file)  # type: ignore[no-untyped-call]
                if version != (1, 0) or header[0] != shape or header[2].itemsize > 8:
                    raise ValueError(f'{name} has the shape {header[0]}, expected {shape}')
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            found += [stored[name] for name in shapes]
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(f'{path} is not what hcat export writes: {error}') from error
    return found
