# SPDX-License-Identifier: Apache-2.0
"""Builds the TensorRT plan of an ONNX graph through Polygraphy. Not yet run on hardware.

In fp16 and int8, layers that would lose accuracy in fp16 stay in fp32. With TensorRT 8.5 to 10.x
the builder sets the precision of these layers, and OBEY_PRECISION_CONSTRAINTS makes it binding.
TensorRT 11 has neither: its networks are strongly typed, so each tensor has the type in the ONNX
file, and our fp32 files can only be built in fp32.
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
    """Options for building a plan."""

    precision: str
    """Precision: 'fp32', 'fp16' or 'int8'."""
    workspace: int | None = None
    """Memory that a kernel may use while it runs, MiB; None for no limit."""
    dla: int | None = None
    """Core of the deep learning accelerator, None for the GPU; layers that the accelerator does not
    support run on the GPU."""


def build_plan(
    name: str, onnx: bytes, options: BuildOptions, timing: bytes | None
) -> tuple[bytes, bytes | None]:
    """Build a graph's plan, which takes minutes; return the plan and the timing cache.

    name: the graph's name in messages. timing: the timing cache of an earlier build, which speeds
    up this one. TensorRT reports its progress from version 10 on; it is logged. Raises EngineError;
    raises KeyboardInterrupt at the next step that TensorRT reports.
    """
    import tensorrt

    monitor = progress_monitor() if hasattr(tensorrt, 'IProgressMonitor') else None
    # Build in another thread. Python raises KeyboardInterrupt anywhere in the main thread, even in
    # a callback from TensorRT, and an exception that leaves such a callback ends the process.
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
        # The accelerator has no fp32, so 'obey' could not be satisfied there; 'prefer' can.
        settings['precision_constraints'] = 'obey' if options.dla is None else 'prefer'
    if options.workspace is not None:
        pool = tensorrt.MemoryPoolType.WORKSPACE
        settings['memory_pool_limits'] = {pool: options.workspace << 20}
    if options.dla is not None:
        settings.update(use_dla=True, allow_gpu_fallback=True)
    # A TensorRT object is valid only while the object that created it lives. Builder and
    # configuration are kept until the timing cache has been read from them.
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
                # A copy, because Polygraphy creates a lock file beside the file that it reads.
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
    except Exception as error:  # PolygraphyException, TypeError without a GPU, OSError
        raise EngineError(
            f'TensorRT {tensorrt.__version__} cannot build {name} in {options.precision}: {error}; '
            "TensorRT's own messages are above"
        ) from error
    try:
        return plan, bytes(kept[1].get_timing_cache().serialize())
    except Exception as error:  # the plan is still good
        LOG.warning(
            'cannot read the timing cache (%s); the plan is used, the next build is not faster',
            error,
        )
        return plan, None


def keep_in_fp32(network: tensorrt.INetworkDefinition) -> None:
    """Set the precision of softmax and normalisation layers (LayerNorm, L2 norm) to fp32.

    Squares and sums over the channels overflow fp16, whose largest value is 65504, and an epsilon
    of 1e-12 underflows it. Tensors that pass between two such layers stay in fp32 as well.
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
    """Yield the indices of the inputs that a layer has; optional inputs may be missing."""
    return (i for i in range(layer.num_inputs) if layer.get_input(i) is not None)


def sensitive_layers(network: tensorrt.INetworkDefinition) -> list[tensorrt.ILayer]:
    """Return the layers of softmax and normalisations, found by their operations, not their names.

    In opset 16 a LayerNorm is ReduceMean, Sub, Pow, ReduceMean, Add, Sqrt, Div, Mul, Add. An L2
    norm is Mul (of a tensor with itself), ReduceSum, Sqrt, Clip, Expand and a Div by the result.
    """
    import tensorrt

    kind, ops = tensorrt.LayerType, tensorrt.ElementWiseOperation
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    # Integer layers of the same kinds compute shapes; they are left out.
    layers = [
        layer
        for layer in layers
        if layer.num_outputs and layer.get_output(0).dtype == tensorrt.DataType.FLOAT
    ]
    producers = {layer.get_output(0).name: layer for layer in layers}
    operations: dict[str, Any] = {}
    for layer in layers:
        if layer.type in (kind.ELEMENTWISE, kind.UNARY):
            # TensorRT returns the base class, which has no `op`; NVIDIA's own code casts like this.
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
        # The scale (Mul) after a LayerNorm's Div and the shift (Add) after the scale. Layers are
        # listed in the order of execution, so the Div has been found already.
        follows = {ops.PROD: ops.DIV, ops.SUM: ops.PROD}
        if operation in follows and any(
            name in found and operations.get(name) == follows[operation] for name in operands(layer)
        ):
            found[output] = layer
    return list(found.values())


def _divisor(name: str, producers: dict[str, tensorrt.ILayer]) -> dict[str, tensorrt.ILayer]:
    """Return the layers from a reduction to the divisor `name`; none if there is no reduction."""
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
    """Return a monitor that logs TensorRT's progress; setting `interrupted` stops the build."""
    import tensorrt

    class Monitor(tensorrt.IProgressMonitor):
        def __init__(self) -> None:
            tensorrt.IProgressMonitor.__init__(self)
            self.interrupted = False
            self._steps: dict[str, int] = {}
            self._logged: dict[str, int] = {}  # percent

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:  # a build has hundreds of inner phases
                self._steps[phase_name], self._logged[phase_name] = num_steps, 0
                LOG.info('%s', phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._steps:
                percent = 100 * (step + 1) // self._steps[phase_name]
                if percent >= self._logged[phase_name] + 10:  # there may be thousands of steps
                    self._logged[phase_name] = percent
                    LOG.info('%s: %d %%', phase_name, percent)
            return not self.interrupted

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
