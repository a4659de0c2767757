# SPDX-License-Identifier: Apache-2.0
"""Finds the plans of a model's two graphs for this machine in the cache, or builds them."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from hcat_ros import __version__
from hcat_ros.engines.base import EngineError, graph_content, resolve_precision, search_file
from hcat_ros.engines.tensorrt_builder import BuildOptions, build_plan
from hcat_ros.engines.tensorrt_cache import EngineCache, PlanKey, TimingKey
from hcat_ros.engines.tensorrt_device import find_gpu
from hcat_ros.models import INT8_TENSORRT_FILE, SEARCH_FILE, TEMPLATE_FILE, Model

GRAPHS = (TEMPLATE_FILE, SEARCH_FILE)

LOG = logging.getLogger(__name__)


class TensorRtPlans:
    """The plans that fit a model, a precision and this machine."""

    def __init__(
        self,
        model: Model,
        precision: str = 'auto',
        workspace: int | None = None,
        dla: int | None = None,
    ) -> None:
        """Inspect the machine and check the settings; build nothing yet.

        workspace: memory limit of a kernel while it runs, MiB. dla: core of the deep learning
        accelerator. Raises EngineError if TensorRT, Polygraphy or a GPU is missing, for a precision
        that the machine or the model does not support, for a workspace below 1 and a core below 0.
        """
        self.version = tensorrt_version()
        self.gpu = find_gpu()
        self.precision = resolve_precision('tensorrt', self._precisions(precision, dla), precision)
        if workspace is not None and workspace < 1:
            raise EngineError(f'workspace {workspace} MiB: expected 1 or more')
        if dla is not None and dla < 0:
            raise EngineError(f'DLA core {dla}: expected 0 or more')
        self._search = search_file(model, self.precision, INT8_TENSORRT_FILE)
        self.model, self.workspace, self.dla = model, workspace, dla
        self.cache = EngineCache()

    def _precisions(self, wanted: str, dla: int | None) -> tuple[str, ...]:
        """Return the precisions that this machine supports; 'auto' takes the first."""
        has = self.gpu.precisions
        if _release(self.version) >= (11,):
            if wanted in has and wanted != 'fp32':
                raise EngineError(
                    f"TensorRT {self.version} has no precision '{wanted}' for this model: TensorRT "
                    '11 and later use the precision in the ONNX file, which is fp32; take fp32, or '
                    'install TensorRT 8.5 to 10.x'
                )
            has = ('fp32',)
        if dla is not None:
            has = tuple(name for name in has if name != 'fp32')
            if not has:
                raise EngineError(
                    f'DLA core {dla}: the accelerator computes in fp16 and int8, which TensorRT '
                    f'{self.version} does not build on {self.gpu.name}; leave it out'
                )
        return has

    def file(self, graph: str) -> str:
        """Return the name of the ONNX file; graph: one of `GRAPHS`."""
        return self._search if graph == SEARCH_FILE else graph

    @property
    def timing_key(self) -> TimingKey:
        """Key of the timing cache on this machine."""
        return TimingKey(self.version, self.gpu.name, '{}.{}'.format(*self.gpu.capability))

    def key(self, graph: str) -> PlanKey:
        """Return the cache key of the graph's plan."""
        # The template is computed once per target, and every search depends on it: no int8 there.
        halved = self.precision == 'int8' and graph == TEMPLATE_FILE
        return PlanKey(
            **asdict(self.timing_key),
            onnx_sha256=self.model.card.sha256.get(self.file(graph), ''),
            precision='fp16' if halved else self.precision,
            dla=self.dla,
            workspace=self.workspace,
        )

    def cached(self, graph: str) -> bytes | None:
        """Return the graph's plan, None if the cache lacks it. Raises ModelError."""
        self.model.file(self.file(graph))  # check that the file still has the hash on the card
        return self.cache.read(self.key(graph))

    def build(self, graph: str) -> bytes:
        """Build the graph's plan, which takes minutes. Raises EngineError, ModelError."""
        name, key = self.file(graph), self.key(graph)
        onnx = graph_content(self.model, name)
        LOG.info(
            'building %s in %s with TensorRT %s for %s, which takes minutes',
            *(self.model.folder / name, key.precision, self.version, self.gpu.name),
        )
        started = time.monotonic()
        options = BuildOptions(key.precision, self.workspace, self.dla)
        timing = self.cache.read(self.timing_key)
        path = str(self.model.folder / name)
        plan, timing = build_plan(path, onnx, options, timing)
        LOG.info('built %s in %.0f s', name, time.monotonic() - started)
        if timing is not None:
            try:
                self.cache.write(self.timing_key, timing, {'what': 'TensorRT timing cache'})
            except EngineError as error:
                LOG.warning('cannot save the timing cache; the next build is not faster: %s', error)
        return plan

    def store(self, graph: str, plan: bytes) -> Path:
        """Put a plan into the cache; return its path. Raises EngineError if that fails."""
        about = {
            'what': f'TensorRT plan of {self.file(graph)}',
            'model': self.model.card.name,
            'built': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            'hcat_ros': __version__,
        }
        return self.cache.write(self.key(graph), plan, about)


def tensorrt_version() -> str:
    """Return TensorRT's version. Raises EngineError if it or Polygraphy is missing or too old."""
    try:
        import tensorrt
    except ImportError as error:
        raise EngineError(
            f'TensorRT cannot be imported ({error}); on a Jetson apt install python3-libnvinfer '
            '(a venv needs --system-site-packages to see it); elsewhere pip install tensorrt'
        ) from error
    try:
        import polygraphy
        import polygraphy.backend.trt
    except ImportError as error:
        raise EngineError(
            f'Polygraphy cannot be imported ({error}); pip install polygraphy'
        ) from error
    if _release(polygraphy.__version__) < (0, 49):
        raise EngineError(
            f'Polygraphy {polygraphy.__version__} is too old: pip install --upgrade polygraphy'
        )
    version = str(tensorrt.__version__)
    if _release(version) < (8, 5):
        raise EngineError(
            f'TensorRT {version} is too old: uint8 images need 8.5 or later; on a Jetson install '
            'JetPack 6'
        )
    return version


def _release(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version."""
    return tuple(int(part) for part in version.split('.')[:2])
