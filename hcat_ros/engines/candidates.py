# SPDX-License-Identifier: Apache-2.0
"""Lists the engines and precisions that `auto` chooses from."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple

from hcat_ros.models import ModelCard, accepted_precisions

BUILT = ('tensorrt', 'onnxruntime-tensorrt')
"""TensorRT engines, which compile the model for an NVIDIA GPU, once, in minutes. The first of them
that passes the self-test wins untimed: a GPU takes a fraction of a CPU's time, and timing the two
against each other would mean building both."""
COMPARED = {
    'onnxruntime-cuda': ('fp32',),
    'onnxruntime': ('fp32', 'int8'),
    'openvino': ('fp32', 'int8'),
    'ncnn': ('fp32',),
}
"""Engines that load without a build step and are timed against each other, with their competing
precisions: fp32, and INT8 if the model's card accepts it. Cards do not accept bf16 or fp16 on a
CPU, so these precisions run only when the user names them."""


class Candidate(NamedTuple):
    """An engine and a precision to run it in."""

    engine: str
    precision: str
    """Precision, or 'auto' to let the runtime take its best one."""

    def __str__(self) -> str:
        return self.engine if self.precision == 'auto' else f'{self.engine} {self.precision}'


class Candidates(NamedTuple):
    """All candidates, in the order of precedence."""

    built: list[Candidate]
    """TensorRT candidates, in order: the first that passes the self-test wins."""
    compared: list[Candidate]
    """Candidates that are timed: the fastest that passes the self-test wins."""
    last: list[Candidate]
    """Candidates used only if no other passes: PyTorch, which takes seconds to import and is slower
    than each of the others."""

    @property
    def all(self) -> list[Candidate]:
        """The three lists, concatenated."""
        return [*self.built, *self.compared, *self.last]


def find_candidates(engines: Iterable[str], precision: str, card: ModelCard) -> Candidates:
    """Return the candidates among these engines; precision: 'auto' or the one that the user chose.

    A precision that the user chose need not be accepted by the model's card.
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
    """Return why an engine must not be chosen in this process, '' if it may be.

    OpenVINO has crashed with SIGSEGV in a process that had loaded PyTorch (2026.4 on Linux 6.18,
    cause unknown), but never without PyTorch.
    """
    if engine == 'openvino' and sys.modules.get('torch') is not None:
        return (
            'OpenVINO has crashed in processes that had loaded PyTorch, and this process has; '
            'engine openvino uses it all the same'
        )
    return ''
