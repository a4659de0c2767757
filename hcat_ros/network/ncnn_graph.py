# SPDX-License-Identifier: Apache-2.0
"""Writes the network's two graphs for ncnn with pnnx, ncnn's converter from TorchScript.

The ONNX graphs cannot be the source: pnnx 20261020 converts them to a reduction without axes and
keeps the batch axis in places, and ncnn supports neither.
"""

from __future__ import annotations

import importlib.util
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from hcat_ros.files import scratch_folder
from hcat_ros.models import SEARCH_NCNN, TEMPLATE_NCNN
from hcat_ros.network.export import ExportError, SearchGraph, TemplateGraph
from hcat_ros.network.hcat import HCAT

TRACE = 'graph.pt'
"""File of the traced graph, after which pnnx names its output: graph.ncnn.param and others."""


class _Unfused(TorchFunctionMode):
    """Replaces `F.normalize` over rows by plain arithmetic.

    pnnx would convert `F.normalize` to a layer that normalises differently, and only log it.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is F.normalize:
            x = args[0]
            return x * torch.rsqrt((x * x).sum(-1, keepdim=True))
        return func(*args, **(kwargs or {}))


def write_ncnn_graphs(model: HCAT, folder: Path) -> list[str]:
    """Write `template.ncnn` and `search.ncnn`, each as .param and .bin; return the files' names.

    The graphs are the ONNX graphs without the batch axis and with float32 crops, RGB in 0..255:
    crop (256, 256, 3) and the features by name -> scores (16, 16), boxes (256, 4). Weights are
    float32. Raises ExportError if pnnx is missing or fails.
    """
    model = model.eval()
    sizes = (model.config.template_size, model.config.search_size)
    with torch.inference_mode():
        z, x = (torch.zeros(1, size, size, 3) for size in sizes)
        names = list(model.template(model.normalise(z)))
        template_graph = TemplateGraph(model).eval()
        features = template_graph(z)
    _write(template_graph, (z,), ['crop'], names, folder / TEMPLATE_NCNN)
    search_graph = SearchGraph(model, names).eval()
    inputs = ['crop', *names]
    _write(search_graph, (x, *features), inputs, ['scores', 'boxes'], folder / SEARCH_NCNN)
    return [
        f'{graph}.{kind}' for graph in (TEMPLATE_NCNN, SEARCH_NCNN) for kind in ('param', 'bin')
    ]


def _write(
    graph: nn.Module,
    args: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    path: Path,
) -> None:
    """Write a graph as `path`.param and `path`.bin, with names for its inputs and outputs."""
    with scratch_folder('pnnx', path.parent) as made:
        with warnings.catch_warnings(), torch.inference_mode(), _Unfused():
            # The tracer warns about every Python number, but shapes are static on purpose.
            warnings.simplefilter('ignore')
            torch.jit.trace(graph, args, check_trace=False).save(str(made / TRACE))
        # pnnx stores float16 weights by default.
        command = [str(_pnnx()), TRACE, 'fp16=0']
        done = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False)
        param, weights = (made / Path(TRACE).with_suffix(f'.ncnn.{k}') for k in ('param', 'bin'))
        if done.returncode or not param.is_file() or not weights.is_file():
            last = (done.stdout + done.stderr).strip()[-500:]
            raise ExportError(f'pnnx failed on {path.name} with code {done.returncode}: {last}')
        shapes = dict(zip(inputs, (tuple(value.shape[1:]) for value in args)))
        named = _named(param.read_text(encoding='utf-8'), shapes, outputs)
        weights.replace(f'{path}.bin')
        Path(f'{path}.param').write_text(named, encoding='utf-8')


def _named(text: str, inputs: dict[str, tuple[int, ...]], outputs: Sequence[str]) -> str:
    """Return a .param file with our names instead of in0, out0, ... and with the inputs' shapes.

    ncnn neither needs nor checks the shapes; `NcnnEngine` checks them.
    """
    names = {f'in{i}': name for i, name in enumerate(inputs)}
    names.update({f'out{i}': name for i, name in enumerate(outputs)})
    lines = []
    for line in text.splitlines():
        # Cells: type, name, number of inputs, number of outputs, their names, parameters
        cells = line.split()
        if len(cells) > 3:
            end = 4 + int(cells[2]) + int(cells[3])
            cells[4:end] = [names.get(cell, cell) for cell in cells[4:end]]
            if cells[0] == 'Input':
                shape = reversed(inputs[cells[4]])
                cells[end:] = [f'{axis}={size}' for axis, size in enumerate(shape)]
        lines.append(' '.join(cells))
    return '\n'.join(lines) + '\n'


def _pnnx() -> Path:
    """Return the path of the pnnx program. Raises ExportError if it is missing."""
    # pnnx's Python module wraps the program but ignores its failures.
    found = importlib.util.find_spec('pnnx')
    for folder in (found.submodule_search_locations or ()) if found else ():
        if (Path(folder) / 'pnnx').is_file():
            return Path(folder) / 'pnnx'
    raise ExportError("pnnx is missing; pip install 'hcat_ros[export-ncnn]'")
