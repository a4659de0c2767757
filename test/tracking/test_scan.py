# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np

from hcat_ros.boxes import Box
from hcat_ros.tracking.crop import SEARCH_FACTOR, crop_side
from hcat_ros.tracking.scan import Scan

SEEN = Box(500, 100, 40, 40)
SIDE = crop_side(40, 40, SEARCH_FACTOR)


def test_regions_cover_the_frame_starting_at_the_last_target_position() -> None:
    scan = Scan(SEEN)
    first = scan.next(640, 360)
    boxes = [first]
    while (box := scan.next(640, 360)) != first:
        boxes.append(box)
    centres = np.array([(box.cx, box.cy) for box in boxes])
    far = np.hypot(centres[:, 0] - SEEN.cx, centres[:, 1] - SEEN.cy)
    assert (np.diff(far) >= 0).all(), 'it grows'
    assert far[0] < SIDE / 2
    assert {box[2:] for box in boxes} == {(40, 40)}
    # Wherever the target is, some region has it well inside.
    for x in range(0, 641, 20):
        for y in range(0, 361, 20):
            near = np.abs(centres - (x, y)).max(axis=1).min()
            assert near <= 0.3 * SIDE, (x, y)


def test_a_frame_smaller_than_a_region_is_one_region() -> None:
    scan = Scan(SEEN)
    assert {scan.next(60, 50) for _ in range(3)} == {Box.from_center(30, 25, 40, 40)}


def test_change_of_frame_size_restarts_the_scan() -> None:
    scan = Scan(SEEN)
    for _ in range(5):
        scan.next(640, 360)
    for _ in range(10):
        box = scan.next(100, 80)
        assert 0 <= box.cx <= 100
        assert 0 <= box.cy <= 80


def test_one_pixel_target_does_not_need_half_a_million_regions() -> None:
    scan = Scan(Box(959.5, 539.5, 1, 1))
    first = scan.next(1920, 1080)
    assert (first.w, first.h) == (10, 10)
    count = 1
    while scan.next(1920, 1080) != first:
        count += 1
        assert count < 10_000
