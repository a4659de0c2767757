# SPDX-License-Identifier: Apache-2.0
"""Properties of this machine that decide how fast an engine is."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from hcat_ros.engines.base import EngineError
from hcat_ros.engines.tensorrt_device import find_gpu

PACKAGES = ('onnxruntime', 'onnxruntime-gpu', 'openvino', 'ncnn')
"""Packages of the runtimes whose speeds are compared."""


def processor() -> str:
    """Return the processor's name, or the board's if the system does not name the processor."""
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            for line in file:
                if line.startswith('model name'):
                    return line.split(':', 1)[1].strip()
        return Path('/proc/device-tree/model').read_text(encoding='utf-8').strip('\0\n ')
    except (OSError, UnicodeDecodeError):
        return platform.processor() or platform.machine()


def usable_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def runtime_versions() -> dict[str, str]:
    """Return the versions of the installed `PACKAGES` without importing them."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def gpu() -> str:
    """Return the name of the first CUDA GPU, '' if there is none."""
    try:
        return find_gpu().name
    except EngineError:
        return ''
