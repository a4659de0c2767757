# SPDX-License-Identifier: Apache-2.0
"""The contract that every runtime fulfils, with the same model and reference outputs."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from runtimes import loaded, with_graphs
from tensorrt_double import rehashed

from hcat_ros.engines import ENGINES, Engine, EngineError, Prediction, load_engine
from hcat_ros.engines.candidates import COMPARED
from hcat_ros.engines.self_test import TOLERANCES
from hcat_ros.models import (
    SEARCH_FILE,
    SEARCH_NCNN,
    TEMPLATE_FILE,
    TEMPLATE_NCNN,
    WEIGHTS_FILE,
    Model,
    ModelError,
    load_model,
)
from hcat_ros.tracking import Tracker, TrackerConfig

Crops = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope='module', params=ENGINES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope='module')
def shipped_model(name: str, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The shipped model."""
    return with_graphs(load_model('hcat_base'), name, tmp_path_factory.mktemp('shipped'))


@pytest.fixture(scope='module')
def shipped(name: str, shipped_model: Model) -> Engine:
    """The runtime with the shipped model, in float."""
    return loaded(shipped_model, name, precision='fp32' if name in COMPARED else 'auto')


@pytest.fixture(scope='module')
def reference(name: str, golden_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The runtime with the network of the golden outputs."""
    return loaded(with_graphs(golden_model, name, tmp_path_factory.mktemp('golden')), name)


@pytest.fixture
def crops() -> Crops:
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (128, 128, 3), np.uint8), rng.integers(
        0, 256, (256, 256, 3), np.uint8
    )


@pytest.fixture
def copy(shipped_model: Model, tmp_path: Path) -> Path:
    """A copy of the shipped model to damage."""
    return Path(shutil.copytree(shipped_model.folder, tmp_path / 'copy'))


def test_predictions_match_the_golden_reference(
    reference: Engine, golden_crops: Crops, golden_prediction: Prediction
) -> None:
    template, search = golden_crops
    prediction = reference.search(search, reference.template(template))
    precision = reference.card.precision
    tolerance = 1e-4 if precision == 'fp32' else TOLERANCES[precision]
    assert_allclose(prediction.scores, golden_prediction.scores, atol=tolerance, rtol=0)
    assert_allclose(prediction.boxes, golden_prediction.boxes, atol=tolerance, rtol=0)


def test_the_engine_card_describes_model_and_runtime(shipped: Engine, name: str) -> None:
    card = shipped.card
    assert (card.model, card.runtime) == ('hcat_base', name)
    assert (card.template_size, card.search_size, card.grid) == (128, 256, 16)
    assert card.runtime_version[0].isdigit()
    assert card.precision
    assert card.precision != 'auto'


def test_a_prediction_has_the_documented_shapes_and_ranges(shipped: Engine, crops: Crops) -> None:
    prediction = shipped.search(crops[1], shipped.template(crops[0]))
    assert isinstance(prediction, Prediction)
    assert prediction.scores.shape == (16, 16)
    assert prediction.boxes.shape == (256, 4)
    assert prediction.scores.min() >= 0
    assert prediction.scores.max() <= 1
    assert prediction.boxes.min() >= 0
    assert prediction.boxes.max() <= 1


def test_crops_are_not_modified(shipped: Engine, crops: Crops) -> None:
    before = [crop.copy() for crop in crops]
    for crop in crops:
        crop.flags.writeable = False
    shipped.search(crops[1], shipped.template(crops[0]))
    assert all((crop == old).all() for crop, old in zip(crops, before, strict=True))


def test_the_caller_may_overwrite_a_crop_after_the_call(shipped: Engine, crops: Crops) -> None:
    expected = shipped.search(crops[1], shipped.template(crops[0]))
    features = shipped.template(crops[0])
    crops[0][:] = 0
    found = shipped.search(crops[1], features)
    assert (found.scores == expected.scores).all()
    assert (found.boxes == expected.boxes).all()


def test_predictions_and_later_searches_do_not_overwrite_each_other(
    shipped: Engine, crops: Crops
) -> None:
    features = shipped.template(crops[0])
    first = shipped.search(crops[1], features)
    kept = first.scores.copy(), first.boxes.copy()
    second = shipped.search(255 - crops[1], features)
    assert (second.scores != first.scores).any()
    assert (first.scores == kept[0]).all()
    assert (first.boxes == kept[1]).all()
    second.scores[:] = 7
    assert (shipped.search(crops[1], features).scores == kept[0]).all()


def test_two_templates_can_be_used_alternately(shipped: Engine, crops: Crops) -> None:
    one, other = shipped.template(crops[0]), shipped.template(255 - crops[0])
    of_one, of_other = shipped.search(crops[1], one), shipped.search(crops[1], other)
    assert (of_one.scores != of_other.scores).any()
    for _ in range(2):
        assert (shipped.search(crops[1], one).scores == of_one.scores).all()
        assert (shipped.search(crops[1], other).boxes == of_other.boxes).all()


def test_swapping_red_and_blue_changes_the_scores(shipped: Engine, crops: Crops) -> None:
    features = shipped.template(crops[0])
    swapped = np.ascontiguousarray(crops[1][:, :, ::-1])
    assert (
        shipped.search(swapped, features).scores != shipped.search(crops[1], features).scores
    ).any()


@pytest.mark.parametrize(
    'shape', [(128, 128, 3), (256, 256), (256, 256, 1), (1, 1, 3), (256, 256, 4), (0, 0, 3)]
)
def test_a_search_crop_of_the_wrong_shape_is_refused(
    shipped: Engine, crops: Crops, shape: tuple[int, ...]
) -> None:
    features = shipped.template(crops[0])
    expected = shipped.search(crops[1], features)
    with pytest.raises(EngineError):
        shipped.search(np.zeros(shape, np.uint8), features)
    assert (shipped.search(crops[1], features).scores == expected.scores).all()


@pytest.mark.parametrize('shape', [(256, 256, 3), (128, 128), (128, 128, 1), (0, 0, 3)])
def test_a_template_crop_of_the_wrong_shape_is_refused(
    shipped: Engine, shape: tuple[int, ...]
) -> None:
    with pytest.raises(EngineError, match='template'):
        shipped.template(np.zeros(shape, np.uint8))


def test_a_crop_of_the_wrong_data_type_is_refused(shipped: Engine, crops: Crops) -> None:
    features = shipped.template(crops[0])
    with pytest.raises(EngineError, match=r'search crop: expected .* uint8, got .* float32'):
        shipped.search(crops[1].astype(np.float32), features)
    with pytest.raises(EngineError, match=r'template crop: expected .* uint8, got .* float32'):
        shipped.template(crops[0].astype(np.float32))


def test_the_number_of_threads_does_not_change_the_prediction(
    name: str, shipped_model: Model, shipped: Engine, crops: Crops
) -> None:
    other = loaded(shipped_model, name, precision=shipped.card.precision, threads=1)
    expected = shipped.search(crops[1], shipped.template(crops[0]))
    found = other.search(crops[1], other.template(crops[0]))
    assert_allclose(found.scores, expected.scores, atol=1e-4)
    assert_allclose(found.boxes, expected.boxes, atol=1e-4)


def test_two_engines_of_one_model_do_not_share_state(
    name: str, shipped_model: Model, shipped: Engine, crops: Crops
) -> None:
    other = loaded(shipped_model, name, precision=shipped.card.precision)
    mine, theirs = shipped.template(crops[0]), other.template(255 - crops[0])
    expected = shipped.search(crops[1], mine)
    other.search(255 - crops[1], theirs)
    assert (shipped.search(crops[1], mine).scores == expected.scores).all()


@pytest.mark.parametrize(
    ('settings', 'reason'),
    [
        ({'precision': 'fp1'}, "no precision 'fp1'"),
        ({'threads': -1}, 'threads -1: expected 0'),
        ({'threads': 257}, 'threads 257: expected 0 (one per core) to 256'),
    ],
)
def test_unsupported_settings_are_refused(
    name: str, shipped_model: Model, shipped: Engine, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(EngineError) as error:
        load_engine(shipped_model, name, **settings)
    assert reason in str(error.value)
    assert str(error.value).startswith(f'{name}: ')


def files(name: str) -> tuple[str, ...]:
    """The files a runtime reads: those of the template graph, then those of the search graph."""
    if name == 'ncnn':
        return tuple(
            f'{g}.{kind}' for g in (TEMPLATE_NCNN, SEARCH_NCNN) for kind in ('param', 'bin')
        )
    return (WEIGHTS_FILE,) if name == 'torch' else (TEMPLATE_FILE, SEARCH_FILE)


def test_a_damaged_file_is_not_loaded(name: str, shipped: Engine, copy: Path) -> None:
    for file in files(name):
        whole = (copy / file).read_bytes()
        content = bytearray(whole)
        content[1000] ^= 1
        (copy / file).write_bytes(content)
        with pytest.raises(ModelError, match=f'{file} is damaged'):
            load_engine(copy, name)
        (copy / file).write_bytes(whole)


@pytest.mark.parametrize('content', [b'', b'no graph', None])
def test_an_invalid_model_file_is_named_in_the_error(
    name: str, shipped: Engine, copy: Path, content: bytes | None
) -> None:
    """The hash in the card is right, but the content is not; None stands for half of the file."""
    for path in (copy / file for file in files(name)):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content is None else content)
        with pytest.raises(EngineError) as error:
            load_engine(rehashed(copy), name, 'fp32')
        assert str(path) in str(error.value)
        path.write_bytes(whole)


@pytest.mark.parametrize(
    'sizes', [{'grid': 8}, {'search_size': 128}, {'template_size': 256}], ids=str
)
def test_a_card_that_does_not_match_the_network_is_refused_when_loading(
    name: str, shipped: Engine, copy: Path, sizes: dict[str, int]
) -> None:
    model = load_model(copy)
    card = dataclasses.replace(model.card, **sizes)
    with pytest.raises(EngineError) as error:
        load_engine(Model(copy, card), name)
    assert str(copy) in str(error.value)


def test_swapped_template_and_search_graphs_are_refused_when_loading(
    name: str, shipped: Engine, copy: Path
) -> None:
    if name == 'torch':
        pytest.skip('torch reads no graphs')
    half = len(files(name)) // 2
    for template, search in zip(files(name)[:half], files(name)[half:], strict=True):
        other = (copy / search).read_bytes()
        (copy / search).write_bytes((copy / template).read_bytes())
        (copy / template).write_bytes(other)
    with pytest.raises(EngineError) as error:
        load_engine(rehashed(copy), name)
    assert str(copy) in str(error.value)


def test_the_bytes_that_were_hashed_are_the_bytes_that_are_loaded(
    name: str, shipped: Engine, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files are overwritten right after they are read and hashed, without any effect."""
    read = Model.content

    def read_then_damage(model: Model, file: str) -> bytes:
        if file not in kept:
            kept[file] = read(model, file)
            (model.folder / file).write_bytes(b'exchanged')
        return kept[file]

    kept: dict[str, bytes] = {}
    monkeypatch.setattr(Model, 'content', read_then_damage)
    engine = load_engine(copy, name, 'fp32')
    assert all((copy / file).read_bytes() == b'exchanged' for file in files(name))
    crop = np.zeros((engine.card.template_size, engine.card.template_size, 3), np.uint8)
    search = np.zeros((engine.card.search_size, engine.card.search_size, 3), np.uint8)
    found = engine.search(search, engine.template(crop))
    expected = shipped.search(search, shipped.template(crop))
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)


def test_a_tracker_follows_a_pasted_target(shipped: Engine, picture: Any) -> None:
    """A textured patch that slides over a grey wall is followed to its end."""
    patch = picture(48, 64, 1)
    config = TrackerConfig(**load_model('hcat_base').card.tracking)
    tracker = Tracker(shipped, config)

    def frame(x: int) -> np.ndarray:
        scene = np.full((240, 320, 3), 120, np.uint8)
        scene[90:138, x : x + 64] = patch
        return scene

    tracker.init(frame(60), (60, 90, 64, 48))
    for x in range(66, 150, 6):
        track = tracker.update(frame(x))
    assert abs(track.box.cx - (x + 32)) < 16
    assert abs(track.box.cy - 114) < 16
    assert track.score > 0.3
