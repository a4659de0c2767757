# SPDX-License-Identifier: Apache-2.0
"""Which engines and precisions may run a model where the user left the choice to us."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple

from hcat_ros.models import ModelCard, accepted_precisions

BUILT = ('tensorrt', 'onnxruntime-tensorrt')
"""TensorRT, which compiles the model for an NVIDIA GPU, minutes once. The first of them that passes
is taken without a timing: it computes in a fraction of a CPU's time, and timing them against each
other would mean building each."""
COMPARED = {
    'onnxruntime-cuda': ('fp32',),
    'onnxruntime': ('fp32', 'int8'),
    'openvino': ('fp32', 'int8'),
    'ncnn': ('fp32',),
}
"""Engines that load without a build step, of which a timing finds the fastest, with the precisions
that may win: the network's own arithmetic, and INT8 where the model's card accepts it. Cards do not
accept bf16 or fp16 on a CPU, so those run only when they are asked for by name."""


class Candidate(NamedTuple):
    """An engine in a precision."""

    engine: str
    precision: str
    """'auto' where the runtime itself knows its best one."""

    def __str__(self) -> str:
        return self.engine if self.precision == 'auto' else f'{self.engine} {self.precision}'


class Candidates(NamedTuple):
    """Who may win, in the order of precedence."""

    built: list[Candidate]
    """TensorRT candidates, in order: the first that passes the self-test wins."""
    compared: list[Candidate]
    """The fastest that passes the self-test wins."""
    last: list[Candidate]
    """Taken where nothing else passes: PyTorch, which takes seconds to import and is slower than
    each of the others."""

    @property
    def all(self) -> list[Candidate]:
        """All of them."""
        return [*self.built, *self.compared, *self.last]


def find_candidates(engines: Iterable[str], precision: str, card: ModelCard) -> Candidates:
    """Return the candidates among these engines; precision: 'auto' or the one that is asked for.

    A precision that is asked for needs no acceptance by the card.
    """
    found = Candidates([], [], [])
    for name in engines:
        if name in BUILT:
            found.built.append(Candidate(name, precision))
        elif name not in COMPARED:
            found.last.append(Candidate(name, precision))
        elif precision != 'auto':
            found.compared.append(Candidate(name, precision))
        else:
            accepted = accepted_precisions(card)
            precisions = [each for each in COMPARED[name] if each in accepted]
            found.compared.extend(Candidate(name, each) for each in precisions)
    return found


def conflict(engine: str) -> str:
    """Return why an engine may not be chosen in this process, '' if it may.

    In one process with PyTorch, OpenVINO has ended with SIGSEGV (2026.4 on Linux 6.18, cause
    unknown); alone it has not.
    """
    if engine == 'openvino' and sys.modules.get('torch') is not None:
        return (
            'OpenVINO has crashed in a process with PyTorch, which this one has loaded; '
            'engine openvino takes it all the same'
        )
    return ''
