# SPDX-License-Identifier: Apache-2.0
"""The GPU side of the TensorRT engine: the GPU's properties, plans with buffers, CUDA graphs.

Not yet run on hardware.
"""

from __future__ import annotations

import ctypes
import logging
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hcat_ros.engines.base import EngineError

if TYPE_CHECKING:
    import tensorrt

LOG = logging.getLogger(__name__)

# Values of the enums CUdevice_attribute and cudaStreamCaptureMode, fixed by CUDA's ABI.
COMPUTE_CAPABILITY = (75, 76)
CAPTURE_THIS_THREAD = 1


class Gpu(NamedTuple):
    """The first CUDA GPU."""

    name: str
    capability: tuple[int, int]
    """Compute capability, (major, minor)."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions in which the chip computes at full speed; 'auto' takes the first."""
        half = self.capability in ((5, 3), (6, 0), (6, 2)) or self.capability >= (7, 0)
        int8 = self.capability == (6, 1) or self.capability >= (7, 0)
        return (*(('fp16',) if half else ()), 'fp32', *(('int8',) if int8 else ()))


def cuda_driver() -> Any:
    """Return the CUDA driver's library. Raises OSError if there is none."""
    return ctypes.CDLL('libcuda.so.1')


def find_gpu() -> Gpu:
    """Return the first GPU. Raises EngineError without a driver or a GPU.

    The properties come from the driver, whose functions are the same in all CUDA versions; the
    runtime's cudaGetDeviceProperties is not.
    """
    try:
        cuda = cuda_driver()
    except OSError as error:
        raise EngineError(
            f'there is no NVIDIA driver here ({error}); TensorRT needs an NVIDIA GPU: choose '
            'another engine'
        ) from error
    count, device, major, minor = (ctypes.c_int() for _ in range(4))
    name = ctypes.create_string_buffer(256)
    major_attribute, minor_attribute = COMPUTE_CAPABILITY
    for function, *arguments in (
        (cuda.cuInit, 0),
        (cuda.cuDeviceGetCount, ctypes.byref(count)),
        (cuda.cuDeviceGet, ctypes.byref(device), 0),
        (cuda.cuDeviceGetName, name, len(name), device),
        (cuda.cuDeviceGetAttribute, ctypes.byref(major), major_attribute, device),
        (cuda.cuDeviceGetAttribute, ctypes.byref(minor), minor_attribute, device),
    ):
        code = function(*arguments)
        if code:
            raise EngineError(
                f'CUDA finds no GPU here (error {code}, {count.value} devices); give the container '
                'access to it (--runtime nvidia) and check that CUDA_VISIBLE_DEVICES is not empty'
            )
    return Gpu(name.value.decode(errors='replace'), (major.value, minor.value))


class CudaGraph:
    """Work recorded from a stream and launched in one call, which saves CPU time per search."""

    def __init__(self, runtime: Any, stream: Any, enqueue: Callable[[], None]) -> None:
        """Capture the work of `enqueue`, which must have run once before.

        runtime: Polygraphy's wrapper of the CUDA runtime. stream: a Polygraphy stream. Lets the
        exceptions of `enqueue` and of CUDA pass; the stream is then as it was before.
        """
        cudart, check = runtime.handle, runtime.check
        self._launch, self._stream = cudart.cudaGraphLaunch, ctypes.c_void_p(stream.ptr)
        self._check = check
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        # Since CUDA 11.4, with the same signature in all versions.
        instantiate = cudart.cudaGraphInstantiateWithFlags
        check(cudart.cudaStreamBeginCapture(self._stream, ctypes.c_int(CAPTURE_THIS_THREAD)))
        try:
            enqueue()
        except BaseException:
            cudart.cudaStreamEndCapture(self._stream, ctypes.byref(graph))
            if graph.value:
                cudart.cudaGraphDestroy(graph)
            raise
        check(cudart.cudaStreamEndCapture(self._stream, ctypes.byref(graph)))
        try:
            check(instantiate(ctypes.byref(executable), graph, ctypes.c_ulonglong(0)))
        finally:
            cudart.cudaGraphDestroy(graph)
        self._executable = executable
        weakref.finalize(self, cudart.cudaGraphExecDestroy, executable)

    def launch(self) -> None:
        """Enqueue the recorded work on the stream."""
        self._check(self._launch(self._executable, self._stream))


