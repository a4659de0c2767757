# SPDX-License-Identifier: Apache-2.0
"""Inputs of the tracker: frames of every kind, bad boxes, engines that fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose

from hcat_ros.engines import EngineError, Prediction
from hcat_ros.tracking import Tracker
from hcat_ros.tracking.encodings import to_rgb

TARGET = (100.0, 80.0, 60.0, 80.0)
FROM_BGR: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'bgr8': lambda bgr: bgr,
    '8UC3': lambda bgr: bgr,
    'rgb8': lambda bgr: cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB),
    'bgra8': lambda bgr: cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA),
    '8UC4': lambda bgr: cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA),
    'rgba8': lambda bgr: cv2.cvtColor(bgr, cv2.COLOR_BGR2RGBA),
}
# Bayer patterns: the index in RGB of the colour at each place of a 2x2 tile.
BAYER = {
    'bayer_rggb8': ((0, 1), (1, 2)),
    'bayer_bggr8': ((2, 1), (1, 0)),
    'bayer_gbrg8': ((1, 2), (0, 1)),
    'bayer_grbg8': ((1, 0), (2, 1)),
}
# The same pixels, stored in ways that are not C-contiguous.
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'slice of a wider frame': lambda f: np.pad(f, ((3, 5), (7, 9), (0, 0)))[3:-5, 7:-9],
    'every second row and column': lambda f: f.repeat(2, 0).repeat(2, 1)[::2, ::2],
    'rows upside down': lambda f: np.ascontiguousarray(f[::-1])[::-1],
    'columns mirrored': lambda f: np.ascontiguousarray(f[:, ::-1])[:, ::-1],
    'channels reversed': lambda f: np.ascontiguousarray(f[:, :, ::-1])[:, :, ::-1],
    'Fortran order': np.asfortranarray,
    'first channels of more': lambda f: np.pad(f, ((0, 0), (0, 0), (0, 2)))[:, :, :3],
    'planar': lambda f: np.ascontiguousarray(f.transpose(2, 0, 1)).transpose(1, 2, 0),
}


def run_tracker(
    scripted_engine: Any, frames: list[np.ndarray], encoding: str, box: Any = TARGET
) -> Any:
    """Track a target that moves right through these frames, and return the engine."""
    engine = scripted_engine(scripted_engine.seeing((0.55, 0.5, 0.25, 0.25)))
    tracker = Tracker(engine)
    tracker.init(frames[0], box, encoding)
    engine.tracks = [tracker.update(frame, encoding) for frame in frames[1:]]
    return engine


def assert_same_view(one: Any, other: Any) -> None:
    """Both engines were given the same crops and their trackers the same tracks."""
    assert one.tracks == other.tracks
    for a, b in zip(one.templates + one.crops, other.templates + other.crops, strict=True):
        assert_allclose(a.astype(int), b.astype(int), atol=1)


@pytest.mark.parametrize('encoding', FROM_BGR)
@pytest.mark.parametrize('box', [TARGET, (-20, 190, 60, 80)])
def test_every_encoding_gives_the_engine_the_same_crops(
    scripted_engine: Any, picture: Callable[..., np.ndarray], encoding: str, box: Any
) -> None:
    frames = [picture(240, 320, seed) for seed in range(3)]
    expected = run_tracker(scripted_engine, frames, 'bgr8', box)
    crop = expected.templates[0]
    assert crop.shape == (128, 128, 3)
    assert crop.flags.c_contiguous
    assert crop.dtype == np.uint8
    converted = [FROM_BGR[encoding](frame) for frame in frames]
    assert_same_view(run_tracker(scripted_engine, converted, encoding, box), expected)


def mosaic(bgr: np.ndarray, encoding: str) -> np.ndarray:
    """The frame as a sensor under this Bayer pattern sees it."""
    raw = np.empty(bgr.shape[:2], np.uint8)
    for row in range(2):
        for column in range(2):
            channel = 2 - BAYER[encoding][row][column]
            raw[row::2, column::2] = bgr[row::2, column::2, channel]
    return raw


@pytest.mark.parametrize('encoding', [*BAYER, 'yuv422', 'yuv422_yuy2'])
@pytest.mark.parametrize('box', [TARGET, (-20, 190, 60, 80)])
def test_bayer_and_yuv_frames_give_the_same_crops_as_rgb(
    scripted_engine: Any, picture: Callable[..., np.ndarray], encoding: str, box: Any
) -> None:
    if encoding in BAYER:
        frames = [mosaic(picture(240, 320, seed), encoding) for seed in range(3)]
    else:
        rng = np.random.default_rng(0)
        frames = [rng.integers(0, 256, (240, 320, 2), np.uint8) for _ in range(3)]
    whole = [to_rgb(frame, encoding) for frame in frames]
    expected = run_tracker(scripted_engine, whole, 'rgb8', box)
    assert_same_view(run_tracker(scripted_engine, frames, encoding, box), expected)


def test_engine_receives_rgb_crops(scripted_engine: Any) -> None:
    frame = np.zeros((240, 320, 3), np.uint8)
    frame[:] = (255, 100, 0)  # blue, in BGR
    engine = run_tracker(scripted_engine, [frame, frame], 'bgr8', (-20, 190, 60, 80))
    assert (engine.templates[0] == (0, 100, 255)).all()
    assert (engine.crops[0] == (0, 100, 255)).all()


@pytest.mark.parametrize('encoding', ['mono8', '8UC1'])
@pytest.mark.parametrize('axes', [2, 3])
def test_grey_frame_gives_the_same_crops_as_grey_bgr(
    scripted_engine: Any, picture: Callable[..., np.ndarray], encoding: str, axes: int
) -> None:
    grey = [picture(240, 320, seed)[:, :, 0] for seed in range(3)]
    expected = run_tracker(scripted_engine, [f[:, :, None].repeat(3, 2) for f in grey], 'bgr8')
    frames = [frame if axes == 2 else frame[:, :, None] for frame in grey]
    assert_same_view(run_tracker(scripted_engine, frames, encoding), expected)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_strides_do_not_matter(
    scripted_engine: Any, picture: Callable[..., np.ndarray], layout: str
) -> None:
    frames = [picture(240, 320, seed) for seed in range(3)]
    views = [LAYOUTS[layout](frame) for frame in frames]
    assert not views[0].flags.c_contiguous
    assert (views[0] == frames[0]).all()
    for box in (TARGET, (-20, 190, 60, 80)):
        expected = run_tracker(scripted_engine, frames, 'bgr8', box)
        assert_same_view(run_tracker(scripted_engine, views, 'bgr8', box), expected)


@pytest.mark.parametrize('encoding', ['bgr8', 'rgb8', 'mono8'])
def test_frames_are_not_modified(
    scripted_engine: Any, picture: Callable[..., np.ndarray], encoding: str
) -> None:
    """They may be read-only, as a view of a ROS message's bytes is."""
    frame = picture(240, 320)[:, :, 0] if encoding == 'mono8' else picture(240, 320)
    before = frame.copy()
    run_tracker(scripted_engine, [frame, frame], encoding)
    assert (frame == before).all()
    frame.flags.writeable = False
    run_tracker(scripted_engine, [frame, frame], encoding)


