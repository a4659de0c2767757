# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rosbags', reason="needs rosbags (pip install 'hcat_ros[evaluate]')")

from bags import BEGIN, CAMERA, SECOND, BagWriter, raw_image, write_bag

from hcat_ros.boxes import Box
from hcat_ros.evaluation.bags.named_boxes import (
    IndexedTruth,
    NamedBox,
    NamedStarts,
    StampedTruth,
    TruthStart,
    init_box_topic,
    named_boxes,
    read_truth,
    start_at_once,
    truth_from,
)
from hcat_ros.evaluation.bags.output import detection
from hcat_ros.evaluation.bags.reading import BagFrame, open_bag

PIXELS = np.zeros((60, 80, 3), np.uint8)
BOX = Box(10.0, 12.0, 20.0, 16.0)
OTHER = Box(30.0, 12.0, 20.0, 16.0)


def frame(seconds: float, index: int = 0, log: float | None = None) -> BagFrame:
    log_time = round((seconds if log is None else log) * SECOND)
    return BagFrame(index, round(seconds * SECOND), log_time, '', PIXELS, 'bgr8')


def named(box: Box, seconds: float, log: float) -> NamedBox:
    return NamedBox(box, round(seconds * SECOND), round(log * SECOND))


def started(starts: NamedStarts, *stamps: float) -> dict[int, Box]:
    """Return the boxes by the number of the frame on which they start a target."""
    frames = [frame(seconds, number) for number, seconds in enumerate(stamps)]
    found = {}
    for this, following in zip(frames, [*frames[1:], None]):
        named = starts.take_boxes(this, following)
        if named:
            found[this.index] = named[-1].box
    return found


@pytest.mark.parametrize(
    ('stamp', 'log', 'expected'),
    [
        (1.1, 1.1, 1),
        (1.1, 9.0, 1),  # recorded later than the frame of its stamp
        (1.14, 1.0, 1),
        (1.16, 1.0, 2),
        (0.93, 1.0, 0),
        (1.35, 1.0, 3),
        (0.0, 1.15, 1),  # without a stamp: the newest frame
        (0.0, 0.5, 0),
        (0.0, 9.0, 3),
    ],
)
def test_a_box_starts_on_the_frame_nearest_to_its_stamp(
    stamp: float, log: float, expected: int
) -> None:
    starts = NamedStarts([named(BOX, stamp, log)])
    assert started(starts, 1.0, 1.1, 1.2, 1.3) == {expected: BOX}
    assert starts.unused() == []


@pytest.mark.parametrize('stamp', [0.8, 1.45, 7.0])
def test_a_box_without_a_frame_near_its_stamp_is_reported(stamp: float) -> None:
    starts = NamedStarts([named(BOX, stamp, 1.0)])
    assert started(starts, 1.0, 1.1, 1.2, 1.3) == {}
    assert starts.unused() == [
        f'box of {stamp:.3f} s: no image that was used is within 0.1 s of it'
    ]


def test_a_command_line_box_without_any_image_is_reported() -> None:
    assert start_at_once(BOX).unused() == ['box of the first image: no image was used']


def test_two_boxes_for_one_frame_are_taken_in_recording_order() -> None:
    starts = NamedStarts([named(OTHER, 1.1, 5.0), named(BOX, 1.1, 4.0)])
    assert [box.box for box in starts.take_boxes(frame(1.1), None)] == [BOX, OTHER]


def test_each_box_starts_its_own_target() -> None:
    starts = NamedStarts([named(BOX, 1.0, 1.0), named(OTHER, 1.2, 1.3)])
    assert started(starts, 1.0, 1.1, 1.2) == {0: BOX, 2: OTHER}


def test_a_box_finds_its_frame_among_frames_out_of_order() -> None:
    starts = NamedStarts([named(BOX, 100.05, 100.1)])
    assert started(starts, 100.0, 99.95, 100.05) == {2: BOX}


def test_a_box_finds_its_frame_after_a_jump_in_time() -> None:
    starts = NamedStarts([named(BOX, 10.0, 101.0)])
    assert started(starts, 100.0, 100.1, 10.0, 10.1) == {2: BOX}


def test_images_without_stamps_are_matched_by_recording_time() -> None:
    """Without stamps only the time of recording can match a box to an image."""
    frames = [frame(0.0, number, 1 + 0.1 * number) for number in range(3)]
    starts = NamedStarts([named(BOX, 0.0, 1.15)])
    assert [bool(starts.take_boxes(*pair)) for pair in zip(frames, [*frames[1:], None])] == [
        False,
        True,
        False,
    ]


def test_a_command_line_box_starts_on_the_first_frame() -> None:
    assert started(start_at_once(BOX), 5.0, 5.1) == {0: BOX}  # type: ignore[arg-type]


def test_the_first_true_box_starts_once() -> None:
    truth = StampedTruth({2 * SECOND: BOX, 3 * SECOND: OTHER})
    start = TruthStart(truth)
    assert start.take_boxes(frame(1.0), None) == []
    assert start.take_boxes(frame(2.0), None) == [NamedBox(BOX, 2 * SECOND, 2 * SECOND)]
    assert start.take_boxes(frame(3.0), None) == []
    assert start.unused() == []
    assert TruthStart(truth).unused() == ['the truth has no box for any image that could be used']