class Program:
    """A plan that is ready to run; runs reuse its device buffers for inputs and outputs."""

    def __init__(self, engine: tensorrt.ICudaEngine, stream: Any) -> None:
        """Allocate buffers and zero the inputs. Raises EngineError, PolygraphyException."""
        import tensorrt
        from polygraphy import cuda

        context = engine.create_execution_context()
        if context is None:
            raise EngineError(
                'TensorRT has too little GPU memory to run the plan; stop other GPU processes'
            )
        self._context, self._engine, self._stream = context, engine, stream
        self._runtime = cuda.wrapper()
        self._graph: CudaGraph | None = None
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, np.dtype[Any]] = {}
        uint8, float32 = tensorrt.DataType.UINT8, tensorrt.DataType.FLOAT
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            is_input = engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
            kind, expected = engine.get_tensor_dtype(name), uint8 if name == 'crop' else float32
            if kind != expected:
                raise EngineError(f'{name} is {kind}, not {expected}; run hcat export again')
            shape = engine.get_tensor_shape(name)
            self.shapes[name] = tuple(shape[i] for i in range(len(shape)))
            self.dtypes[name] = np.dtype(np.uint8 if name == 'crop' else np.float32)
            array = cuda.DeviceArray(self.shapes[name], self.dtypes[name])
            weakref.finalize(self, array.free)
            (self.inputs if is_input else self.outputs)[name] = array
            if is_input:
                array.copy_from(np.zeros(self.shapes[name], self.dtypes[name]), stream)
            if not context.set_tensor_address(name, array.ptr):
                raise EngineError(f'TensorRT rejects the buffer for {name}')

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream.ptr):
            raise EngineError(
                'TensorRT cannot enqueue the graph; its own message is above this one'
            )

    def run(self) -> None:
        """Enqueue the graph on the stream."""
        if self._graph is None:
            self._enqueue()
        else:
            self._graph.launch()

    def read(self, names: tuple[str, ...]) -> tuple[NDArray[Any], ...]:
        """Wait for the stream; return the named outputs in new arrays."""
        found = tuple(np.empty(self.shapes[name], self.dtypes[name]) for name in names)
        for name, host in zip(names, found):
            self.outputs[name].copy_to(host, self._stream)
        self._stream.synchronize()
        return found

    def write(self, name: str, host: NDArray[Any]) -> None:
        """Enqueue a copy of `host` to the input `name`, which has the same size and type."""
        self.inputs[name].copy_from(host, self._stream)

    def copy_on_device(self, sources: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
        """Enqueue copies of source buffers to the target buffers of the same names."""
        from polygraphy import cuda

        for name, target in targets.items():
            if sources[name].nbytes != target.nbytes:
                raise EngineError(f'{name} has another size: the features are from another model')
            self._runtime.memcpy(
                target.ptr,
                sources[name].ptr,
                target.nbytes,
                cuda.MemcpyKind.DeviceToDevice,
                self._stream.ptr,
            )

    def use_cuda_graph(self) -> bool:
        """Make `run` launch a CUDA graph if one can be captured and computes the same outputs.

        Returns whether it does. Only CUDA knows which work cannot be captured (loops, some
        plugins), so this method tries a capture.
        """
        names = tuple(self.outputs)
        self.run()  # the first run does set-up work that cannot be captured
        expected = self.read(names)
        try:
            self._graph = CudaGraph(self._runtime, self._stream, self._enqueue)
            self.run()
            found = self.read(names)
        except Exception as error:  # a missing function, or CUDA or TensorRT rejects the capture
            LOG.info('the search runs without a CUDA graph: %s', error)
            # Clear CUDA's last error, or TensorRT would attribute it to its own next call.
            self._runtime.handle.cudaGetLastError()
            self._graph = None
            return False
        if not all(np.array_equal(*pair, equal_nan=True) for pair in zip(expected, found)):
            LOG.warning('the search runs without a CUDA graph, which gave different outputs')
            self._graph = None
            return False
        return True
