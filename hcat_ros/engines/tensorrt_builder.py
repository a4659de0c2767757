# SPDX-License-Identifier: Apache-2.0
"""Builds TensorRT's plan of an ONNX graph, through Polygraphy. Not run on hardware here.

In fp16 and int8 the layers that fp16 would harm are kept in fp32. TensorRT 8.5 to 10.x do that by
precisions set on the layers, which OBEY_PRECISION_CONSTRAINTS makes binding. TensorRT 11 knows
neither: its networks are strongly typed, each tensor has the type that the ONNX file says, so it
builds our fp32 files in fp32 only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hcat_ros.engines.base import EngineError
from hcat_ros.files import scratch_folder

if TYPE_CHECKING:
    import tensorrt

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildOptions:
    """How a plan is to be built."""

    precision: str
    """'fp32', 'fp16' or 'int8'."""
    workspace: int | None = None
    """Most memory that a kernel may take while it runs, MiB; None for all there is."""
    dla: int | None = None
    """Core of the deep learning accelerator; what it cannot run runs on the GPU."""


def build_plan(
    name: str, onnx: bytes, options: BuildOptions, timing: bytes | None
) -> tuple[bytes, bytes | None]:
    """Build a graph's plan; takes minutes. Returns it and the timing cache.

    name: of the graph, for messages. timing: the timing cache of an earlier build, which makes this
    one faster. The log is told of the progress, as far as TensorRT tells it: from 10 on. Raises
    EngineError; KeyboardInterrupt, at the next step that TensorRT tells of.
    """
    import tensorrt

    monitor = progress_monitor() if hasattr(tensorrt, 'IProgressMonitor') else None
    # Python raises KeyboardInterrupt in the main thread alone, there anywhere: also where a
    # function that TensorRT calls begins, and an exception out of that ends the process.
    with ThreadPoolExecutor(1) as thread:
        building = thread.submit(_build, name, onnx, options, timing, monitor)
        try:
            return building.result()
        except KeyboardInterrupt:
            if monitor is not None:
                monitor.interrupted = True
            raise


def _build(
    name: str, onnx: bytes, options: BuildOptions, timing: bytes | None, monitor: Any
) -> tuple[bytes, bytes | None]:
    import tensorrt
    from polygraphy.backend.trt import (
        CreateConfig,
        EngineBytesFromNetwork,
        NetworkFromOnnxBytes,
        PostprocessConfig,
        PostprocessNetwork,
    )
    from polygraphy.logger import G_LOGGER

    settings: dict[str, Any] = {} if monitor is None else {'progress_monitor': monitor}
    if options.precision != 'fp32':
        settings['fp16'] = True
        settings['int8'] = options.precision == 'int8'
        # The accelerator has no fp32: there the constraints give way to the GPU's layers.
        settings['precision_constraints'] = 'obey' if options.dla is None else 'prefer'
    if options.workspace is not None:
        pool = tensorrt.MemoryPoolType.WORKSPACE
        settings['memory_pool_limits'] = {pool: options.workspace << 20}
    if options.dla is not None:
        settings.update(use_dla=True, allow_gpu_fallback=True)
    # Objects of TensorRT's live as long as those that they came from, builder and configuration
    # thus until the timing cache is taken from them.
    kept: list[Any] = []

    def configure(builder: Any, network: Any, config: Any) -> None:
        if options.dla is not None:
            if options.dla >= builder.num_DLA_cores:
                raise EngineError(
                    f'DLA core {options.dla}: this machine has {builder.num_DLA_cores}; leave '
                    'it out to run on the GPU'
                )
            config.DLA_core = options.dla
        kept.extend((builder, config))

    try:
        with scratch_folder('hcat-tensorrt') as scratch, G_LOGGER.verbosity(G_LOGGER.WARNING):
            if timing is not None:
                # Not the cache's own file: Polygraphy puts a lock file beside what it reads.
                file = scratch / 'timing'
                file.write_bytes(timing)
                settings['load_timing_cache'] = str(file)
            network: Any = NetworkFromOnnxBytes(onnx)
            if options.precision != 'fp32':
                network = PostprocessNetwork(network, keep_in_fp32)
            config = PostprocessConfig(CreateConfig(**settings), configure)
            plan = bytes(EngineBytesFromNetwork(network, config)())
    except EngineError:
        raise
    except Exception as error:  # Polygraphy's own, TypeError where there is no GPU, OSError
        raise EngineError(
            f'TensorRT {tensorrt.__version__} cannot build {name} in {options.precision}: {error}; '
            "TensorRT's own messages are above"
        ) from error
    try:
        return plan, bytes(kept[1].get_timing_cache().serialize())
    except Exception as error:  # no reason to lose the plan
        LOG.warning('the timing cache is not kept: %s', error)
        return plan, None


def keep_in_fp32(network: tensorrt.INetworkDefinition) -> None:
    """Set the precision of softmax and of what normalises (LayerNorm, L2 norm) to fp32.

    Squares and sums over the channels leave fp16's range of 65504, and an epsilon of 1e-12 its
    resolution. What passes between two such layers stays fp32 as well.
    """
    import tensorrt

    fp32 = tensorrt.DataType.FLOAT
    kept = sensitive_layers(network)
    fed = {layer.get_input(i).name for layer in kept for i in inputs_of(layer)}
    for layer in kept:
        layer.precision = fp32
        if layer.get_output(0).name in fed:
            layer.set_output_type(0, fp32)


def inputs_of(layer: tensorrt.ILayer) -> Iterator[int]:
    """Yield the numbers of a layer's inputs that are there."""
    return (i for i in range(layer.num_inputs) if layer.get_input(i) is not None)


