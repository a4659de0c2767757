# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')

from colour_teacher import ColourTeacher, scene, square_at

from hcat_ros.boxes import iou
from hcat_ros.tracking import Tracker
from hcat_ros.training.teachers import Committee, Sight, TeacherConfig, fingerprint

EMPTY = Sight(np.zeros((16, 16), np.float32), np.zeros((16, 16, 4), np.float32))


@dataclass
class Double:
    """A teacher whose features are a crop's first pixel; `answer` maps both to a result."""

    answer: Callable[[float, float], Sight]
    boxes: bool = True

    def __post_init__(self) -> None:
        self.config = TeacherConfig('b', 'h', boxes=self.boxes)

    def features(self, crops: np.ndarray) -> np.ndarray:
        return crops[:, :1, :1, 0].astype(np.float32)[:, None]

    def look(self, template: np.ndarray, search: np.ndarray) -> Sight:
        return self.answer(float(template.squeeze()), float(search.squeeze()))


def drawn(seed: int) -> Sight:
    rng = np.random.default_rng(seed)
    return Sight(rng.random((16, 16), np.float32), rng.random((16, 16, 4), np.float32))


def views(side: int, *levels: int) -> np.ndarray:
    return np.stack([np.full((side, side, 3), level, np.uint8) for level in levels])


def test_scores_average_all_teachers_and_boxes_those_with_boxes_enabled() -> None:
    sights = [drawn(seed) for seed in range(3)]
    counting = (True, False, True)
    members = [Double(lambda z, x, s=s: s, counts) for s, counts in zip(sights, counting)]
    committee = Committee(members)
    found = committee.look(*([part[0] for part in committee.features(views(8, 1))],) * 2)
    assert found.scores == pytest.approx(sum(s.scores for s in sights) / 3, abs=1e-6)
    assert found.boxes == pytest.approx((sights[0].boxes + sights[2].boxes) / 2, abs=1e-6)


def test_at_least_one_teacher_must_have_boxes_enabled() -> None:
    for members in ([], [Double(lambda z, x: EMPTY, boxes=False)]):
        with pytest.raises(ValueError, match='at least one whose boxes count'):
            Committee(members)


def test_each_template_is_searched_for_in_each_other_view() -> None:
    def answer(z: float, x: float) -> Sight:
        return drawn(int(100 * z + x))

    committee = Committee([Double(answer), Double(lambda z, x: EMPTY, boxes=False)])
    lesson = committee.teach(views(128, 1, 2, 3), views(256, 11, 12, 13))
    assert lesson.scores.shape == (3, 3, 256)
    assert lesson.boxes.shape == (3, 3, 4)
    assert lesson.scores.dtype == lesson.boxes.dtype == torch.float32
    for i in range(3):
        for j in range(3):
            if i == j:
                assert torch.isnan(lesson.scores[i, j]).all()
                assert torch.isnan(lesson.boxes[i, j]).all()
                continue
            sight = answer(1 + i, 11 + j)
            row, column = np.unravel_index(sight.scores.argmax(), (16, 16))
            assert lesson.scores[i, j].numpy() == pytest.approx(sight.scores.ravel() / 2, abs=1e-6)
            assert lesson.boxes[i, j].numpy() == pytest.approx(sight.boxes[row, column], abs=1e-6)


def test_a_group_of_one_view_searches_for_its_own_template() -> None:
    lesson = Committee([Double(lambda z, x: drawn(int(100 * z + x)))]).teach(
        views(128, 2), views(256, 5)
    )
    assert lesson.scores.shape == (1, 1, 256)
    assert lesson.scores[0, 0].numpy() == pytest.approx(drawn(205).scores.ravel(), abs=1e-6)


def test_the_tracker_runs_a_committee_as_an_engine() -> None:
    committee = Committee([ColourTeacher()])
    assert (committee.card.template_size, committee.card.search_size) == (128, 256)
    tracker = Tracker(committee)
    tracker.init(scene(square_at(0)), square_at(0))
    for number in (10, 25, 40):
        track = tracker.update(scene(square_at(number)))
        assert iou(track.box, square_at(number)) > 0.75
        assert track.score == pytest.approx(0.9, abs=1e-4)


def test_a_fingerprint_depends_on_file_contents_kind_and_use_of_boxes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in 'ab']
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]))
    first = fingerprint(TeacherConfig(*map(str, paths)))
    copies = [path.rename(tmp_path / f'{path.name}.moved') for path in paths]
    assert fingerprint(TeacherConfig(*map(str, copies))) == first
    files = [str(path) for path in copies]
    for other in (TeacherConfig(*files, boxes=False), TeacherConfig(*files, kind='lightfc')):
        assert fingerprint(other) != first
    copies[1].write_bytes(b'new')
    assert fingerprint(TeacherConfig(*files)) != first


def test_an_unknown_kind_of_teacher_is_refused() -> None:
    with pytest.raises(ValueError, match="kind 'siamfc': expected nanotrack or lightfc"):
        TeacherConfig('b', 'h', 'siamfc')