def test_frame_size_may_change_while_tracking(
    scripted_engine: Any, picture: Callable[..., np.ndarray]
) -> None:
    tracker = Tracker(scripted_engine(scripted_engine.seeing((0.9, 0.9, 0.5, 0.5))))
    tracker.init(picture(480, 640), (500, 400, 60, 50))
    for height, width in ((480, 640), (48, 64), (1, 1), (960, 1280), (9, 700)):
        box = tracker.update(picture(height, width)).box
        assert 0 <= box.cx <= width
        assert 0 <= box.cy <= height
        assert 10 <= box.w <= max(10, width)
        assert 10 <= box.h <= max(10, height)


@pytest.mark.parametrize('change', ['rgb8', 'mono8', 'bgra8'])
def test_fill_colour_is_converted_when_the_encoding_changes(
    scripted_engine: Any, change: str
) -> None:
    frame = np.zeros((240, 320, 3), np.uint8)
    frame[:] = (200, 100, 50)
    converted = {
        'rgb8': frame[:, :, ::-1],
        'mono8': frame[:, :, 0],
        'bgra8': cv2.cvtColor(frame, cv2.COLOR_BGR2BGRA),
    }[change]
    engine = scripted_engine(scripted_engine.seeing())
    tracker = Tracker(engine)
    tracker.init(frame, (-20, 190, 60, 80))  # much of the crop is outside of the frame
    tracker.update(converted, change)
    colours = np.unique(engine.crops[0].reshape(-1, 3), axis=0).tolist()
    assert colours == [[200] * 3 if change == 'mono8' else [50, 100, 200]]


