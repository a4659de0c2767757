# SPDX-License-Identifier: Apache-2.0
"""Doubles of CUDA's runtime and driver; a stream's work is executed at a synchronisation."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

CAPTURE_INVALID = 901


class Cudart:
    """The CUDA runtime functions that our engine calls, on ordinary memory."""

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.queue: list[Callable[[], None]] = []
        self.capturing: list[Callable[[], None]] | None = None
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.streams: set[int] = set()
        self.calls: list[str] = []
        self.capture_fails = False
        self.out_of_memory = False

    def enqueue(self, work: Callable[[], None]) -> None:
        (self.queue if self.capturing is None else self.capturing).append(work)

    def drain(self) -> int:
        work, self.queue = self.queue, []
        for item in work:
            item()
        return 0

    def cudaStreamCreate(self, pointer: Any) -> int:
        pointer._obj.value = 0x5000 + len(self.streams)
        self.streams.add(pointer._obj.value)
        return 0

    def cudaStreamSynchronize(self, stream: Any) -> int:
        return CAPTURE_INVALID if self.capturing is not None else self.drain()

    def cudaStreamDestroy(self, stream: Any) -> int:
        self.streams.discard(stream.value)
        return 0

    def cudaMalloc(self, pointer: Any, size: Any) -> int:
        if self.out_of_memory:
            return 2
        block = ctypes.create_string_buffer(b'\xa5' * size.value, size.value)
        pointer._obj.value = ctypes.addressof(block)
        self.memory[pointer._obj.value] = block
        return 0

    def cudaFree(self, pointer: Any) -> int:
        self.drain()
        if pointer.value:
            del self.memory[pointer.value]  # freeing twice is an error
        return 0

    def cudaMemcpyAsync(self, to: Any, source: Any, size: Any, kind: Any, stream: Any) -> int:
        self.calls.append(('H2H', 'H2D', 'D2H', 'D2D')[kind.value])
        for pointer, on_device in ((to, kind.value in (1, 3)), (source, kind.value in (2, 3))):
            if on_device and not self._inside(pointer.value, size.value):
                return 1
        target, start, count = to.value, source.value, size.value
        if kind.value == 1:  # CUDA copies pageable memory before the call returns
            taken = ctypes.string_at(start, count)
            self.enqueue(lambda: ctypes.memmove(target, taken, count))
        else:
            self.enqueue(lambda: ctypes.memmove(target, start, count))
        return 0

    def cudaMemcpy(self, to: Any, source: Any, size: Any, kind: Any) -> int:
        return self.cudaMemcpyAsync(to, source, size, kind, None) or self.drain()

    def _inside(self, address: int, size: int) -> bool:
        return any(
            start <= address and address + size <= start + len(block)
            for start, block in self.memory.items()
        )

    def cudaStreamBeginCapture(self, stream: Any, mode: Any) -> int:
        self.calls.append('begin capture')
        self.capturing = []
        return 0

    def cudaStreamEndCapture(self, stream: Any, graph: Any) -> int:
        captured, self.capturing = self.capturing, None
        assert captured is not None
        if self.capture_fails:
            return CAPTURE_INVALID
        graph._obj.value = 0x6000 + len(self.graphs)
        self.graphs[graph._obj.value] = captured
        return 0

    def cudaGraphInstantiateWithFlags(self, executable: Any, graph: Any, flags: Any) -> int:
        executable._obj.value = graph.value + 0x1000
        self.graphs[executable._obj.value] = list(self.graphs[graph.value])
        return 0

    def cudaGraphLaunch(self, executable: Any, stream: Any) -> int:
        self.calls.append('launch')
        for work in self.graphs[executable.value]:
            self.enqueue(work)
        return 0

    def cudaGraphDestroy(self, graph: Any) -> int:
        del self.graphs[graph.value]
        return 0

    cudaGraphExecDestroy = cudaGraphDestroy

    def cudaGetLastError(self) -> int:
        return 0


class Driver:
    """The libcuda functions that our engine calls."""

    def __init__(self, name: str, capability: tuple[int, int], error: int = 0) -> None:
        self.name, self.capability, self.error = name, capability, error

    def cuInit(self, flags: int) -> int:
        return self.error

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = 1
        return 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:
        device._obj.value = ordinal
        return 0

    def cuDeviceGetName(self, buffer: Any, size: int, device: Any) -> int:
        buffer.value = self.name.encode()
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:
        value._obj.value = {75: self.capability[0], 76: self.capability[1]}[attribute]
        return 0
