# SPDX-License-Identifier: Apache-2.0
"""Benchmark of batched searches: one call for several targets against one call for each target.

Exports the search graph for each batch size. Times it in ONNX Runtime and OpenVINO in turn with the
single graph, which is called once for each target. Prints a table of ms a target and of the ratio.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import torch

from hcat_ros.markdown import markdown_table
from hcat_ros.models import DEFAULT_MODEL, WEIGHTS_FILE, load_model
from hcat_ros.network.checkpoint import load_checkpoint
from hcat_ros.network.export import SearchGraph, TemplateGraph
from hcat_ros.network.hcat import HCAT
from hcat_ros.network.onnx_graph import write_graph

Call = Callable[[], object]


def export_search(model: HCAT, batch: int, path: Path) -> dict[str, np.ndarray]:
    """Write the search graph for a batch, and return inputs for it."""
    rng = np.random.default_rng(0)
    sides = (model.config.template_size, model.config.search_size)
    z, x = (torch.from_numpy(rng.integers(0, 256, (batch, s, s, 3), np.uint8)) for s in sides)
    with torch.inference_mode():
        names = list(model.template(model.normalise(z)))
        features = TemplateGraph(model).eval()(z)
        inputs = dict(zip(['crop', *names], (x, *features)))
        graph = SearchGraph(model, names)
        write_graph(graph, tuple(inputs.values()), list(inputs), ['scores', 'boxes'], path)
    return {name: value.numpy() for name, value in inputs.items()}


def onnxruntime_call(path: Path, inputs: dict[str, np.ndarray], threads: int) -> Call:
    """Return a search of the graph in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, ['CPUExecutionProvider'])
    used = {item.name for item in session.get_inputs()}
    given = {name: value for name, value in inputs.items() if name in used}
    return lambda: session.run(None, given)


def openvino_call(path: Path, inputs: dict[str, np.ndarray], threads: int) -> Call:
    """Return a search of the graph in OpenVINO."""
    settings = {'INFERENCE_NUM_THREADS': threads, 'INFERENCE_PRECISION_HINT': 'f32'}
    request = openvino.compile_model(path, 'CPU', settings).create_infer_request()
    names = {name for item in request.model_inputs for name in item.get_names()}
    given = {name: value for name, value in inputs.items() if name in names}
    return lambda: request.infer(given)


def time_call(call: Call, times: int) -> float:
    """Return the duration of a number of calls, s."""
    began = time.perf_counter()
    for _ in range(times):
        call()
    return time.perf_counter() - began


def main() -> None:
    """Export the graphs, time them and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--model', default=DEFAULT_MODEL)
    parser.add_argument('--batches', type=int, nargs='+', default=[2, 4, 8])
    parser.add_argument('--rounds', type=int, default=40)
    parser.add_argument('--threads', type=int, default=1)
    arguments = parser.parse_args()
    model = load_checkpoint(load_model(arguments.model).folder / WEIGHTS_FILE).eval()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for engine, make in (('ONNX Runtime', onnxruntime_call), ('OpenVINO', openvino_call)):
            calls = {}
            for batch in (1, *arguments.batches):
                path = Path(folder) / f'search{batch}.onnx'
                calls[batch] = make(path, export_search(model, batch, path), arguments.threads)
                calls[batch]()
            for batch in arguments.batches:
                single, together = [], []
                for _ in range(arguments.rounds):
                    single.append(time_call(calls[1], batch))
                    together.append(time_call(calls[batch], 1))
                times = [1e3 * float(np.median(found)) / batch for found in (single, together)]
                ratio = float(np.median(np.array(single) / np.array(together)))
                rows.append((engine, str(batch), *(f'{ms:.1f}' for ms in times), f'{ratio:.2f}'))
    titles = ('engine', 'targets', 'ms a target, one by one', 'in one call', 'times as fast')
    print(markdown_table(titles, rows, 'lrrrr'))


if __name__ == '__main__':
    main()
