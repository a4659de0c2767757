# SPDX-License-Identifier: Apache-2.0
"""Tencent's ncnn on the CPU: the fastest engine for ResNet-18, and a small library for Arm boards.

`hcat add-ncnn` writes its graphs. ncnn's Python module holds the interpreter's lock while it
computes, so all other Python threads wait. On Arm (fp32, fp16) this engine has run under emulation,
but not on hardware.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hcat_ros.engines.base import (
    EngineCard,
    EngineError,
    Prediction,
    check_crop,
    check_shapes,
    resolve_precision,
)
from hcat_ros.engines.self_test import self_test
from hcat_ros.models import SEARCH_NCNN, TEMPLATE_NCNN, Model

if TYPE_CHECKING:
    import ncnn

Shapes = dict[str, tuple[int, ...]]
LARGEST_GROWTH, PER_THREAD = 2 << 30, 160 << 20
"""Address space that a model's graphs, and the stack and heap of each thread, may take, bytes. Our
graphs take 50 MB; a parameter file of 200 bytes can ask for any amount."""


class NcnnFeatures:
    """A template's features, as the search graph's inputs by name."""

    def __init__(self, values: dict[str, ncnn.Mat]) -> None:
        self.values = values


class NcnnEngine:
    """Runs a model's two graphs in ncnn."""

    def __init__(self, model: Model, precision: str = 'auto', threads: int = 0) -> None:
        """Load both graphs and run them once. threads: 0 for one per physical (big) core.

        Raises EngineError if ncnn or its graphs are missing, the processor lacks the precision, a
        graph does not load or the engine fails the self-test; ModelError for a missing or changed
        file.
        """
        try:
            import ncnn
        except ImportError as error:
            raise EngineError(f'ncnn cannot be imported ({error}); pip install ncnn') from error
        self._ncnn = ncnn
        precision = resolve_precision('ncnn', _precisions(ncnn), precision, threads)
        card = model.card
        if f'{SEARCH_NCNN}.param' not in card.sha256:
            raise EngineError(
                f'{model.folder} has no ncnn graphs; run hcat add-ncnn {model.folder}'
            )
        options = ncnn.Option()
        # At most as many as this process may use: ncnn's threads spin while they wait.
        usable = min(options.num_threads, len(os.sched_getaffinity(0)))
        options.num_threads = threads or usable
        options.use_fp16_packed = options.use_fp16_storage = precision == 'fp16'
        options.use_fp16_arithmetic = precision == 'fp16'
        options.use_bf16_storage = precision == 'bf16'
        self._options = options
        self._card = EngineCard.of(card, 'ncnn', ncnn.__version__, precision)
        try:
            with _limited_memory(LARGEST_GROWTH + options.num_threads * PER_THREAD):
                self._template, _ = self._net(model, TEMPLATE_NCNN, card.template_size)
                self._search, inputs = self._net(model, SEARCH_NCNN, card.search_size)
                self._names = [name for name in inputs if name != 'crop']
                self._check(model.folder / f'{SEARCH_NCNN}.param', inputs)
        except MemoryError:
            raise EngineError(
                f'{model.folder}: the ncnn graphs need more than {LARGEST_GROWTH} bytes of memory'
            ) from None
        if precision != 'fp32':
            # ncnn before 1.0.20260526 returned NaN in bf16, without an error.
            self_test(self, model)

    def _net(self, model: Model, name: str, size: int) -> tuple[ncnn.Net, Shapes]:
        """Load a graph; return it and its inputs' shapes, which ncnn itself does not check."""
        param, weights = f'{name}.param', f'{name}.bin'
        text = model.content(param)
        net = self._ncnn.Net()
        net.opt = self._options
        for file, content, load in (
            (param, text, net.load_param),
            (weights, model.content(weights), net.load_model),
        ):
            with _file_in_memory(content) as path:
                code = load(path)
            if code:
                raise EngineError(
                    f'ncnn cannot load {model.folder / file} (code {code}); see its message above'
                )
        inputs = _input_shapes(text.decode('utf-8', errors='replace'))
        check_shapes(model.folder / param, inputs.get('crop'), size)
        return net, inputs

    def _check(self, path: Path, inputs: Shapes) -> None:
        """Raise EngineError unless the search graph fits the template graph and the card."""
        template, search = (
            np.zeros((size, size, 3), np.uint8)
            for size in (self._card.template_size, self._card.search_size)
        )
        features = self._run(self._template, template, {}, self._template.output_names())
        given = {name: (1, *np.array(value).shape) for name, value in features.items()}
        expected = {name: inputs[name] for name in self._names}
        if given != expected:
            raise EngineError(
                f'{path} takes {expected}, but {TEMPLATE_NCNN} gives {given}; run hcat add-ncnn '
                f'{path.parent} again'
            )
        scores = self._run(self._search, search, features, ['scores'])['scores']
        shape = (1, *np.array(scores).shape)
        check_shapes(path, inputs['crop'], self._card.search_size, shape, self._card.grid)

    @property
    def card(self) -> EngineCard:
        """Description of this engine."""
        return self._card

    def template(self, crop: NDArray[np.uint8]) -> NcnnFeatures:
        """Return the features of a template crop."""
        check_crop(crop, self._card.template_size, 'template')
        return NcnnFeatures(self._run(self._template, crop, {}, self._names))

    def search(self, crop: NDArray[np.uint8], features: NcnnFeatures) -> Prediction:
        """Find the template in a search crop."""
        check_crop(crop, self._card.search_size, 'search')
        found = self._run(self._search, crop, features.values, ['scores', 'boxes'])
        return Prediction(np.array(found['scores']), np.array(found['boxes']))

    def _run(
        self,
        net: ncnn.Net,
        crop: NDArray[np.uint8],
        features: dict[str, ncnn.Mat],
        outputs: Iterable[str],
    ) -> dict[str, ncnn.Mat]:
        """Run a graph; return the named outputs, which own their memory."""
        extractor = net.create_extractor()
        height, width, colours = crop.shape
        # A Mat with memory of its own: one that wraps an array does not keep the array alive.
        image = self._ncnn.Mat(colours, width, height)
        np.asarray(image)[:] = crop
        for name, value in {'crop': image, **features}.items():
            if code := extractor.input(name, value):
                raise EngineError(f'ncnn rejects the input {name} (code {code})')
        found = {}
        for name in outputs:
            code, found[name] = extractor.extract(name)
            if code or found[name].empty():
                raise EngineError(f'ncnn failed to compute {name} (code {code})')
        return found


