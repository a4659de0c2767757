# SPDX-License-Identifier: Apache-2.0
"""Doubles of TensorRT's builder and execution: a kernel is a run of the graph in ONNX Runtime."""

from __future__ import annotations

import ctypes
import functools
import json
from typing import Any

import numpy as np

from hcat_ros.engines.onnxruntime_engine import DISABLED_OPTIMIZERS
from tensorrt_double.network import NetworkDouble


class BuilderDouble:
    def __init__(self, machine: Any) -> None:
        self._machine = machine
        self.num_DLA_cores = machine.dla_cores

    def create_network(self, flags: int = 0) -> NetworkDouble:
        return NetworkDouble(self._machine)

    def create_builder_config(self) -> ConfigDouble:
        return ConfigDouble(self._machine)

    def create_optimization_profile(self) -> Any:
        class Profile:
            def set_shape(self, name: str, *shapes: Any) -> None:
                pass

        return Profile()

    def build_serialized_network(self, network: NetworkDouble, config: ConfigDouble) -> Any:
        machine = self._machine
        monitor = config.progress_monitor
        if machine.fails_building:
            return None
        if monitor is not None:
            monitor.phase_start('Building Engine', None, 4)
            for step in range(4):
                monitor.phase_start('inner', 'Building Engine', 100)
                monitor.phase_finish('inner')
                machine.on_step(step, monitor)
                if not monitor.step_complete('Building Engine', step):
                    return None
            monitor.phase_finish('Building Engine')
        config.timing_cache.content += b' measured'
        about = {'plan': machine.tensorrt.__version__, 'DLA_core': config.DLA_core}
        machine.builds.append(
            {
                **about,
                'flags': {flag.name for flag in config.flags},
                'workspace': config.pools.get(machine.tensorrt.MemoryPoolType.WORKSPACE),
                'timing': config.loaded_timing,
                'onnx': network.onnx,
            }
        )
        return memoryview(json.dumps(about).encode() + b'\n' + network.onnx)


class ConfigDouble:
    progress_monitor: Any = None
    DLA_core = -1
    num_optimization_profiles = 0
    int8_calibrator = None

    def __init__(self, machine: Any) -> None:
        trt = machine.tensorrt
        self.default_device_type = trt.DeviceType.GPU
        self.flags: set[Any] = {trt.BuilderFlag.TF32}  # on unless it is cleared
        self.pools: dict[Any, int] = {}

    def set_flag(self, flag: Any) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: Any) -> None:
        self.flags.discard(flag)

    def get_flag(self, flag: Any) -> bool:
        return flag in self.flags

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        self.pools[pool] = size

    def get_memory_pool_limit(self, pool: Any) -> int:
        return self.pools.get(pool, 1 << 40)

    def add_optimization_profile(self, profile: Any) -> int:
        return 0

    def create_timing_cache(self, content: bytes) -> Any:
        return TimingCacheDouble(content)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        self.timing_cache, self.loaded_timing = cache, cache.content
        return True

    def get_timing_cache(self) -> Any:
        return self.timing_cache


class TimingCacheDouble:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> memoryview:
        return memoryview(self.content)


@functools.cache
def session(onnx: bytes) -> Any:
    """An ONNX Runtime session; cached because it is stateless and slow to create."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # The options of the engine that tests compare with, so that results are bit-identical.
    return onnxruntime.InferenceSession(
        onnx,
        options,
        providers=['CPUExecutionProvider'],
        disabled_optimizers=DISABLED_OPTIMIZERS,
    )


class EngineDouble:
    """A deserialised engine; its tensors are in TensorRT's order: inputs, then outputs."""

    def __init__(self, machine: Any, onnx: bytes) -> None:
        self.session = session(onnx)
        self.machine = machine
        modes = machine.tensorrt.TensorIOMode
        self._tensors = {
            value.name: (value, mode)
            for values, mode in (
                (self.session.get_inputs(), modes.INPUT),
                (self.session.get_outputs(), modes.OUTPUT),
            )
            for value in values
        }
        self.num_io_tensors = len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return self._tensors[name][1]

    def get_tensor_shape(self, name: str) -> list[int]:
        return list(self._tensors[name][0].shape)

    def get_tensor_dtype(self, name: str) -> Any:
        kinds = self.machine.tensorrt.DataType
        return {
            'tensor(uint8)': kinds.UINT8,
            'tensor(float)': kinds.FLOAT,
            'tensor(float16)': kinds.HALF,
        }[self._tensors[name][0].type]

    def create_execution_context(self) -> Any:
        return ContextDouble(self)


class ContextDouble:
    def __init__(self, engine: EngineDouble) -> None:
        self._engine, self._addresses = engine, {}
        self.fails = False

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def _array(self, value: Any) -> np.ndarray:
        dtype = np.uint8 if 'uint8' in value.type else np.float32
        count = int(np.prod(value.shape))
        block = (ctypes.c_char * (count * np.dtype(dtype).itemsize)).from_address(
            self._addresses[value.name]
        )
        return np.frombuffer(block, dtype, count).reshape(value.shape)

    def execute_async_v3(self, stream_handle: int) -> bool:
        machine, session = self._engine.machine, self._engine.session
        captured = machine.cudart.capturing is not None
        machine.cudart.calls.append('kernels captured' if captured else 'kernels')

        def run() -> None:
            feed = {value.name: self._array(value) for value in session.get_inputs()}
            for value, found in zip(session.get_outputs(), session.run(None, feed)):
                self._array(value)[:] = found + (machine.noise if captured else 0)

        machine.cudart.enqueue(run)
        return True
