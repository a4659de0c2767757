# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from hcat_ros.nodes.frame_buffer import StampedFrame
from hcat_ros.stream import ImageStream, Turn

SECOND = 1_000_000_000


def turns(*stamps: float, sizes: dict[int, tuple[int, int]] | None = None) -> list[Turn]:
    """What a stream says of images at these seconds, 8x6 unless `sizes` has their number."""
    stream = ImageStream()
    found = []
    for number, stamp in enumerate(stamps):
        image = np.zeros((sizes or {}).get(number, (6, 8)), np.uint8)
        found.append(stream.turn(StampedFrame(round(stamp * SECOND), None, image, 'mono8'))[0])
    return found


ON, PASSED_OVER, BEGINS = Turn.GOES_ON, Turn.PASSED_OVER, Turn.BEGINS


@pytest.mark.parametrize(
    ('stamps', 'expected'),
    [
        ((1, 2, 3), [ON] * 3),
        ((0, 0, 0), [ON] * 3),  # a driver that gives no stamps
        ((5, 100, 99.95, 100.05), [ON, ON, PASSED_OVER, ON]),
        ((100, 101, 60, 61), [ON, ON, BEGINS, ON]),
        # A bag of half a second: its second image shows that time has jumped.
        ((10, 10.5, 10, 10.1, 10.2), [ON, ON, PASSED_OVER, BEGINS, ON]),
        ((10, 9.9, 10.1, 10, 10.2), [ON, PASSED_OVER, ON, PASSED_OVER, ON]),
    ],
)
def test_stamps(stamps: tuple[float, ...], expected: list[Turn]) -> None:
    assert turns(*stamps) == expected


def test_another_size_is_another_view() -> None:
    sizes = {2: (12, 16), 3: (12, 16)}
    assert turns(1, 2, 3, 4, 5, sizes=sizes) == [ON, ON, BEGINS, ON, BEGINS]


def test_reasons_have_the_numbers() -> None:
    stream = ImageStream()
    small, large = np.zeros((6, 8), np.uint8), np.zeros((12, 16, 3), np.uint8)
    stream.turn(StampedFrame(100 * SECOND, None, small, 'mono8'))
    frames = [
        (StampedFrame(101 * SECOND, None, large, 'bgr8'), 'images are 16x12 now, were 8x6'),
        (StampedFrame(58 * SECOND, None, large, 'bgr8'), 'image stamps jumped back by 43.000 s'),
        (
            StampedFrame(58 * SECOND - SECOND // 20, None, large, 'bgr8'),
            'image is 0.050 s older than the one before: not tracked',
        ),
    ]
    assert [stream.turn(frame)[1] for frame, _ in frames] == [reason for _, reason in frames]