def sensitive_layers(network: tensorrt.INetworkDefinition) -> list[tensorrt.ILayer]:
    """Return the layers of softmax and normalisations.

    Found by what they compute, not by name. In opset 16 a LayerNorm is ReduceMean, Sub, Pow,
    ReduceMean, Add, Sqrt, Div, Mul, Add; an L2 norm is Mul (with itself), ReduceSum, Sqrt and the
    Div by it, with Clip and Expand between.
    """
    import tensorrt

    kind, ops = tensorrt.LayerType, tensorrt.ElementWiseOperation
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    # Shapes are computed by layers of the same kinds, in integers.
    layers = [
        layer
        for layer in layers
        if layer.num_outputs and layer.get_output(0).dtype == tensorrt.DataType.FLOAT
    ]
    producers = {layer.get_output(0).name: layer for layer in layers}
    operations: dict[str, Any] = {}
    for layer in layers:
        if layer.type in (kind.ELEMENTWISE, kind.UNARY):
            # The binding gives the base class; this is how NVIDIA's own code reaches `op`.
            unary = layer.type == kind.UNARY
            layer.__class__ = tensorrt.IUnaryLayer if unary else tensorrt.IElementWiseLayer
            operations[layer.get_output(0).name] = layer.op  # type: ignore[attr-defined]

    def operands(layer: tensorrt.ILayer) -> list[str]:
        return [layer.get_input(i).name for i in inputs_of(layer)]

    found: dict[str, tensorrt.ILayer] = {}
    for layer in layers:
        output = layer.get_output(0).name
        operation = operations.get(output)
        square = operation == ops.PROD and len(set(operands(layer))) == 1
        if (
            layer.type in (kind.REDUCE, kind.SOFTMAX)
            or square
            or operation in (tensorrt.UnaryOperation.SQRT, ops.POW, ops.SUB, ops.DIV)
        ):
            found[output] = layer
        if operation == ops.DIV:
            found.update(_divisor(operands(layer)[1], producers))
        # The scale after a LayerNorm's Div, and the shift after that; layers come in their order.
        follows = {ops.PROD: ops.DIV, ops.SUM: ops.PROD}
        if operation in follows and any(
            name in found and operations.get(name) == follows[operation] for name in operands(layer)
        ):
            found[output] = layer
    return list(found.values())


def _divisor(name: str, producers: dict[str, tensorrt.ILayer]) -> dict[str, tensorrt.ILayer]:
    """Return the layers from the norm's sum to what is divided by; none for a constant."""
    import tensorrt

    chain: dict[str, tensorrt.ILayer] = {}
    while (layer := producers.get(name)) is not None:
        chain[name] = layer
        if layer.type == tensorrt.LayerType.REDUCE:
            return chain
        if not layer.num_inputs:
            break
        name = layer.get_input(0).name
    return {}


def progress_monitor() -> Any:
    """Return what TensorRT tells its progress to; it stops once `interrupted` is true."""
    import tensorrt

    class Monitor(tensorrt.IProgressMonitor):
        def __init__(self) -> None:
            tensorrt.IProgressMonitor.__init__(self)
            self.interrupted = False
            self._steps: dict[str, int] = {}
            self._told: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:  # inner phases come by the hundred
                self._steps[phase_name], self._told[phase_name] = num_steps, 0
                LOG.info('%s', phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._steps:
                percent = 100 * (step + 1) // self._steps[phase_name]
                if percent >= self._told[phase_name] + 10:  # there may be thousands of steps
                    self._told[phase_name] = percent
                    LOG.info('%s: %d %%', phase_name, percent)
            return not self.interrupted

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
