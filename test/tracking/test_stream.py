# SPDX-License-Identifier: Apache-2.0
from types import SimpleNamespace

import numpy as np
import pytest

from hcat_ros.tracking.frame_buffer import StampedFrame
from hcat_ros.tracking.stream import CameraView, ImageStream, Turn

SECOND = 1_000_000_000


def frame(stamp: float, size: tuple[int, int] = (6, 8), frame_id: str = 'front') -> StampedFrame:
    image = np.zeros(size, np.uint8)
    return StampedFrame(round(stamp * SECOND), SimpleNamespace(frame_id=frame_id), image, 'mono8')


def turns(
    *stamps: float, every: float = 0.1, sizes: dict[int, tuple[int, int]] | None = None
) -> list[Turn]:
    """Turns of a stream for images with these stamps, s, that arrive `every` seconds.

    sizes: (height, width) by image number, 6x8 otherwise.
    """
    stream = ImageStream()
    return [
        stream.turn(frame(stamp, (sizes or {}).get(number, (6, 8))), 50 + number * every)[0]
        for number, stamp in enumerate(stamps)
    ]


ON, LATE, FOREIGN, JUMPED, BEGINS = (
    Turn.GOES_ON,
    Turn.LATE,
    Turn.FOREIGN,
    Turn.JUMPED,
    Turn.BEGINS,
)


@pytest.mark.parametrize(
    ('stamps', 'expected'),
    [
        ((1, 2, 3), [ON] * 3),
        ((0, 0, 0), [ON] * 3),  # a driver that sets no stamps
        ((5, 100, 99.95, 100.05), [ON, ON, LATE, ON]),
        ((40, 43, 41, 42, 44), [ON, ON, LATE, LATE, ON]),
        ((10, 9.9, 10.1, 10, 10.2), [ON, LATE, ON, LATE, ON]),
        # A clock set back: stamps that stay behind for a second become the new time.
        ((100, *(60 + n / 10 for n in range(12))), [ON] + [LATE] * 9 + [JUMPED] + [ON] * 2),
        ((100, *(99.9 + n / 10 for n in range(4))), [ON, LATE, ON, ON, ON]),
    ],
)
def test_stamps_are_classified(stamps: tuple[float, ...], expected: list[Turn]) -> None:
    assert turns(*stamps) == expected


def test_single_late_image_after_a_pause_is_not_a_jump() -> None:
    assert turns(1, 5, 3, 9, every=2.0) == [ON, ON, LATE, ON]
    assert turns(11, 15, 1, 5, every=2.0) == [ON, ON, LATE, JUMPED]


def test_stamp_jitter_at_30_hz_keeps_most_images() -> None:
    rng = np.random.default_rng(3)
    found = turns(*(n / 30 + rng.uniform(-0.02, 0.02) for n in range(300)), every=1 / 30)
    assert set(found) == {ON, LATE}
    assert found.count(ON) > 200


def test_other_image_size_takes_over_after_one_second() -> None:
    sizes = dict.fromkeys(range(2, 14), (12, 16))
    found = turns(*range(14), sizes=sizes)
    assert found == [ON, ON] + [FOREIGN] * 9 + [BEGINS] + [ON] * 2


def test_only_one_of_two_cameras_on_a_topic_is_used() -> None:
    stream = ImageStream()
    found = [
        stream.turn(frame(n, frame_id='left' if n % 2 else 'right'), n / 20)[0] for n in range(60)
    ]
    assert found == [ON, FOREIGN] * 30
    assert stream.view == CameraView(8, 6, 'right')


def test_reasons_contain_the_measured_values() -> None:
    stream = ImageStream()
    found = [
        stream.turn(image, arrival)[1]
        for image, arrival in (
            (frame(100), 0),
            (frame(101, (12, 16)), 0.1),
            (frame(102, (12, 16)), 2.0),
            (frame(101.95, (12, 16)), 2.1),
            (frame(58, (12, 16)), 3.0),
        )
    ]
    assert found == [
        '',
        "image is 16x12 of frame 'front'; the tracked stream is 8x6 of frame 'front'",
        "images are now 16x12 of frame 'front'; before they were 8x6 of frame 'front'",
        'image is 0.050 s older than the newest one: not tracked',
        'image stamps jumped back by 44.000 s',
    ]
