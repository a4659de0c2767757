# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs PyTorch')

from colour_teacher import ColourTeacher, scene, square_at

from hcat_ros.boxes import Box, iou
from hcat_ros.evaluation.clips import read_clips
from hcat_ros.training.pseudo_labels import (
    LabelConfig,
    contrast,
    follow_both_ways,
    propose_targets,
    reduce_size,
    write_clip,
)
from hcat_ros.training.teachers import Committee


def overlaps(boxes: np.ndarray, truth: list[Box]) -> list[float]:
    return [iou(Box(*map(float, box)), true) for box, true in zip(boxes, truth, strict=True)]


def follow(frames: list[np.ndarray], box: Box, **fields: float) -> np.ndarray | None:
    span = follow_both_ways(Committee([ColourTeacher()]), frames, box, LabelConfig(**fields))
    return None if span is None else span.boxes


def test_a_target_is_followed_through_all_frames() -> None:
    truth = [square_at(number) for number in range(30)]
    found = follow([scene(box) for box in truth], truth[0])
    assert found is not None
    assert min(overlaps(found, truth)) > 0.75


@pytest.mark.parametrize(('gone', 'kept'), [(18, 15), (13, None)])
def test_a_span_that_does_not_track_back_is_tried_at_half_its_length(
    gone: int, kept: int | None
) -> None:
    """From frame `gone` on, the target is missing and only the ground is visible."""
    truth = [square_at(number) for number in range(30)]
    frames = [scene(box if number < gone else None) for number, box in enumerate(truth)]
    found = follow(frames, truth[0], travel=0)
    assert (None if found is None else len(found)) == kept
    if found is not None:
        assert min(overlaps(found, truth[:15])) > 0.75
    else:
        assert follow(frames, truth[0], shortest=7, travel=0) is not None


def test_a_target_that_hardly_moves_gives_no_clip() -> None:
    """On a still picture, tracking forward and backward agrees for any box."""
    frames = [scene(square_at(0))] * 20
    assert follow(frames, square_at(0)) is None
    assert follow(frames, square_at(0), travel=0) is not None
    # Until frame 24 it moves by 12 and 6 px: 13.4 px, 0.335 of its side.
    moving = [scene(square_at(number)) for number in range(25)]
    assert follow(moving, square_at(0), travel=0.28) is not None
    assert follow(moving, square_at(0), travel=0.39) is None


@pytest.mark.parametrize('shift', [0, 8])
def test_a_moving_object_is_proposed_first_even_if_the_camera_moves(shift: int) -> None:
    """Only its motion distinguishes the square from the ground."""
    green = {'ground': (90, 150, 90), 'square': (90, 150, 90)}
    later = np.roll(scene(square_at(4), **green), shift, axis=1)
    first, *_ = propose_targets(scene(square_at(0), **green), later, np.random.default_rng(0), 3)
    assert iou(first, square_at(0)) > 0.3


def test_proposals_do_not_overlap_and_are_reproducible() -> None:
    image = scene(square_at(0))
    found, again = (propose_targets(image, image, np.random.default_rng(1), 5) for _ in range(2))
    assert found == again
    assert 3 <= len(found) <= 5
    assert all(min(box.w, box.h) >= 12 for box in found)
    for number, box in enumerate(found):
        assert 0 <= box.x < box.x + box.w <= 320
        assert 0 <= box.y < box.y + box.h <= 240
        assert all(iou(box, other) < 0.2 for other in found[:number])
    # Nothing moves, so the object that differs from its surroundings comes first.
    assert 0 < found[0].cx - square_at(0).x < 40
    assert 0 < found[0].cy - square_at(0).y < 40


def test_contrast_is_the_distance_of_mean_colours() -> None:
    image = np.full((64, 64, 3), (10, 20, 30), np.float32)
    image[16:33, 8:25] = (110, 20, 0)
    assert contrast(image, 8 / 64, 16 / 64, 16 / 64, 16 / 64) == pytest.approx(130, abs=1e-3)
    assert contrast(image, 40 / 64, 40 / 64, 8 / 64, 8 / 64) == pytest.approx(0, abs=1e-3)


def test_frames_are_reduced_to_their_longest_side() -> None:
    assert reduce_size(np.zeros((100, 400, 3), np.uint8), 200).shape == (50, 200, 3)
    small = scene(None)
    assert reduce_size(small, 320) is small


def test_a_clip_has_the_plain_layout_and_replaces_a_partial_one(tmp_path: Path) -> None:
    frames = [scene(square_at(number)) for number in range(3)]
    boxes = np.array([square_at(number) for number in range(3)]) + 0.126
    (tmp_path / '.clip.partial-0').mkdir()  # left by a run that was killed
    (tmp_path / '.clip.partial-0' / '0009.webp').touch()
    write_clip(tmp_path / 'clip', frames, boxes)
    assert [entry.name for entry in tmp_path.iterdir()] == ['clip']
    (clip,) = read_clips('plain', tmp_path)
    assert len(clip.images) == 3
    assert clip.boxes == pytest.approx(boxes, abs=0.0051)


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('length', 0),
        ('shortest', 0),
        ('targets', -1),
        ('longest_side', 0),
        ('agreement', 1.0),
        ('travel', -1),
    ],
)
def test_settings_outside_their_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f'{field} {value}'):
        LabelConfig(**{field: value})


def test_a_length_below_the_shortest_is_refused() -> None:
    with pytest.raises(ValueError, match='length 11: expected shortest, 12, or more'):
        LabelConfig(length=11)
