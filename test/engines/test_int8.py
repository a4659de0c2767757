# SPDX-License-Identifier: Apache-2.0
"""The shipped INT8 graphs in the runtimes for the CPU."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from hcat_ros.engines import EngineError, load_engine
from hcat_ros.engines.self_test import TOLERANCES, self_test
from hcat_ros.models import (
    CARD_FILE,
    INT8_SEARCH_FILE,
    REFERENCE_FILE,
    Model,
    ModelError,
    load_model,
)


@pytest.fixture(params=['onnxruntime', 'openvino'])
def name(request: pytest.FixtureRequest) -> str:
    pytest.importorskip(request.param)
    return str(request.param)


@pytest.fixture
def copy(tmp_path: Path) -> Model:
    return load_model(shutil.copytree(load_model('hcat_base').folder, tmp_path / 'copy'))


def test_int8_scores_stay_close_to_fp32(name: str) -> None:
    model = load_model('hcat_base')
    with np.load(model.file(REFERENCE_FILE)) as stored:
        template, search = stored['template'], stored['search']
    scores = []
    for precision in ('int8', 'fp32'):
        engine = load_engine(model, name, precision)
        self_test(engine, model)
        assert engine.card.precision == precision
        scores.append(engine.search(search, engine.template(template)).scores)
    off = np.abs(scores[0] - scores[1]).max()
    # OpenVINO differs by 0.10 on processors without VNNI, where sums of products saturate.
    assert 1e-4 < off < TOLERANCES['int8'] * 0.75
    assert np.argmax(scores[0]) == np.argmax(scores[1])


def test_a_model_without_an_int8_graph_suggests_hcat_quantize(name: str, copy: Model) -> None:
    path = copy.folder / CARD_FILE
    card = yaml.safe_load(path.read_text())
    del card['sha256'][INT8_SEARCH_FILE]
    path.write_text(yaml.safe_dump(card))
    with pytest.raises(EngineError, match=rf'lists no {INT8_SEARCH_FILE}.*hcat quantize'):
        load_engine(copy.folder, name, 'int8')


def test_a_damaged_int8_graph_is_refused_but_fp32_still_loads(name: str, copy: Model) -> None:
    (copy.folder / INT8_SEARCH_FILE).write_bytes(b'')
    with pytest.raises(ModelError, match=f'{INT8_SEARCH_FILE} is damaged'):
        load_engine(copy, name, 'int8')
    load_engine(copy, name, 'fp32')
