# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('onnx', reason='needs onnx')
pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

from hcat_ros.engines import EngineError
from hcat_ros.evaluation.reference_engine import ReferenceEngine, ReferenceGraphs
from hcat_ros.network.reference_graph import SEARCH_FILE, TEMPLATE_FILE, export_reference
from hcat_ros.tracking import Tracker


@pytest.fixture(scope='module')
def graphs(golden_network: Any, tmp_path_factory: pytest.TempPathFactory) -> ReferenceGraphs:
    folder = tmp_path_factory.mktemp('reference')
    export_reference(golden_network, folder)
    backbone = golden_network.backbone
    return ReferenceGraphs(
        'golden',
        folder / TEMPLATE_FILE,
        folder / SEARCH_FILE,
        128,
        256,
        16,
        backbone.mean,
        backbone.std,
        1,
    )


def test_the_reference_engine_matches_the_reference_network(
    graphs: ReferenceGraphs, golden_crops: Any, golden_prediction: Any
) -> None:
    engine = ReferenceEngine(graphs, threads=1)
    template, search = golden_crops
    found = engine.search(search, engine.template(template))
    np.testing.assert_allclose(found.scores, golden_prediction.scores, atol=1e-4, rtol=0)
    np.testing.assert_allclose(found.boxes, golden_prediction.boxes, atol=1e-4, rtol=0)
    assert engine.card.runtime == 'onnxruntime'


def test_normalisation_and_search_are_timed_separately(
    graphs: ReferenceGraphs, picture: Any
) -> None:
    tracker = Tracker(engine := ReferenceEngine(graphs, threads=1))
    tracker.init(picture(240, 320, 0), (100, 80, 60, 80))
    tracker.update(picture(240, 320, 1))
    assert 0 < engine.preparing < tracker.stage_times.engine


def test_a_graph_that_does_not_load_is_an_engine_error(
    graphs: ReferenceGraphs, tmp_path: Path
) -> None:
    (tmp_path / 'broken.onnx').write_bytes(b'no graph')
    with pytest.raises(EngineError, match='cannot load the reference graphs'):
        ReferenceEngine(replace(graphs, search=tmp_path / 'broken.onnx'))
