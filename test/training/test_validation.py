# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip('torch', reason='needs PyTorch')

from hcat_ros.boxes import Box, iou
from hcat_ros.engines import EngineError, Prediction
from hcat_ros.evaluation.clips import Clip
from hcat_ros.network import HCAT, HCATConfig
from hcat_ros.tracking import Tracker, TrackerConfig
from hcat_ros.training import validation
from hcat_ros.training.validation import NetworkEngine, average_overlaps

Write = Callable[..., Path]


@pytest.fixture(scope='module')
def engine() -> NetworkEngine:
    torch.manual_seed(2)
    fields: dict[str, Any] = {'channels': 32, 'ffn_channels': 32, 'layers': 1, 'heads': 4}
    config = HCATConfig('efficientnet_lite0', template_size=64, search_size=128, **fields)
    model = HCAT(config)
    for module in model.backbone.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity='relu')
    return NetworkEngine(model.train())


@pytest.fixture
def crops() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (64, 64, 3), np.uint8), rng.integers(
        0, 256, (128, 128, 3), np.uint8
    )


def test_predictions_match_the_network(engine: NetworkEngine, crops: Any) -> None:
    model = engine.model
    template, search = (model.normalise(torch.from_numpy(crop[None])) for crop in crops)
    with torch.inference_mode():
        expected = model.eval()(search, template)
    found = engine.search(crops[1], engine.template(crops[0]))
    assert isinstance(found, Prediction)
    assert found.scores.shape == (8, 8)
    assert_allclose(found.scores.ravel(), expected.logits[0].softmax(1)[:, 0], atol=1e-6)
    assert_allclose(found.boxes, expected.boxes[0], atol=1e-6)


def test_the_engine_runs_without_dropout_and_keeps_no_state(
    engine: NetworkEngine, crops: Any
) -> None:
    assert not engine.model.training
    one, other = engine.template(crops[0]), engine.template(255 - crops[0])
    first = engine.search(crops[1], one)
    assert (engine.search(crops[1], other).scores != first.scores).any()
    again = engine.search(crops[1], one)
    assert (again.scores == first.scores).all()
    again.scores[:] = 7
    again.boxes[:] = 7
    assert (engine.search(crops[1], one).scores == first.scores).all()


def test_the_engine_card_describes_the_network(engine: NetworkEngine) -> None:
    card = engine.card
    assert (card.template_size, card.search_size, card.grid) == (64, 128, 8)
    assert (card.runtime, card.precision) == ('torch', 'fp32')


@pytest.mark.parametrize('shape', [(128, 128, 3), (64, 64), (64, 64, 4), (0, 0, 3)])
def test_a_crop_of_the_wrong_shape_is_refused(
    engine: NetworkEngine, crops: Any, shape: tuple[int, ...]
) -> None:
    wrong = np.zeros(shape, np.uint8)
    with pytest.raises(EngineError, match=r'expected shape \(64, 64, 3\)'):
        engine.template(wrong)
    if shape != (128, 128, 3):
        with pytest.raises(EngineError, match=r'expected shape \(128, 128, 3\)'):
            engine.search(wrong, engine.template(crops[0]))


def test_a_tracker_runs_with_the_engine(engine: NetworkEngine, picture: Any) -> None:
    tracker = Tracker(engine)
    tracker.init(picture(96, 128), (40, 30, 30, 20))
    assert np.isfinite(tracker.update(picture(96, 128, 1)).box).all()


@pytest.fixture
def static(monkeypatch: pytest.MonkeyPatch, scripted_engine: Any) -> Any:
    """A network that always predicts the previous position and size (of a square target)."""
    engines: list[Any] = []

    def make(model: Any) -> Any:
        engines.append(scripted_engine(scripted_engine.seeing((0.5, 0.5, 0.25, 0.25))))
        return engines[-1]

    monkeypatch.setattr(validation, 'NetworkEngine', make)
    return engines


def clip(folder: Path, write: Write, boxes: list[Any], name: str = 'made') -> Clip:
    rows = [[np.nan] * 4 if box is None else box for box in boxes]
    images = tuple(write(folder / f'{name}{number}.png') for number in range(len(rows)))
    return Clip(name, images, np.array(rows, np.float32))


FIRST = (4, 2, 16, 16)


def test_the_average_is_over_the_frames_with_the_target(
    tmp_path: Path, write_image: Write, static: Any
) -> None:
    boxes = [FIRST, (4, 2, 16, 16), (8, 2, 16, 16), None, (4, 10, 16, 16)]
    made = clip(tmp_path, write_image, boxes)
    other = clip(tmp_path, write_image, [FIRST, FIRST], 'other')
    found = average_overlaps(None, [made, other], TrackerConfig())  # type: ignore[arg-type]
    overlaps = [float(iou(FIRST, box)) for box in boxes[1:] if box]
    assert found == {'made': pytest.approx(np.mean(overlaps)), 'other': pytest.approx(1.0)}
    # A single pass: one template per sequence, and every frame is tracked.
    assert len(static) == 1
    assert (len(static[0].templates), len(static[0].crops)) == (2, 5)


def test_validation_can_be_limited_to_the_first_frames(
    tmp_path: Path, write_image: Write, static: Any
) -> None:
    made = clip(tmp_path, write_image, [FIRST, FIRST, (16, 2, 16, 16), (16, 2, 16, 16)])
    assert average_overlaps(None, [made], TrackerConfig(), 2) == {'made': pytest.approx(1)}  # type: ignore[arg-type]
    assert average_overlaps(None, [made], TrackerConfig())['made'] < 0.6  # type: ignore[arg-type]


def test_tracking_starts_at_the_first_frame_with_a_target(
    tmp_path: Path, write_image: Write, static: Any
) -> None:
    late = clip(tmp_path, write_image, [None, None, FIRST, FIRST])
    alone = clip(tmp_path, write_image, [FIRST, None], 'alone')
    found = average_overlaps(None, [late, alone], TrackerConfig())  # type: ignore[arg-type]
    assert found == {'made': pytest.approx(1)}
    with pytest.raises(ValueError, match='nothing to measure'):
        average_overlaps(None, [alone], TrackerConfig())  # type: ignore[arg-type]


@pytest.mark.filterwarnings('ignore:skipped')
def test_an_unreadable_image_is_named_in_the_error(
    tmp_path: Path, write_image: Write, static: Any
) -> None:
    made = clip(tmp_path, write_image, [FIRST, FIRST])
    made.images[1].unlink()
    with pytest.raises(ValueError, match=f'{made.images[1]} is not a readable image'):
        average_overlaps(None, [made], TrackerConfig())  # type: ignore[arg-type]


def test_a_real_network_can_be_validated(
    tmp_path: Path, sequence: Write, engine: NetworkEngine
) -> None:
    from hcat_ros.evaluation.clips import read_clips

    sequence(tmp_path / 'a', 4, absent=(2,))
    clips = read_clips('plain', tmp_path)
    found = average_overlaps(engine.model, clips, TrackerConfig(window_penalty=1.0))
    assert set(found) == {'a'}
    assert 0 <= found['a'] <= 1
    assert Box(*clips[0].boxes[0].tolist()).w == 32
