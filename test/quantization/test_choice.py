# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from hcat_ros.evaluation.clips import Clip
from hcat_ros.models import load_model
from hcat_ros.quantization.choice import Judge, Overlap, prefixes, worst_first, write_accepted
from hcat_ros.quantization.graph import Error


def test_prefixes_double_from_no_layer_to_half_of_the_layers() -> None:
    assert [list(choice) for choice in prefixes('abcdefghi')] == [
        [],
        ['a'],
        ['a', 'b'],
        ['a', 'b', 'c', 'd'],
    ]
    assert [list(choice) for choice in prefixes('')] == [[]]


def test_an_overlap_shows_its_standard_error() -> None:
    overlap = Overlap((0.6, 0.5, 0.7))
    assert str(overlap) == '0.600 ± 0.058 (from the true boxes 0.600)'
    assert Overlap((0.5,)).standard_error == 0


class Layers:
    """A test double of a quantizer with four layers, which writes their names as a "graph"."""

    layers = ('a', 'b', 'c', 'd')

    def alone(self, layer: str) -> Error:
        return {'a': Error(0.1, 0.1), 'b': Error(0.5, 0), 'c': Error(0, 0.3), 'd': Error(0, 0)}[
            layer
        ]

    def write(self, path: Path, in_float: Sequence[str], tensorrt: bool = False) -> None:
        path.write_text(','.join(in_float))

    def error(self, path: Path) -> Error:
        return Error(0, 0)


class Needs:
    """A judge that accepts a graph only if the needed layer is in float."""

    def __init__(self, needed: str) -> None:
        self.needed = needed

    def overlap(self, graph: Path, for_tensorrt: bool = False) -> Overlap:
        good = self.needed in graph.read_text().split(',')
        return Overlap((0.6 if good else 0.5,))


def test_a_judge_refuses_clips_with_a_single_box(tmp_path: Path) -> None:
    boxes = np.array([[1, 1, 5, 5], [np.nan] * 4])
    once = Clip('once', (Path('0.png'), Path('1.png')), boxes)
    with (
        pytest.warns(UserWarning, match='skipped once'),
        pytest.raises(ValueError, match='no sequence can be scored: once'),
    ):
        Judge(load_model('hcat_base'), [once], tmp_path)


def test_the_worst_layer_comes_first() -> None:
    assert worst_first(Layers()) == ['b', 'c', 'a', 'd']  # type: ignore[arg-type]


def test_as_few_layers_as_possible_stay_in_float(tmp_path: Path) -> None:
    found = write_accepted(Layers(), Needs('c'), 'bcad', tmp_path / 'g.onnx', 0.59)  # type: ignore[arg-type]
    assert found is not None
    assert (list(found[0]), found[1].mean) == (['b', 'c'], 0.6)
    assert (tmp_path / 'g.onnx').read_text() == 'b,c'


def test_no_graph_is_written_if_none_tracks_well_enough(tmp_path: Path) -> None:
    assert write_accepted(Layers(), Needs('d'), 'bcad', tmp_path / 'g.onnx', 0.59) is None  # type: ignore[arg-type]
    assert not (tmp_path / 'g.onnx').exists()


@pytest.mark.parametrize('tensorrt', [False, True])
def test_a_judge_tracks_with_the_quantized_graph(
    quantizer: Any, clips: list[Clip], tmp_path: Path, tensorrt: bool
) -> None:
    model = load_model('hcat_base')
    before = (model.folder / 'model.yaml').read_bytes()
    judge = Judge(model, clips, tmp_path, starts=2)
    reference = judge.float_overlap()
    assert len(reference.starts) == 2
    assert reference.mean > 0.4
    graph = tmp_path / 'graph.onnx'
    quantizer.write(graph, (), tensorrt)
    found = judge.overlap(graph, tensorrt)
    assert found != reference, 'the graph was used'
    assert found.mean == pytest.approx(reference.mean, abs=0.2)
    assert (model.folder / 'model.yaml').read_bytes() == before
