# SPDX-License-Identifier: Apache-2.0
"""The engine contract with every kind of network that the paper compares.

The networks have small heads and search regions but real backbones.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs PyTorch')

import torch
from numpy.testing import assert_allclose
from runtimes import loaded

# The tests of the contract, which use the fixtures below.
from test_engine_contract import (
    test_a_crop_of_the_wrong_data_type_is_refused,
    test_crops_are_not_modified,
    test_predictions_and_later_searches_do_not_overwrite_each_other,
    test_swapping_red_and_blue_changes_the_scores,
    test_the_caller_may_overwrite_a_crop_after_the_call,
    test_the_number_of_threads_does_not_change_the_prediction,
    test_two_engines_of_one_model_do_not_share_state,
    test_two_templates_can_be_used_alternately,
)

from hcat_ros.engines import Engine, EngineError
from hcat_ros.models import Model, load_model
from hcat_ros.network import HCAT, HCATConfig
from hcat_ros.network.export import export_model
from hcat_ros.tracking import Tracker

__all__ = [
    'test_a_crop_of_the_wrong_data_type_is_refused',
    'test_crops_are_not_modified',
    'test_predictions_and_later_searches_do_not_overwrite_each_other',
    'test_swapping_red_and_blue_changes_the_scores',
    'test_the_caller_may_overwrite_a_crop_after_the_call',
    'test_the_number_of_threads_does_not_change_the_prediction',
    'test_two_engines_of_one_model_do_not_share_state',
    'test_two_templates_can_be_used_alternately',
]

SMALL = {
    'channels': 32,
    'heads': 4,
    'ffn_channels': 32,
    'layers': 2,
    'template_size': 64,
    'search_size': 128,
}
LITE0 = {'backbone': 'efficientnet_lite0'}
TRANST: dict[str, Any] = {
    'backbone': 'resnet50',
    'stride': 8,
    'dilation': True,
    'attention': 'self+cross',
    'sparsification': False,
}
NETWORKS: dict[str, dict[str, Any]] = {
    'transt': {**TRANST, 'hierarchical': False},
    'transt_h': TRANST,
    'baseline_sa': {**LITE0, 'sparsification': False, 'attention': 'self'},
    'baseline': {**LITE0, 'sparsification': False, 'hierarchical': False},
    'stride8': {**LITE0, 'stride': 8, 'sparse_vectors': 25},
    'convnext_tiny': {'backbone': 'convnext_tiny'},
    'mobilenetv2': {'backbone': 'mobilenetv2'},
}


@pytest.fixture(scope='module')
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of each exported network, so that each is exported only once."""
    return {name: tmp_path_factory.mktemp(name) / 'model' for name in NETWORKS}


@pytest.fixture(scope='module', params=NETWORKS)
def model(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Model:
    if request.param in ('convnext_tiny', 'mobilenetv2') and not importlib.util.find_spec('timm'):
        pytest.skip('needs timm')
    folder = folders[request.param]
    if not folder.exists():
        torch.manual_seed(0)
        export_model(HCAT(HCATConfig(**{**SMALL, **NETWORKS[request.param]})), folder)
    return load_model(folder)


@pytest.fixture(scope='module', params=['onnxruntime', 'openvino'])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope='module')
def shipped_model(model: Model) -> Model:
    return model


@pytest.fixture(scope='module')
def shipped(model: Model, name: str) -> Engine:
    return loaded(model, name, precision='fp32')


@pytest.fixture
def crops(model: Model) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    z, x = model.card.template_size, model.card.search_size
    return rng.integers(0, 256, (z, z, 3), np.uint8), rng.integers(0, 256, (x, x, 3), np.uint8)


def test_predictions_match_the_networks_own_output(shipped: Engine, model: Model) -> None:
    with np.load(model.file('reference.npz')) as stored:
        found = shipped.search(stored['search'], shipped.template(stored['template']))
        assert_allclose(found.scores, stored['scores'], atol=1e-4)
        assert_allclose(found.boxes, stored['boxes'], atol=1e-4)
    assert found.scores.shape == (model.card.grid,) * 2
    assert model.card.grid == model.card.search_size // model.card.network['stride']


def test_a_crop_of_the_wrong_size_is_refused(shipped: Engine, crops: tuple[Any, Any]) -> None:
    with pytest.raises(EngineError, match='template'):
        shipped.template(crops[1])
    with pytest.raises(EngineError):
        shipped.search(crops[0], shipped.template(crops[0]))


def test_a_tracker_runs_with_the_engine(shipped: Engine) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)
    tracker = Tracker(shipped)
    tracker.init(frame, (60, 40, 30, 20))
    box = tracker.update(frame).box
    assert 0 <= box.cx <= 160
    assert 0 <= box.cy <= 120
