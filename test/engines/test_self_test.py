# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import hashlib
import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from runtimes import change_card

pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

from hcat_ros.engines import Engine, EngineCard, EngineError, Features, Prediction, load_engine
from hcat_ros.engines.self_test import TOLERANCES, self_test
from hcat_ros.models import REFERENCE_FILE, SEARCH_FILE, Model, ModelError, load_model

if TYPE_CHECKING:
    from onnx import ModelProto


@pytest.fixture(scope='module')
def engine() -> Engine:
    return load_engine(engine='onnxruntime', precision='fp32', threads=1)


@pytest.fixture
def copy(tmp_path: Path) -> Model:
    """A copy of the shipped model to change."""
    return load_model(shutil.copytree(load_model().folder, tmp_path / 'copy'))


@pytest.fixture
def graph(copy: Model) -> ModelProto:
    """The search graph of `copy`."""
    onnx = pytest.importorskip('onnx', reason='needs onnx to change a graph')
    return onnx.load(str(copy.folder / SEARCH_FILE))


def with_graph(model: Model, graph: ModelProto, **settings: Any) -> Model:
    """Replace the search graph of a model, and its hash in the card's file."""
    import onnx

    path = model.folder / SEARCH_FILE
    onnx.save(graph, str(path), **settings)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    change_card(model.folder, lambda card: card['sha256'].update({SEARCH_FILE: digest}))
    return load_model(model.folder)


def rename_scores(graph: ModelProto) -> None:
    """Call the output `scores` of the network `found`, so that another node can compute it."""
    for node in graph.graph.node:
        node.output[:] = ['found' if name == 'scores' else name for name in node.output]


class Off:
    """An engine with a constant error in its predictions, which claims the given precision."""

    def __init__(self, engine: Engine, precision: str, scores: float, boxes: float) -> None:
        self.engine, self.scores, self.boxes = engine, scores, boxes
        self.precision = precision

    @property
    def card(self) -> EngineCard:
        return dataclasses.replace(self.engine.card, precision=self.precision)

    def template(self, crop: np.ndarray) -> Features:
        return self.engine.template(crop)

    def search(self, crop: np.ndarray, features: Features) -> Prediction:
        scores, boxes = self.engine.search(crop, features)
        return Prediction(scores + self.scores, boxes + self.boxes)


def test_the_shipped_model_passes_and_finds_the_target_in_the_middle(engine: Engine) -> None:
    model = load_model()
    self_test(engine, model)
    with np.load(model.file(REFERENCE_FILE)) as stored:
        scores, boxes = stored['scores'], stored['boxes']
        assert (stored['template'] == stored['search'][64:192, 64:192]).all()
    assert scores.max() > 0.3
    assert boxes[scores.argmax()] == pytest.approx([0.5, 0.5, 0.25, 0.25], abs=0.1)
    # Scores are low elsewhere, so an engine that finds nothing fails the self-test.
    assert np.median(scores) < 0.3 * scores.max()


@pytest.mark.parametrize('precision', TOLERANCES)
@pytest.mark.parametrize('part', ['scores', 'box'])
def test_errors_are_accepted_up_to_the_tolerance_of_the_precision(
    engine: Engine, precision: str, part: str
) -> None:
    limit = TOLERANCES[precision]

    def off(by: float) -> Engine:
        return Off(engine, precision, *((by, 0.0) if part == 'scores' else (0.0, by)))

    self_test(off(limit * 0.9), load_model())
    with pytest.raises(EngineError, match=f'in {precision} differs .* in its {part}, more than'):
        self_test(off(limit * 1.1 + 1e-5), load_model())


def test_nan_scores_fail(engine: Engine) -> None:
    with pytest.raises(EngineError, match='by nan in its scores'):
        self_test(Off(engine, 'int8', np.nan, 0.0), load_model())


def test_a_reference_of_another_network_fails(engine: Engine, copy: Model) -> None:
    """The stored scores are those of another network."""
    path = copy.folder / REFERENCE_FILE
    with np.load(path) as stored:
        content = {name: stored[name] for name in stored}
    content['scores'] = content['scores'].T[::-1].copy()
    np.savez(path, **content)
    hashes = {REFERENCE_FILE: hashlib.sha256(path.read_bytes()).hexdigest()}
    card = dataclasses.replace(copy.card, sha256={**copy.card.sha256, **hashes})
    with pytest.raises(EngineError, match='computes something else'):
        self_test(engine, Model(copy.folder, card))


