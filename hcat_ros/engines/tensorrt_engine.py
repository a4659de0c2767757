# SPDX-License-Identifier: Apache-2.0
"""TensorRT on NVIDIA GPUs, mainly Jetson: TensorRT 8.5 to 10.x, and TensorRT 11 in fp32.

Not yet run on hardware. `python -m pytest test/hardware` tests it on a machine with a GPU.
"""

from __future__ import annotations

import logging
import weakref
from typing import Any

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
from hcat_ros.engines.tensorrt_device import Program
from hcat_ros.engines.tensorrt_plans import TensorRtPlans
from hcat_ros.models import SEARCH_FILE, TEMPLATE_FILE, Model, ModelError

LOG = logging.getLogger(__name__)


class TensorRtFeatures:
    """A template's features in device buffers, which are freed with this object."""

    def __init__(self, buffers: dict[str, Any]) -> None:
        self.buffers = buffers
        for buffer in buffers.values():
            weakref.finalize(self, buffer.free)


class TensorRtEngine:
    """Runs a model's two graphs in TensorRT on one stream, the search in a CUDA graph."""

    def __init__(
        self,
        model: Model,
        precision: str = 'auto',
        threads: int = 0,
        build_if_missing: bool = True,
        workspace: int | None = None,
        dla: int | None = None,
    ) -> None:
        """Load both plans from the cache; build missing plans, which takes minutes.

        precision: 'fp32', 'fp16' (with softmax and normalisations in fp32), 'int8' (the search
        graph quantised, the template graph in fp16), or 'auto': fp16 if the chip supports it.
        threads: ignored, because the GPU computes. build_if_missing: False to raise EngineError
        instead of building. workspace: memory limit of a kernel, MiB; None builds without a limit
        and accepts a cached plan of any limit. dla: core of the deep learning accelerator, None for
        the GPU.

        Raises EngineError if TensorRT, Polygraphy or a GPU is missing, for settings that they do
        not support, and if a plan cannot be built or run; ModelError for a missing or changed file.
        """
        plans = TensorRtPlans(model, precision, workspace, dla)
        resolve_precision('tensorrt', (plans.precision,), plans.precision, threads)
        from polygraphy import cuda

        card = model.card
        try:
            self._stream = cuda.Stream()
            weakref.finalize(self, self._stream.free)
            self._template = self._program(plans, TEMPLATE_FILE, build_if_missing)
            self._search = self._program(plans, SEARCH_FILE, build_if_missing)
        except (EngineError, ModelError):
            raise
        except Exception as error:  # PolygraphyException, or OSError without a CUDA runtime
            raise EngineError(f'TensorRT cannot load {model.folder}: {error}') from error
        path = model.folder / plans.file(TEMPLATE_FILE)
        check_shapes(path, self._template.shapes.get('crop'), card.template_size)
        path, shapes = model.folder / plans.file(SEARCH_FILE), self._search.shapes
        check_shapes(path, shapes.get('crop'), card.search_size, shapes.get('scores'), card.grid)
        if shapes.get('boxes') != (1, card.grid**2, 4):
            raise EngineError(
                f'{path} gives boxes {shapes.get("boxes")}, expected {(1, card.grid**2, 4)}; '
                'run hcat export again'
            )
        self._inputs = {k: v for k, v in self._search.inputs.items() if k != 'crop'}
        given = {name: self._template.shapes[name] for name in self._template.outputs}
        if given != {name: shapes[name] for name in self._inputs}:
            raise EngineError(
                f'{path} does not take what {TEMPLATE_FILE} gives: {given}; run hcat export again'
            )
        self._bound: TensorRtFeatures | None = None
        self._card = EngineCard.of(card, 'tensorrt', plans.version, plans.precision)
        try:
            # Work of the deep learning accelerator cannot be captured.
            graph = dla is None and self._search.use_cuda_graph()
        except Exception as error:
            raise EngineError(f'TensorRT cannot run {path}: {error}') from error
        LOG.info(
            'TensorRT %s in %s, %s CUDA graph',
            plans.version,
            plans.precision,
            'with a' if graph else 'without',
        )

    def _program(self, plans: TensorRtPlans, graph: str, build_if_missing: bool) -> Program:
        """Return a graph that is ready to run; build its plan if it is missing or does not load."""
        plan = plans.cached(graph)
        command = f'hcat build-engine {plans.model.folder} --precision {plans.precision}'
        for name, value in (('workspace', plans.workspace), ('dla', plans.dla)):
            command += '' if value is None else f' --{name} {value}'
        if plan is not None:
            try:
                return Program(deserialize(plan, plans.dla), self._stream)
            except EngineError:
                raise
            except Exception as error:
                reason = f'the plan {plans.cache.path(plans.key(graph))} does not load ({error})'
                if not build_if_missing:
                    raise EngineError(f'{reason}; run {command} --force') from error
                LOG.warning('%s; it is built again', reason)
        elif not build_if_missing:
            raise EngineError(
                f'{plans.cache.folder} has no plan of {plans.file(graph)} for this machine; '
                f'run {command}'
            )
        plan = plans.build(graph)
        try:
            plans.store(graph, plan)
        except EngineError as error:
            LOG.warning('the next start has to build again: %s', error)
        return Program(deserialize(plan, plans.dla), self._stream)

    @property
    def card(self) -> EngineCard:
        """Description of this engine."""
        return self._card

    def template(self, crop: NDArray[np.uint8]) -> TensorRtFeatures:
        """Return the features of a template crop."""
        from polygraphy import cuda

        program = self._template
        check_crop(crop, self._card.template_size, 'template')
        host = np.ascontiguousarray(crop)  # must live until the stream is synchronised
        try:
            features = TensorRtFeatures(
                {
                    name: cuda.DeviceArray(program.shapes[name], program.dtypes[name])
                    for name in program.outputs
                }
            )
            program.write('crop', host)
            program.run()
            program.copy_on_device(program.outputs, features.buffers)
            self._stream.synchronize()
        except Exception as error:
            raise EngineError(f'TensorRT failed on the template: {error}') from error
        return features

    def search(self, crop: NDArray[np.uint8], features: TensorRtFeatures) -> Prediction:
        """Find the template in a search crop."""
        program = self._search
        check_crop(crop, self._card.search_size, 'search')
        host = np.ascontiguousarray(crop)  # must live until the stream is synchronised
        try:
            if features is not self._bound:
                # Copy, because the CUDA graph has recorded the addresses of its input buffers.
                program.copy_on_device(features.buffers, self._inputs)
                self._bound = features
            program.write('crop', host)
            program.run()
            scores, boxes = program.read(('scores', 'boxes'))
        except Exception as error:
            self._bound = None
            raise EngineError(f'TensorRT failed on the search region: {error}') from error
        return Prediction(scores[0], boxes[0])


def deserialize(plan: bytes, dla: int | None) -> Any:
    """Return the TensorRT engine of a plan. Raises PolygraphyException for an invalid plan."""
    import tensorrt
    from polygraphy.backend.trt import EngineFromBytes, get_trt_logger
    from polygraphy.logger import G_LOGGER

    with G_LOGGER.verbosity(G_LOGGER.WARNING):
        if dla is None:
            return EngineFromBytes(plan)()
        runtime = tensorrt.Runtime(get_trt_logger())
        runtime.DLA_core = dla  # the plan does not store the core
        return EngineFromBytes(plan, runtime=runtime)()
