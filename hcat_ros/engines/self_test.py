# SPDX-License-Identifier: Apache-2.0
"""Whether an engine computes here what the network computed when it was exported."""

from __future__ import annotations

import numpy as np

from hcat_ros.engines.base import Engine, EngineError
from hcat_ros.models import REFERENCE_FILE, Model

TOLERANCES = {'fp32': 1e-3, 'fp16': 0.03, 'bf16': 0.1, 'int8': 0.2}
"""Largest difference from the network in fp32 that a precision explains, in scores and in the
box of the best cell (fractions of the search region)."""


def self_test(engine: Engine, model: Model) -> None:
    """Compare the engine with the outputs stored in the model's `reference.npz`.

    A runtime may load a graph and yet compute something else on a chip that it does not know.
    Raises EngineError naming the difference; ModelError for a damaged file. A model exported
    without that file passes.
    """
    if REFERENCE_FILE not in model.card.sha256:
        return
    card = engine.card
    with np.load(model.file(REFERENCE_FILE)) as stored:
        template, search = stored['template'], stored['search']
        scores, boxes = stored['scores'], stored['boxes']
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
                'something else on this machine; take another engine or precision'
            )