def _precisions(ncnn: ModuleType) -> list[str]:
    """Return the precisions that the processor supports; 'auto' takes the first."""
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            flags = set(file.read().split())
    except OSError:
        flags = set()
    has = ['fp32']
    if ncnn.cpu_support_arm_asimdhp():
        has.append('fp16')
    if flags & {'avx512_bf16', 'bf16'}:
        has.append('bf16')
    return has


@contextlib.contextmanager
def _limited_memory(growth: int) -> Iterator[None]:
    """Let the address space grow by at most so many bytes; a larger allocation of ncnn fails.

    Graphs have fixed sizes: later runs need no more than the first.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open('/proc/self/statm', encoding='ascii') as file:
        limit = int(file.read().split()[0]) * resource.getpagesize() + growth
    if soft != resource.RLIM_INFINITY:
        limit = min(soft, limit)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextlib.contextmanager
def _file_in_memory(content: bytes) -> Iterator[str]:
    """Yield the path of a file in memory that holds `content`.

    ncnn copies weights only when it reads them from a path, and the model's file may have been
    replaced since its bytes were hashed.
    """
    descriptor = os.memfd_create('ncnn', os.MFD_CLOEXEC)
    with open(descriptor, 'wb') as file:
        file.write(content)
        file.flush()
        yield f'/proc/self/fd/{descriptor}'


def _input_shapes(param: str) -> Shapes:
    """Return the shapes of a graph's inputs by name, which `hcat add-ncnn` writes into the graph.

    The batch axis, which ncnn leaves out, is added, so that shapes compare with those of ONNX.
    """
    shapes = {}
    for line in param.splitlines():
        if line.startswith('Input '):
            # Cells: Input, layer's name, 0 inputs, 1 output, its name, sizes from the last axis on
            cells = line.split()
            sizes = [int(cell.split('=')[1]) for cell in cells[5:]]
            shapes[cells[4]] = (1, *reversed(sizes))
    return shapes
