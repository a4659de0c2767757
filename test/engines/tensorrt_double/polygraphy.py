# SPDX-License-Identifier: Apache-2.0
"""A double of Polygraphy with the real signatures, limited to what our engine calls."""

from __future__ import annotations

import contextlib
import ctypes
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


def polygraphy_double(machine: Any) -> dict[str, ModuleType]:
    """The doubled Polygraphy modules by name."""
    names = ('polygraphy', 'polygraphy.backend', 'polygraphy.backend.trt', 'polygraphy.cuda')
    modules = {name: ModuleType(name) for name in (*names, 'polygraphy.logger')}
    modules['polygraphy'].__version__ = '0.53.6'
    trt, cuda = modules['polygraphy.backend.trt'], modules['polygraphy.cuda']
    wrapper = CudaDouble(machine.cudart)
    trt.__dict__.update(polygraphy_backend(machine))
    cuda.__dict__.update(
        MemcpyKind=SimpleNamespace(
            HostToDevice=ctypes.c_int(1),
            DeviceToHost=ctypes.c_int(2),
            DeviceToDevice=ctypes.c_int(3),
        ),
        wrapper=lambda: wrapper,
        **polygraphy_cuda(wrapper),
    )
    modules['polygraphy.logger'].G_LOGGER = SimpleNamespace(
        WARNING=30, verbosity=lambda severity=50: contextlib.nullcontext()
    )
    for name, module in modules.items():
        parent, _, child = name.rpartition('.')
        if parent:
            setattr(modules[parent], child, module)
    return modules


class CudaDouble:
    def __init__(self, handle: Any) -> None:
        self.handle = handle

    def check(self, status: int) -> None:
        if status:
            raise RuntimeError(f'CUDA Error: {status}')

    def malloc(self, nbytes: int) -> int:
        pointer = ctypes.c_void_p()
        self.check(self.handle.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(nbytes)))
        return pointer.value or 0

    def memcpy(
        self, dst: int, src: int, nbytes: int, kind: Any, stream_ptr: int | None = None
    ) -> None:
        to, source = ctypes.c_void_p(dst), ctypes.c_void_p(src)
        self.check(
            self.handle.cudaMemcpyAsync(to, source, ctypes.c_size_t(nbytes), kind, stream_ptr)
        )


def polygraphy_cuda(wrapper: CudaDouble) -> dict[str, Any]:
    class Stream:
        def __init__(self) -> None:
            pointer = ctypes.c_void_p()
            wrapper.handle.cudaStreamCreate(ctypes.byref(pointer))
            self.ptr = pointer.value

        def free(self) -> None:
            wrapper.handle.cudaStreamDestroy(ctypes.c_void_p(self.ptr))

        def synchronize(self) -> None:
            wrapper.check(wrapper.handle.cudaStreamSynchronize(ctypes.c_void_p(self.ptr)))

    class DeviceArray:
        def __init__(self, shape: Any = None, dtype: Any = None) -> None:
            self.shape = shape
            self.nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
            self.ptr = wrapper.malloc(self.nbytes)

        def free(self) -> None:
            wrapper.handle.cudaFree(ctypes.c_void_p(self.ptr))
            self.ptr = 0

        def copy_from(self, host_buffer: np.ndarray, stream: Any = None) -> None:
            assert host_buffer.flags.c_contiguous
            assert host_buffer.nbytes <= self.nbytes
            address = host_buffer.ctypes.data
            wrapper.memcpy(self.ptr, address, host_buffer.nbytes, ctypes.c_int(1), stream.ptr)

        def copy_to(self, host_buffer: np.ndarray, stream: Any = None) -> None:
            assert host_buffer.nbytes >= self.nbytes
            address = host_buffer.ctypes.data
            wrapper.memcpy(address, self.ptr, self.nbytes, ctypes.c_int(2), stream.ptr)

    return {'Stream': Stream, 'DeviceArray': DeviceArray}


def polygraphy_backend(machine: Any) -> dict[str, Any]:
    trt = machine.tensorrt

    class NetworkFromOnnxBytes:
        def __init__(self, model_bytes: bytes) -> None:
            self._content = model_bytes

        def __call__(self) -> Any:
            builder = trt.Builder(None)
            network = builder.create_network()
            parser = trt.OnnxParser(network, None)
            if not parser.parse(self._content):
                raise RuntimeError('Could not parse ONNX correctly')
            return builder, network, parser

    class PostprocessNetwork:
        def __init__(self, network: Any, func: Any, name: str | None = None) -> None:
            self._network, self._func = network, func

        def __call__(self) -> Any:
            made = self._network()
            self._func(network=made[1])
            return made

    class CreateConfig:
        def __init__(
            self,
            fp16: bool | None = None,
            int8: bool | None = None,
            use_dla: bool | None = None,
            allow_gpu_fallback: bool | None = None,
            precision_constraints: str | None = None,
            load_timing_cache: str | None = None,
            memory_pool_limits: Any = None,
            progress_monitor: Any = None,
        ) -> None:
            self._settings = dict(locals())

        def __call__(self, builder: Any, network: Any) -> Any:
            settings, config = self._settings, builder.create_builder_config()
            constraints = settings['precision_constraints']
            flags = {
                'FP16': settings['fp16'],
                'INT8': settings['int8'],
                'GPU_FALLBACK': settings['allow_gpu_fallback'],
                'PREFER_PRECISION_CONSTRAINTS': constraints == 'prefer',
                'OBEY_PRECISION_CONSTRAINTS': constraints == 'obey',
            }
            config.clear_flag(trt.BuilderFlag.TF32)
            for name, wanted in flags.items():
                if wanted:
                    config.set_flag(trt.BuilderFlag[name])
            for pool, size in (settings['memory_pool_limits'] or {}).items():
                config.set_memory_pool_limit(pool, size)
            timing = b''
            if settings['load_timing_cache']:
                with open(settings['load_timing_cache'], 'rb') as file:
                    timing = file.read()
            config.set_timing_cache(config.create_timing_cache(timing), ignore_mismatch=False)
            config.progress_monitor = settings['progress_monitor']
            if settings['use_dla']:
                config.default_device_type, config.DLA_core = trt.DeviceType.DLA, 0
            return config

    class PostprocessConfig:
        def __init__(self, config: Any, func: Any) -> None:
            self._config, self._func = config, func

        def __call__(self, builder: Any, network: Any) -> Any:
            made = self._config(builder, network)
            self._func(builder, network, made)
            return made

    class EngineBytesFromNetwork:
        def __init__(self, network: Any, config: Any = None) -> None:
            self._network, self._config = network, config

        def __call__(self) -> Any:
            builder, network, _ = self._network()
            plan = builder.build_serialized_network(network, self._config(builder, network))
            if not plan:
                raise RuntimeError('Invalid Engine. Please ensure the engine was built correctly')
            return plan

    class EngineFromBytes:
        def __init__(self, serialized_engine: bytes, runtime: Any = None) -> None:
            self._plan, self._runtime = serialized_engine, runtime or trt.Runtime(None)

        def __call__(self) -> Any:
            engine = self._runtime.deserialize_cuda_engine(self._plan)
            if not engine:
                raise RuntimeError('Could not deserialize engine. See log for details.')
            return engine

    classes = (
        *(NetworkFromOnnxBytes, PostprocessNetwork, CreateConfig, PostprocessConfig),
        *(EngineBytesFromNetwork, EngineFromBytes),
    )
    return {**{c.__name__: c for c in classes}, 'get_trt_logger': lambda: None}