# In bags


def test_init_boxes_are_read_from_a_topic(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as bag:
        bag.add(CAMERA, BEGIN, raw_image(BEGIN, PIXELS))
        bag.add('/hcat/init_box', BEGIN + 5, detection(BEGIN, '', BOX, '', [('dog', 0.5)]))
        bag.add('/detector/best', BEGIN + 7, detection(BEGIN + SECOND, '', OTHER))
    with open_bag(tmp_path / 'bag') as bag:
        topic = init_box_topic(bag)
        assert topic is not None
        assert named_boxes(bag, topic) == [NamedBox(BOX, BEGIN, BEGIN + 5, 'dog')]
        other = init_box_topic(bag, 'detector/best')
        assert other is not None
        assert named_boxes(bag, other)[0].box == OTHER
        with pytest.raises(ValueError, match='no topic /none; it has '):
            init_box_topic(bag, '/none')
        with pytest.raises(ValueError, match='expected vision_msgs/msg/Detection2D'):
            init_box_topic(bag, CAMERA)


def test_several_init_box_topics_are_an_error_and_none_is_allowed(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as bag:
        for name in ('/a/init_box', '/b/init_box'):
            bag.add(name, BEGIN, detection(BEGIN, '', BOX))
    with (
        open_bag(tmp_path / 'bag') as bag,
        pytest.raises(ValueError, match='several topics of init boxes, name one: /a/init_box, /b/'),
    ):
        init_box_topic(bag)
    with open_bag(write_bag(tmp_path / 'without', [PIXELS])) as bag:
        assert init_box_topic(bag) is None


# Truth


def test_truth_is_read_from_a_topic(tmp_path: Path) -> None:
    boxes = np.array([[1.0, 2, 30, 40], [np.nan] * 4, [5, 6, 30, 40]])
    with open_bag(write_bag(tmp_path / 'bag', [PIXELS] * 3, truth=boxes)) as bag:
        truth = truth_from(bag, '/truth', bag.image_topic())
        found = [truth.box_for(frame) for frame in bag.frames(bag.image_topic())]
        assert np.array_equal(found, boxes, equal_nan=True)
        with pytest.raises(ValueError, match='truth nowhere: there is no such file, nor such a'):
            truth_from(bag, 'nowhere', bag.image_topic())


@pytest.mark.parametrize('left_out', [(), (1,), (0, 3)])
def test_truth_without_stamps_is_matched_by_order_or_recording_time(
    tmp_path: Path, left_out: tuple[int, ...]
) -> None:
    """If boxes are missing, the time of recording assigns the others to their images."""
    with BagWriter(tmp_path / 'bag') as bag:
        for number in range(5):
            recorded = BEGIN + number * SECOND // 30
            bag.add(CAMERA, recorded, raw_image(0, PIXELS))
            if number not in left_out:
                box = Box(10.0 + number, 20, 30, 40)
                bag.add('/truth', recorded + SECOND // 200, detection(0, '', box))
    with open_bag(tmp_path / 'bag') as bag:
        truth = truth_from(bag, '/truth', bag.image_topic())
        found = [truth.box_for(frame)[0] for frame in bag.frames(bag.image_topic())]
        expected = [np.nan if n in left_out else 10.0 + n for n in range(5)]
        assert np.array_equal(found, expected, equal_nan=True)
        how = 'by time of recording' if left_out else 'in order'
        assert list(bag.findings) == [f'stamps repeat: the boxes of /truth belong to images {how}']


def test_a_truth_file_with_stamps_is_refused_for_images_without_stamps(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'bag') as bag:
        for number in range(5):
            bag.add(CAMERA, BEGIN + number, raw_image(0, PIXELS))
    table = tmp_path / 'truth.csv'
    table.write_text('stamp,x,y,w,h\n1,1,2,3,4\n2,1,2,3,4\n')
    with (
        open_bag(tmp_path / 'bag') as bag,
        pytest.raises(ValueError, match='5 images have only 1 different stamps'),
    ):
        truth_from(bag, str(table), bag.image_topic())
    table.write_text('frame,x,y,w,h\n1,1,2,3,4\n1,5,6,7,8\n')
    with pytest.raises(ValueError, match='line 3: frame 1 occurs twice'):
        read_truth(table)


def test_true_boxes_without_an_image_are_counted() -> None:
    stamped = StampedTruth({SECOND: BOX, 2 * SECOND: OTHER, 3 * SECOND: [0, 0, 0, 0]})
    assert stamped.box_for(frame(1.0)).tolist() == list(BOX)
    assert stamped.unused() == '1 of 3 true boxes were not used: no image within 1 ms'
    assert stamped.box_for(frame(2.0)).tolist() == list(OTHER)
    assert stamped.unused() == ''
    numbered = IndexedTruth({0: BOX, 5: OTHER})
    numbered.box_for(frame(1.0, 0))
    numbered.box_for(frame(1.1, 1))
    assert numbered.unused() == '1 of 2 true boxes were not used: no image of that number'


BY_NUMBER = {0: [1, 2, 30, 40], 1: None, 2: [5, 6, 30, 40]}
TEXTS = {
    'groundtruth': '1,2,30,40\nnan,nan,nan,nan\n5,6,30,40\n',
    'tabs': '1\t2\t30\t40\n0\t0\t0\t0\n5\t6\t30\t40\n',
    'spaces': '# x y w h\n1 2 30 40\nNaN NaN NaN NaN\n\n5 6 30 40\n',
    'frames': 'frame,x,y,w,h\n2,5,6,30,40\n0,1,2,30,40\n',
    'columns in any order': 'w, h, frame, y, x, note\n30,40,0,2,1,a\n30,40,2,6,5,b\n',
    'header alone': 'X,Y,W,H\n1,2,30,40\nnan,nan,nan,nan\n5,6,30,40',
    'semicolons': 'frame;x;y;w;h\n0;1;2;30;40\n2;5;6;30;40\n',
    'with a byte order mark': '\ufeffframe,x,y,w,h\n0,1,2,30,40\n2,5,6,30,40\n',
}


@pytest.mark.parametrize('text', TEXTS.values(), ids=TEXTS)
def test_truth_files_by_frame_number_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'truth.csv'
    path.write_text(text, encoding='utf-8')
    truth = read_truth(path)
    for number, box in BY_NUMBER.items():
        expected = [np.nan] * 4 if box is None else box
        assert np.array_equal(truth.box_for(frame(7.0, number)), expected, equal_nan=True)
    assert np.isnan(truth.box_for(frame(7.0, 3))).all()


@pytest.mark.parametrize(
    'stamps',
    [
        ('1700000000033333333', '1700000001000000000'),
        ('1700000000.033333333', '1700000001.0'),
        ('1700000000.0333', '1.700000001e9'),
    ],
)
@pytest.mark.parametrize('header', ['', 'stamp,x,y,w,h\n', 'stamp,frame,x,y,w,h\n'])
def test_truth_files_by_stamp_are_read(
    tmp_path: Path, stamps: tuple[str, str], header: str
) -> None:
    path = tmp_path / 'truth.csv'
    between = '99,' if 'frame' in header else ''
    path.write_text(f'{header}{stamps[0]},{between}1,2,30,40\n{stamps[1]},{between}5,6,30,40\n')
    truth = read_truth(path)

    def of(nanoseconds: int) -> list[float]:
        place = BagFrame(99, nanoseconds, 0, '', PIXELS, 'bgr8')
        return truth.box_for(place).tolist()

    assert of(1_700_000_000_033_333_333) == [1, 2, 30, 40]
    assert of(1_700_000_001_000_000_000) == [5, 6, 30, 40]
    assert np.isnan(of(1_700_000_000_066_666_666)).all()


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'holds no box'),
        ('1,2,3\n', 'expected x y w h, or stamp x y w h, or a first line .* got 3 columns'),
        ('1,2,3,4\n1,2,x,4\n', 'line 2: expected x, y, w, h, got 1,2,x,4'),
        ('frame,x,y,w,h\n\n1,2,3,4\n', 'line 3: expected frame, x, y, w, h, got 1,2,3,4'),
        ('stamp,x,y,w,h\nnow,1,2,3,4\n', 'line 2: expected stamp, x, y, w, h, got now,1'),
        ('1e999999999 1 2 3 4\n', 'line 1: expected stamp, x, y, w, h, got 1e999999999,1'),
        ('9223372036854775808 1 2 3 4\n', 'line 1: expected stamp, x, y, w, h, got 922337203'),
        (f'1,2,3,{"4" * 200_000}\n', 'line 1: field larger than'),
        ('1.5.1 1 2 3 4\n', 'line 1: expected stamp, x, y, w, h, got 1.5.1,1'),
    ],
)
def test_malformed_truth_files_are_refused_with_line_and_value(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / 'truth.txt'
    path.write_text(text)
    with pytest.raises(ValueError, match=f'truth.txt.*{reason}'):
        read_truth(path)


def test_a_truth_file_in_utf_16_is_read(tmp_path: Path) -> None:
    path = tmp_path / 'truth.csv'
    path.write_text('frame,x,y,w,h\n0,1,2,30,40\n', encoding='utf-16')
    assert read_truth(path).box_for(frame(7.0, 0)).tolist() == [1, 2, 30, 40]


def test_each_truth_starts_a_target_of_its_own() -> None:
    start = TruthStart(StampedTruth({2 * SECOND: BOX}), StampedTruth({SECOND: OTHER}))
    assert start.take_boxes(frame(1.0), None) == [NamedBox(OTHER, SECOND, SECOND, number=1)]
    assert start.take_boxes(frame(2.0), None) == [NamedBox(BOX, 2 * SECOND, 2 * SECOND, number=0)]


def test_command_line_boxes_are_numbered() -> None:
    found = start_at_once(BOX, OTHER).take_boxes(frame(5.0), None)
    assert [(box.box, box.number) for box in found] == [(BOX, 0), (OTHER, 1)]