@pytest.mark.parametrize(
    ('box', 'reason'),
    [
        ((1, 2, 3), 'four numbers'),
        ((10, 10, float('nan'), 10), 'not finite'),
        ((10, 10, 0, 10), 'smaller than one pixel'),
        ((900, 10, 30, 10), 'lies outside of the 320x240 frame'),
        ((-99, 10, 100, 1), 'lies outside of the 320x240 frame'),  # so thin that its crop misses
    ],
)
def test_a_bad_box_is_refused_and_the_target_kept(
    scripted_engine: Any, picture: Callable[..., np.ndarray], box: Any, reason: str
) -> None:
    tracker = Tracker(scripted_engine(scripted_engine.seeing()))
    with pytest.raises(ValueError) as error:
        tracker.init(picture(240, 320), box)
    assert reason in str(error.value)
    assert not tracker.has_target

    frames = [picture(240, 320, seed) for seed in range(3)]
    engine = scripted_engine(scripted_engine.seeing((0.55, 0.5, 0.25, 0.25)))
    tracker = Tracker(engine)
    tracker.init(frames[0], TARGET)
    with pytest.raises(ValueError, match=r'box|crop'):
        tracker.init(picture(240, 320, 9), box)
    engine.tracks = [tracker.update(frame) for frame in frames[1:]]
    assert_same_view(engine, run_tracker(scripted_engine, frames, 'bgr8'))


ANSWER = ((0.55, 0.5, 0.25, 0.25), 0.9)


def non_finite_answer(scripted_engine: Any, where: str) -> Prediction:
    scores, boxes = scripted_engine.seeing(*ANSWER)
    if where == 'score':
        scores[3, 4] = np.nan
    else:
        boxes[8 * 16 + 8, 2] = np.inf if where == 'infinite box' else np.nan
    return Prediction(scores, boxes)


@pytest.mark.parametrize('failure', ['error', 'score', 'box', 'infinite box'])
@pytest.mark.parametrize('encoding', ['bgr8', 'bgra8'])
def test_engine_failure_leaves_the_tracker_state_unchanged(
    scripted_engine: Any, picture: Callable[..., np.ndarray], failure: str, encoding: str
) -> None:
    frames = [picture(240, 320, seed) for seed in range(3)]
    box = (-20, 190, 60, 80)
    good = scripted_engine.seeing(*ANSWER)
    bad = EngineError('boom') if failure == 'error' else non_finite_answer(scripted_engine, failure)
    engine = scripted_engine(good, bad, good)
    tracker = Tracker(engine)
    tracker.init(frames[0], box)
    tracks = [tracker.update(frames[1])]
    message = 'boom' if failure == 'error' else 'test double returned values that are not finite'
    with pytest.raises(EngineError, match=message):
        tracker.update(FROM_BGR[encoding](picture(240, 320, 8)), encoding)
    engine.crops.pop()
    engine.tracks = [*tracks, tracker.update(frames[2])]
    assert_same_view(engine, run_tracker(scripted_engine, frames, 'bgr8', box))


def test_engine_failure_on_the_template_keeps_the_old_target(
    scripted_engine: Any, picture: Callable[..., np.ndarray]
) -> None:
    frames = [picture(240, 320, seed) for seed in range(3)]
    engine = scripted_engine(scripted_engine.seeing(*ANSWER))
    tracker = Tracker(engine)
    tracker.init(frames[0], TARGET)

    def fail(crop: np.ndarray) -> None:
        raise EngineError('out of memory')

    engine.template = fail
    with pytest.raises(EngineError, match='out of memory'):
        tracker.init(picture(240, 320, 7), (10, 10, 30, 30))
    engine.tracks = [tracker.update(frame) for frame in frames[1:]]
    assert_same_view(engine, run_tracker(scripted_engine, frames, 'bgr8'))


@pytest.mark.parametrize(
    ('frame', 'encoding'),
    [
        (np.zeros((240, 320), np.uint8), 'bgr8'),
        (np.zeros((240, 320, 3), np.float32), 'bgr8'),
        (np.zeros((240, 320, 3), np.uint8), 'yuv422'),
        (np.zeros((0, 0, 3), np.uint8), 'bgr8'),
    ],
)
def test_a_bad_frame_is_refused_and_the_track_goes_on(
    scripted_engine: Any, picture: Callable[..., np.ndarray], frame: Any, encoding: str
) -> None:
    frames = [picture(240, 320, seed) for seed in range(3)]
    engine = scripted_engine(scripted_engine.seeing(*ANSWER))
    tracker = Tracker(engine)
    tracker.init(frames[0], TARGET)
    with pytest.raises(ValueError, match=r'frame|encoding'):
        tracker.update(frame, encoding)
    with pytest.raises(ValueError, match=r'frame|encoding'):
        tracker.init(frame, TARGET, encoding)
    engine.tracks = [tracker.update(f) for f in frames[1:]]
    assert_same_view(engine, run_tracker(scripted_engine, frames, 'bgr8'))
