# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime: runs on every CPU, and on NVIDIA GPUs through its CUDA and TensorRT providers.

The CUDA and TensorRT providers have not been run on hardware.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hcat_ros.engines.base import (
    EngineCard,
    EngineError,
    Prediction,
    cache_folder,
    check_crop,
    check_shapes,
    graph_content,
    resolve_precision,
    search_file,
)
from hcat_ros.models import TEMPLATE_FILE, Model

if TYPE_CHECKING:
    import onnxruntime


DISABLED_OPTIMIZERS = (
    # It would quantise layers that an INT8 graph keeps in float on purpose, with one scale per
    # tensor, if their neighbours are quantised.
    'WeightBiasQuantization',
    # On a CPU its fused operator is slower than an addition and a LayerNormalization.
    'SkipLayerNormFusion',
)

LARGEST_ARENA = 1 << 30
"""Memory for the tensors that graphs compute, without their weights, in all engines of a process,
bytes. Ours need 30 MB; a graph of 150 bytes can ask for gigabytes."""
LARGEST_FOLDED = 16 << 20
"""Largest tensor that is computed while a graph loads, bytes: such tensors become weights, which
lie outside of the arena. ONNX Runtime computes larger ones in each run; versions that do not know
this setting ignore it."""


class OnnxRuntimeFeatures:
    """A template's features, bound to the search graph's inputs by name."""

    def __init__(self, values: dict[str, onnxruntime.OrtValue]) -> None:
        self.values = values


class OnnxRuntimeEngine:
    """Runs a model's two graphs in ONNX Runtime; `search` reuses its input and output buffers."""

    name = 'onnxruntime'
    provider = 'CPUExecutionProvider'
    precisions: tuple[str, ...] = ('fp32', 'int8')
    """Supported precisions; 'auto' takes the first."""

    def provider_options(self, precision: str, content: bytes) -> dict[str, str]:
        """Return the provider's options; content: the ONNX file's bytes."""
        return {}

    def __init__(self, model: Model, precision: str = 'auto', threads: int = 0) -> None:
        """Load both graphs. threads: intra-op threads, 0 for one per physical core.

        Raises EngineError if ONNX Runtime is missing, the precision is not one of `precisions`
        or a graph does not load; ModelError for a missing or changed file.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineError(
                f'ONNX Runtime cannot be imported ({error}); pip install onnxruntime'
            ) from error
        precision = resolve_precision(self.name, self.precisions, precision, threads)
        available = onnxruntime.get_available_providers()
        if self.provider not in available:
            raise EngineError(
                f'this ONNX Runtime has no {self.provider}, it has {", ".join(available)}; '
                'pip install onnxruntime-gpu'
            )
        self._ort = onnxruntime
        search = search_file(model, precision)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Memory patterns save no time here and cost 12 MB.
        options.enable_mem_pattern = False
        options.log_severity_level = 3  # errors reach us as exceptions
        _limit_memory(options)
        card = model.card
        self._template = self._session(model, TEMPLATE_FILE, precision, options, card.template_size)
        self._search = self._session(model, search, precision, options, card.search_size, card.grid)
        self._card = EngineCard.of(card, self.name, onnxruntime.__version__, precision)
        self._binding = self._search.io_binding()
        self._bound: OnnxRuntimeFeatures | None = None
        self._crop = np.zeros((1, card.search_size, card.search_size, 3), np.uint8)
        self._scores = np.zeros((1, card.grid, card.grid), np.float32)
        self._boxes = np.zeros((1, card.grid**2, 4), np.float32)
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        try:
            self._binding.bind_ortvalue_input('crop', value(self._crop))
            self._binding.bind_ortvalue_output('scores', value(self._scores))
            self._binding.bind_ortvalue_output('boxes', value(self._boxes))
        except RuntimeError as error:
            raise EngineError(f'{model.folder / search}: {_reason(error)}') from error

    def _session(
        self, model: Model, name: str, precision: str, options: Any, size: int, grid: int = 0
    ) -> onnxruntime.InferenceSession:
        """Load a graph and check its sizes against the model's card."""
        path, content = model.folder / name, graph_content(model, name)
        # Operators that a GPU's provider does not support run on the CPU.
        fallback = [] if self.provider == 'CPUExecutionProvider' else ['CPUExecutionProvider']
        provider = (self.provider, self.provider_options(precision, content))
        try:
            session = self._ort.InferenceSession(
                content,
                options,
                providers=[provider, *fallback],
                disabled_optimizers=DISABLED_OPTIMIZERS,
            )
        except Exception as error:  # ONNX Runtime's exceptions have no other common base
            raise EngineError(f'ONNX Runtime cannot load {path}: {_reason(error)}') from error
        if session.get_providers()[0] != self.provider:  # ONNX Runtime falls back silently
            raise EngineError(f'ONNX Runtime cannot use {self.provider} on this machine')
        takes = {value.name: value.shape for value in session.get_inputs()}
        gives = {value.name: value.shape for value in session.get_outputs()}
        check_shapes(path, takes.get('crop'), size, gives.get('scores'), grid)
        return session

    @property
    def card(self) -> EngineCard:
        """Description of this engine."""
        return self._card

    def template(self, crop: NDArray[np.uint8]) -> OnnxRuntimeFeatures:
        """Return the features of a template crop."""
        check_crop(crop, self._card.template_size, 'template')
        binding = self._template.io_binding()
        try:
            binding.bind_cpu_input('crop', np.ascontiguousarray(crop[None]))
            names = [output.name for output in self._template.get_outputs()]
            for name in names:
                binding.bind_output(name)
            self._template.run_with_iobinding(binding)
        except Exception as error:
            raise EngineError(f'ONNX Runtime failed on the template: {_reason(error)}') from error
        return OnnxRuntimeFeatures(dict(zip(names, binding.get_outputs())))

    def search(self, crop: NDArray[np.uint8], features: OnnxRuntimeFeatures) -> Prediction:
        """Find the template in a search crop."""
        check_crop(crop, self._card.search_size, 'search')
        try:
            if features is not self._bound:
                for name, value in features.values.items():
                    self._binding.bind_ortvalue_input(name, value)
                self._bound = features
            self._crop[0] = crop
            self._search.run_with_iobinding(self._binding)
        except Exception as error:
            self._bound = None
            raise EngineError(
                f'ONNX Runtime failed on the search region: {_reason(error)}'
            ) from error
        return Prediction(self._scores[0].copy(), self._boxes[0].copy())


