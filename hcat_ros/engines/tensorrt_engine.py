# SPDX-License-Identifier: Apache-2.0
"""TensorRT on NVIDIA's GPUs, on Jetson above all: TensorRT 8.5 to 10.x, and 11 in fp32.

Not run on hardware here. `python -m pytest test/hardware` runs it on a machine with a GPU.
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
    checked_crop,
    checked_settings,
    checked_shapes,
)
from hcat_ros.engines.tensorrt_device import Program
from hcat_ros.engines.tensorrt_plans import TensorRtPlans
from hcat_ros.models import SEARCH_FILE, TEMPLATE_FILE, Model, ModelError

LOG = logging.getLogger(__name__)


class TensorRtFeatures:
    """A template's features, in buffers of their own on the device; freed with this object."""

    def __init__(self, buffers: dict[str, Any]) -> None:
        self.buffers = buffers
        for buffer in buffers.values():
            weakref.finalize(self, buffer.free)


class TensorRtEngine:
    """Runs a model's two graphs in TensorRT: one stream, buffers made once, a CUDA graph."""

    def __init__(
        self,
        model: Model,
        precision: str = 'auto',
        threads: int = 0,
        build_if_missing: bool = True,
        workspace: int | None = None,
        dla: int | None = None,
    ) -> None:
        """Load both plans from the cache; build those that it lacks, which takes minutes.

        precision: 'fp32', 'fp16' (with softmax and normalisations in fp32), 'int8' (the search
        graph quantised, the template's in fp16), or 'auto': fp16 where the chip has it. threads:
        of no effect, the GPU computes. build_if_missing: False to raise EngineError instead of
        building. workspace: MiB that a kernel may take, for a build; None takes a cached plan of
        any. dla: core of the deep learning accelerator, None for the GPU.

        Raises EngineError if TensorRT, Polygraphy or a GPU is missing, for settings that these
        have not, and where a plan cannot be built or run; ModelError for a missing or changed
        file.
        """
        plans = TensorRtPlans(model, precision, workspace, dla)
        checked_settings('tensorrt', (plans.precision,), plans.precision, threads)
        from polygraphy import cuda

        card = model.card
        try:
            self._stream = cuda.Stream()
            weakref.finalize(self, self._stream.free)
            self._template = self._program(plans, TEMPLATE_FILE, build_if_missing)
            self._search = self._program(plans, SEARCH_FILE, build_if_missing)
        except (EngineError, ModelError):
            raise
        except Exception as error:  # Polygraphy's, and OSError where there is no CUDA runtime
            raise EngineError(f'TensorRT cannot load {model.folder}: {error}') from error
        path = model.folder / plans.file(TEMPLATE_FILE)
        checked_shapes(path, self._template.shapes.get('crop'), card.template_size)
        path, shapes = model.folder / plans.file(SEARCH_FILE), self._search.shapes
        checked_shapes(path, shapes.get('crop'), card.search_size, shapes.get('scores'), card.grid)
        if shapes.get('boxes') != (1, card.grid**2, 4):
            raise EngineError(f'{path} gives boxes {shapes.get("boxes")}; run hcat export again')
        self._inputs = {k: v for k, v in self._search.inputs.items() if k != 'crop'}
        given = {name: self._template.shapes[name] for name in self._template.outputs}
        if given != {name: shapes[name] for name in self._inputs}:
            raise EngineError(
                f'{path} does not take what {TEMPLATE_FILE} gives, {given}; run hcat export again'
            )
        self._bound: TensorRtFeatures | None = None
        self._card = EngineCard.of(card, 'tensorrt', plans.version, plans.precision)
        try:
            # The accelerator's tasks cannot be captured.
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
        """Return a graph that is ready to run; a plan that does not load is built again."""
        plan = plans.cached(graph)
        command = f'hcat build-engine {plans.model.folder} --precision {plans.precision}'
        for name, value in (('workspace', plans.workspace), ('dla', plans.dla)):
            command += '' if value is None else f' --{name} {value}'
        if plan is not None:
            try:
                return Program(deserialized(plan, plans.dla), self._stream)
            except EngineError:
                raise
            except Exception as error:
                reason = f'the plan {plans.cache.path(plans.key(graph))} does not load ({error})'
                if not build_if_missing:
                    raise EngineError(f'{reason}; run {command} --force') from error
                LOG.warning('%s: it is built again', reason)
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
        return Program(deserialized(plan, plans.dla), self._stream)

    @property
    def card(self) -> EngineCard:
        """What this engine is."""
        return self._card

    def template(self, crop: NDArray[np.uint8]) -> TensorRtFeatures:
        """Return the features of a template crop."""
        from polygraphy import cuda

        program = self._template
        checked_crop(crop, self._card.template_size, 'template')
        host = np.ascontiguousarray(crop)  # lives until the stream was waited for
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
        checked_crop(crop, self._card.search_size, 'search')
        host = np.ascontiguousarray(crop)  # lives until the stream was waited for
        try:
            if features is not self._bound:
                # Into the graph's own inputs: a CUDA graph knows its buffers by address.
                program.copy_on_device(features.buffers, self._inputs)
                self._bound = features
            program.write('crop', host)
            program.run()
            scores, boxes = program.read(('scores', 'boxes'))
        except Exception as error:
            self._bound = None
            raise EngineError(f'TensorRT failed on the search region: {error}') from error
        return Prediction(scores[0], boxes[0])


def deserialized(plan: bytes, dla: int | None) -> Any:
    """Return TensorRT's engine of a plan. Raises Polygraphy's exception where it is not one."""
    import tensorrt
    from polygraphy.backend.trt import EngineFromBytes, get_trt_logger
    from polygraphy.logger import G_LOGGER

    with G_LOGGER.verbosity(G_LOGGER.WARNING):
        if dla is None:
            return EngineFromBytes(plan)()
        runtime = tensorrt.Runtime(get_trt_logger())
        runtime.DLA_core = dla  # which the plan does not say
        return EngineFromBytes(plan, runtime=runtime)()
