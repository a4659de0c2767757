# SPDX-License-Identifier: Apache-2.0
"""Test doubles of TensorRT, Polygraphy and CUDA for machines that have none of them.

`tensorrt` and the CUDA libraries are replaced at the level of the calls that the real Polygraphy
and our engine make: a plan is the ONNX file with a note of its build settings, device memory
is memory of the process, and a kernel is a run of the graph in ONNX Runtime. Work on a stream is
executed only at a synchronisation, so a result that is read too early is wrong. Polygraphy has a
thin double too, for machines without it: `test_tensorrt_build.py` compares its signatures with the
real ones, and tests run with both.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hcat_ros.models import Model, load_model
from tensorrt_double.cuda import Cudart, Driver
from tensorrt_double.network import KINDS, OPERATIONS, OperationLayer, ParserDouble, enumeration
from tensorrt_double.polygraphy import polygraphy_double
from tensorrt_double.runtime import BuilderDouble, EngineDouble

REAL = importlib.util.find_spec('polygraphy') is not None
POLYGRAPHY = [
    'double',
    pytest.param('real', marks=pytest.mark.skipif(not REAL, reason='needs Polygraphy')),
]
Make = Callable[..., 'Machine']


def rehashed(folder: Path, *more: str) -> Model:
    """The model with the hashes of its files as they are now."""
    model = load_model(folder)
    files = (*model.card.sha256, *more)
    hashes = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in files}
    return Model(folder, dataclasses.replace(model.card, sha256=hashes))


class Machine:
    """A machine with the given TensorRT version and GPU; `installed` makes it importable."""

    def __init__(
        self,
        version: str = '10.3.0',
        gpu: str = 'Orin',
        capability: tuple[int, int] = (8, 7),
        dla_cores: int = 0,
    ) -> None:
        self.driver, self.cudart = Driver(gpu, capability), Cudart()
        self.builds: list[dict[str, Any]] = []
        self.networks: list[Any] = []
        self.noise = 0.0
        self.dla_cores = dla_cores
        self.refuses_plans = self.fails_building = False
        self.on_step: Callable[[int, Any], None] = lambda step, monitor: None
        self.release = tuple(int(part) for part in version.split('.')[:2])
        self.tensorrt = self._tensorrt(version)

    def _tensorrt(self, version: str) -> Any:
        machine, trt = self, ModuleType('tensorrt')
        old = self.release < (11,)
        trt.__dict__.update(
            __version__=version,
            DataType=enumeration('DataType', 'FLOAT', 'HALF', 'INT8', 'INT32', 'BOOL', 'UINT8'),
            BuilderFlag=enumeration(
                'BuilderFlag',
                *('TF32', 'GPU_FALLBACK', 'DIRECT_IO'),
                *(('FP16', 'INT8') if old else ()),
                *(('OBEY_PRECISION_CONSTRAINTS', 'PREFER_PRECISION_CONSTRAINTS') if old else ()),
            ),
            MemoryPoolType=enumeration('MemoryPoolType', 'WORKSPACE', 'DLA_MANAGED_SRAM'),
            DeviceType=enumeration('DeviceType', 'GPU', 'DLA'),
            TensorIOMode=enumeration('TensorIOMode', 'NONE', 'INPUT', 'OUTPUT'),
            LayerType=enumeration('LayerType', *KINDS),
            ElementWiseOperation=enumeration('ElementWiseOperation', *OPERATIONS),
            UnaryOperation=enumeration('UnaryOperation', 'EXP', 'SQRT'),
            NetworkDefinitionCreationFlag=enumeration(
                'NetworkDefinitionCreationFlag', 'EXPLICIT_BATCH', 'STRONGLY_TYPED'
            ),
            IElementWiseLayer=OperationLayer,
            IUnaryLayer=OperationLayer,
            Logger=enumeration('Logger', 'INTERNAL_ERROR', 'ERROR', 'WARNING', 'INFO', 'VERBOSE'),
            init_libnvinfer_plugins=lambda logger, namespace: True,
        )
        trt.ILogger = type('ILogger', (), {})
        if self.release >= (10,):
            trt.IProgressMonitor = type('IProgressMonitor', (), {})

        class Builder(BuilderDouble):
            def __init__(self, logger: Any) -> None:
                super().__init__(machine)

        class OnnxParser(ParserDouble):
            def __init__(self, network: Any, logger: Any) -> None:
                super().__init__(machine, network)

        class Runtime:
            def __init__(self, logger: Any) -> None:
                self.DLA_core = -1

            def deserialize_cuda_engine(self, plan: bytes) -> Any:
                head, _, onnx = bytes(plan).partition(b'\n')
                if machine.refuses_plans or not head.startswith(b'{"plan"'):
                    return None
                about = json.loads(head)
                if about['plan'] != version or self.DLA_core != about['DLA_core']:
                    return None
                return EngineDouble(machine, onnx)

        trt.Builder, trt.OnnxParser, trt.Runtime = Builder, OnnxParser, Runtime
        return trt


@contextlib.contextmanager
def installed(machine: Machine, real_polygraphy: bool) -> Iterator[Machine]:
    """Put the machine's modules into sys.modules, with the real Polygraphy or its double."""
    from hcat_ros.engines import tensorrt_device

    def ours(name: str) -> bool:
        return name.split('.')[0] in ('polygraphy', 'tensorrt')

    before = {name: module for name, module in sys.modules.items() if ours(name)}
    for name in before:
        del sys.modules[name]
    library, tensorrt_device.cuda_driver = tensorrt_device.cuda_driver, lambda: machine.driver
    sys.modules['tensorrt'] = machine.tensorrt
    if real_polygraphy:
        from polygraphy.cuda import cuda

        wrapper = cuda.Cuda.__new__(cuda.Cuda)  # its constructor looks for libcudart
        wrapper.handle = machine.cudart
        cuda.G_CUDA = wrapper
    else:
        sys.modules.update(polygraphy_double(machine))
    try:
        yield machine
    finally:
        tensorrt_device.cuda_driver = library
        for name in [name for name in sys.modules if ours(name)]:
            del sys.modules[name]
        sys.modules.update(before)