def _reason(error: Exception) -> str:
    """Return ONNX Runtime's message, which ends in line breaks, on one line."""
    return ' '.join(str(error).split())


def _limit_memory(options: onnxruntime.SessionOptions) -> None:
    """Let a session allocate its tensors in the process's arena of at most `LARGEST_ARENA`."""
    _register_arena()
    options.add_session_config_entry('session.use_env_allocators', '1')
    # Weights are as large as the file that holds them.
    options.add_session_config_entry('session.use_device_allocator_for_initializers', '1')
    folding = 'optimization.constant_folding_max_output_size_in_bytes'
    options.add_session_config_entry(folding, str(LARGEST_FOLDED))


@functools.cache
def _register_arena() -> None:
    import onnxruntime

    kind, use = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    memory = onnxruntime.OrtMemoryInfo('Cpu', kind, 0, use)
    settings = onnxruntime.OrtArenaCfg({'max_mem': LARGEST_ARENA})
    # A process has one arena: that of an application around this package stays.
    with contextlib.suppress(RuntimeError):
        onnxruntime.create_and_register_allocator(memory, settings)


class OnnxRuntimeCudaEngine(OnnxRuntimeEngine):
    """ONNX Runtime on CUDA; each call copies the crop to the GPU and the prediction back."""

    name = 'onnxruntime-cuda'
    provider = 'CUDAExecutionProvider'
    precisions = ('fp32',)

    def provider_options(self, precision: str, content: bytes) -> dict[str, str]:
        """Return the provider's options: no TensorFloat-32, whose mantissa has only 10 bits."""
        return {'use_tf32': '0'}


class OnnxRuntimeTensorRtEngine(OnnxRuntimeEngine):
    """ONNX Runtime through TensorRT; the first start builds for minutes, later starts are fast."""

    name = 'onnxruntime-tensorrt'
    provider = 'TensorrtExecutionProvider'
    precisions = ('fp16', 'fp32')

    def provider_options(self, precision: str, content: bytes) -> dict[str, str]:
        """Return the provider's options.

        Each ONNX file gets its own cache folder, because the provider's names for cached engines do
        not depend on the weights: a retrained network would load the old engine. Raises EngineError
        if the folder cannot be created.
        """
        folder = cache_folder() / self.name / hashlib.sha256(content).hexdigest()[:16]
        try:
            folder.mkdir(parents=True, exist_ok=True)  # the provider creates the last level only
        except OSError as error:
            raise EngineError(
                f'no folder for TensorRT engines: {error}; set XDG_CACHE_HOME to a writable folder'
            ) from error
        return {
            'trt_fp16_enable': str(precision == 'fp16'),
            'trt_layer_norm_fp32_fallback': 'True',
            'trt_engine_cache_enable': 'True',
            'trt_engine_cache_path': str(folder),
        }