def test_a_damaged_reference_file_raises_a_model_error(engine: Engine, copy: Model) -> None:
    (copy.folder / REFERENCE_FILE).write_bytes(b'damaged')
    with pytest.raises(ModelError, match=r'reference\.npz is damaged'):
        self_test(engine, copy)


def test_a_model_without_a_reference_file_passes(engine: Engine, copy: Model) -> None:
    hashes = {k: v for k, v in copy.card.sha256.items() if k != REFERENCE_FILE}
    (copy.folder / REFERENCE_FILE).unlink()
    card = dataclasses.replace(copy.card, sha256=hashes)
    self_test(Off(engine, 'fp32', 1.0, 1.0), Model(copy.folder, card))


def exchange(model: Model, content: bytes) -> Model:
    """Put another reference into a model, with its hash in the card."""
    (model.folder / REFERENCE_FILE).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    card = dataclasses.replace(model.card, sha256={**model.card.sha256, REFERENCE_FILE: digest})
    return Model(model.folder, card)


def test_a_reference_that_claims_gigabytes_is_refused_before_it_is_read(
    engine: Engine, copy: Model
) -> None:
    """A header of a hundred bytes may declare an array of 2**40 values."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name in ('template', 'search', 'scores', 'boxes'):
            with archive.open(f'{name}.npy', 'w') as file:
                header = {'descr': '|u1', 'fortran_order': False, 'shape': (1 << 40,)}
                np.lib.format.write_array_header_1_0(file, header)
    reason = r'template has the shape \(1099511627776,\), expected \(128, 128, 3\)'
    with pytest.raises(ModelError, match=reason):
        self_test(engine, exchange(copy, written.getvalue()))


@pytest.mark.parametrize('content', [b'', b'no archive', b'PK\x03\x04'])
def test_an_invalid_reference_file_is_refused(engine: Engine, copy: Model, content: bytes) -> None:
    with pytest.raises(ModelError, match='is not what hcat export writes'):
        self_test(engine, exchange(copy, content))


def test_a_graph_with_weights_in_another_file_is_refused(copy: Model, graph: ModelProto) -> None:
    """No hash covers that file, and it may be any file of the machine."""
    changed = with_graph(copy, graph, save_as_external_data=True, location='weights.bin')
    with pytest.raises(EngineError, match='keeps weights in another file'):
        load_engine(changed, 'onnxruntime', 'fp32')


def test_a_graph_with_a_loop_is_refused(copy: Model, graph: ModelProto) -> None:
    """A loop of 2**62 iterations would run forever, and no signal could end it."""
    from onnx import TensorProto, helper

    scores = helper.make_tensor_value_info('a', TensorProto.FLOAT, [1, 16, 16])
    carried = helper.make_tensor_value_info('b', TensorProto.BOOL, [])
    body = helper.make_graph(
        [helper.make_node('Identity', [name], [f'{name}_out']) for name in 'ba'],
        'body',
        [helper.make_tensor_value_info('i', TensorProto.INT64, []), carried, scores],
        [
            helper.make_tensor_value_info('b_out', TensorProto.BOOL, []),
            helper.make_tensor_value_info('a_out', TensorProto.FLOAT, [1, 16, 16]),
        ],
    )
    rename_scores(graph)
    graph.graph.initializer.append(helper.make_tensor('count', TensorProto.INT64, [], [1 << 62]))
    graph.graph.initializer.append(helper.make_tensor('on', TensorProto.BOOL, [], [True]))
    graph.graph.node.append(
        helper.make_node('Loop', ['count', 'on', 'found'], ['scores'], body=body)
    )
    with pytest.raises(EngineError, match='has the operator Loop, whose time and memory have no'):
        load_engine(with_graph(copy, graph), 'onnxruntime', 'fp32')


def test_a_graph_with_a_branch_is_refused(copy: Model, graph: ModelProto) -> None:
    """OpenVINO lists only the tensors outside of branches."""
    from onnx import TensorProto, helper

    rename_scores(graph)
    scores = helper.make_tensor_value_info('same', TensorProto.FLOAT, [1, 16, 16])
    branch = helper.make_graph(
        [helper.make_node('Identity', ['found'], ['same'])], 'branch', [], [scores]
    )
    graph.graph.initializer.append(helper.make_tensor('on', TensorProto.BOOL, [], [True]))
    graph.graph.node.append(
        helper.make_node('If', ['on'], ['scores'], then_branch=branch, else_branch=branch)
    )
    with pytest.raises(EngineError, match='has the operator If, whose time and memory have no'):
        load_engine(with_graph(copy, graph), 'onnxruntime', 'fp32')


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('onnxruntime', r'smaller than requested bytes of 6400000000'),
        ('openvino', r'its tensors take 6\d{9} bytes, more than 2147483648'),
    ],
)
def test_a_graph_that_asks_for_gigabytes_is_refused(
    copy: Model, graph: ModelProto, name: str, message: str
) -> None:
    """Two numbers in it make a tensor of 40000 x 40000 floats."""
    pytest.importorskip(name, reason=f'needs {name}', exc_type=ImportError)
    from onnx import TensorProto, helper

    rename_scores(graph)
    graph.graph.initializer.append(
        helper.make_tensor('shape', TensorProto.INT64, [2], [40000, 40000])
    )
    graph.graph.node.extend(
        [
            helper.make_node('ConstantOfShape', ['shape'], ['zeros']),
            helper.make_node('ReduceSum', ['zeros'], ['zero'], keepdims=0),
            helper.make_node('Add', ['found', 'zero'], ['scores']),
        ]
    )
    with pytest.raises(EngineError, match=message):
        load_engine(with_graph(copy, graph), name, 'fp32')


def test_a_graph_with_functions_is_refused(copy: Model, graph: ModelProto) -> None:
    """Ten levels of functions; each calls the one below ten times."""
    from onnx import helper

    opsets = [helper.make_opsetid('', 17), helper.make_opsetid('own', 1)]
    for level in range(10):
        calls = [
            helper.make_node(
                f'F{level - 1}' if level else 'Identity',
                [f'value{number}'],
                [f'value{number + 1}'],
                domain='own' if level else '',
            )
            for number in range(10)
        ]
        graph.functions.append(
            helper.make_function('own', f'F{level}', ['value0'], ['value10'], calls, opsets)
        )
    rename_scores(graph)
    graph.opset_import.append(opsets[1])
    graph.graph.node.append(helper.make_node('F9', ['found'], ['scores'], domain='own'))
    with pytest.raises(EngineError, match='has functions, which may expand to any number of nodes'):
        load_engine(with_graph(copy, graph), 'onnxruntime', 'fp32')


def test_constants_that_a_graph_computes_are_not_kept(copy: Model, graph: ModelProto) -> None:
    """Twelve sums of 400 MB each; each constant is freed after its sum."""
    from onnx import TensorProto, helper

    rename_scores(graph)
    for number in range(12):
        shape = helper.make_tensor(
            f'shape{number}', TensorProto.INT64, [2], [10000, 10000 + number]
        )
        graph.graph.initializer.append(shape)
        graph.graph.node.extend(
            [
                helper.make_node('ConstantOfShape', [shape.name], [f'zeros{number}']),
                helper.make_node('ReduceSum', [f'zeros{number}'], [f'zero{number}'], keepdims=0),
            ]
        )
    zeros = [f'zero{number}' for number in range(12)]
    graph.graph.node.append(helper.make_node('Sum', ['found', *zeros], ['scores']))
    with_graph(copy, graph)
    program = (
        'import resource\n'
        'from hcat_ros.models import load_model\n'
        'from hcat_ros.engines.onnxruntime_engine import OnnxRuntimeEngine\n'
        'from hcat_ros.engines.self_test import self_test\n'
        f'model = load_model({str(copy.folder)!r})\n'
        'self_test(OnnxRuntimeEngine(model, "fp32"), model)\n'
        'print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n'
    )
    done = subprocess.run([sys.executable, '-c', program], stdout=subprocess.PIPE, check=True)
    assert int(done.stdout) < 1.5 * 2**20  # KiB


def test_an_engine_chosen_by_name_has_to_pass(copy: Model, graph: ModelProto) -> None:
    """The hash in the card is right, but the graph has other weights."""
    values = next(each for each in graph.graph.initializer if each.name.endswith('weight'))
    values.raw_data = bytes(len(values.raw_data))
    with pytest.raises(EngineError, match='differs from the network'):
        load_engine(with_graph(copy, graph), 'onnxruntime', 'fp32')
