# SPDX-License-Identifier: Apache-2.0
"""The figures of the paper that this project knows; other figures are not stated.

They come from the project's specification, which quotes the paper. Only the speeds of TransT on CPU
and Xavier come from HiT (arXiv 2308.06904).
"""

from __future__ import annotations

from typing import NamedTuple

HIT = 'HiT, arXiv 2308.06904'


class Published(NamedTuple):
    """A published figure."""

    value: float
    source: str = ''
    """Source of the figure; empty: the paper."""


class Place(NamedTuple):
    """The runtime and device on which a speed was measured."""

    runtime: str
    """A key of `hcat_ros.engines.ENGINES`."""
    device: str
    """A key of `DEVICES`."""


DEVICES = {
    'gpu': ('GPU (Titan RTX)', 'needs a GPU'),
    'cpu': ('CPU (i9-9900K)', ''),
    'xavier': ('AGX Xavier', 'needs an AGX Xavier'),
}
"""Names of the paper's devices, and the text in place of a figure where a device is missing."""

SPEEDS = {
    ('hcat', Place('torch', 'gpu')): Published(195),
    ('hcat', Place('torch', 'cpu')): Published(45),
    ('hcat', Place('torch', 'xavier')): Published(55),
    ('hcat', Place('onnxruntime', 'gpu')): Published(589),
    ('hcat', Place('onnxruntime', 'cpu')): Published(90),
    ('hcat', Place('onnxruntime', 'xavier')): Published(127),
    ('hcat_n1', Place('onnxruntime', 'gpu')): Published(702),
    ('hcat_n1', Place('onnxruntime', 'cpu')): Published(104),
    ('hcat_n1', Place('onnxruntime', 'xavier')): Published(147),
    ('transt', Place('torch', 'cpu')): Published(5, HIT),
    ('transt', Place('torch', 'xavier')): Published(13, HIT),
}
"""Speed of the model alone, frames a second, by system and place."""


class Benchmark(NamedTuple):
    """A benchmark's measure, with its names in the paper and in this project."""

    data: str
    measure: str
    protocol: str
    """Title of the protocol in results of `hcat evaluate`."""
    key: str
    """Name of the measure in results of `hcat evaluate`."""
    published: float
    """Published value for HCAT, in percent."""


BENCHMARKS = (
    Benchmark('LaSOT', 'AUC', 'LaSOT', 'success AUC', 59.3),
    Benchmark('LaSOT', 'normalised precision', 'LaSOT', 'normalised precision 0.2', 68.7),
    Benchmark('LaSOT', 'precision', 'LaSOT', 'precision', 61.0),
    Benchmark('TrackingNet', 'AUC', 'TrackingNet', 'success AUC', 76.6),
    Benchmark('TrackingNet', 'normalised precision', 'TrackingNet', 'normalised precision', 82.6),
    Benchmark('TrackingNet', 'precision', 'TrackingNet', 'precision AUC', 72.9),
    Benchmark('GOT-10k', 'AO', 'GOT-10k', 'AO', 65.1),
    Benchmark('GOT-10k', 'SR 0.5', 'GOT-10k', 'SR 0.5', 76.5),
    Benchmark('GOT-10k', 'SR 0.75', 'GOT-10k', 'SR 0.75', 56.7),
    Benchmark('NFS', 'AUC', 'NfS 30 fps', 'success AUC', 63.5),
    Benchmark('OTB100', 'AUC', 'OTB', 'success AUC', 68.1),
    Benchmark('UAV123', 'AUC', 'UAV123', 'success AUC', 62.7),
    Benchmark('VOT2020', 'EAO', 'VOT, one pass', 'EAO', 27.6),
)
"""Measures in the paper; the ablations use the first one."""
