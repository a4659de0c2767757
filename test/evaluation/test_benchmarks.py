# SPDX-License-Identifier: Apache-2.0
"""OTB, UAV123, NfS and VOT in the layouts of the published data sets."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from data_sets import Write, mask_line, nfs, otb, text, touch, uav123, vot

from hcat_ros.evaluation.benchmarks import vot_box
from hcat_ros.evaluation.clips import Clip, read_clips


def numbers(clip: Clip) -> list[int]:
    return [int(path.stem) for path in clip.images]


def by_name(layout: str, root: Path) -> dict[str, Clip]:
    found = {clip.name: clip for clip in read_clips(layout, root)}
    for clip in found.values():
        assert clip.boxes.shape == (len(clip.images), 4)
        assert all(path.is_file() for path in clip.images)
    return found


def test_otb_boxes_are_read_with_any_separator(tmp_path: Path, write_image: Write) -> None:
    """BlurCar1 mixes spaces and tabs, and begins at image 247."""
    otb(tmp_path, write_image, 'Crossing', ['205\t151\t17\t50', '205\t152\t17\t50'], (1, 2))
    otb(tmp_path, write_image, 'Biker', ['262,94,16,26', '262, 94.5, 16, 26'], (1, 2))
    otb(tmp_path, write_image, 'BlurCar1', ['1\t2\t30\t40', '3 4 31 41'], (247, 248))
    clips = by_name('otb', tmp_path)
    assert sorted(clips) == ['Biker', 'BlurCar1', 'Crossing']
    assert clips['Crossing'].boxes.tolist() == [[205, 151, 17, 50], [205, 152, 17, 50]]
    assert clips['Biker'].boxes.tolist() == [[262, 94, 16, 26], [262, 94.5, 16, 26]]
    assert clips['BlurCar1'].boxes.tolist() == [[1, 2, 30, 40], [3, 4, 31, 41]]
    assert numbers(clips['BlurCar1']) == [247, 248]


def test_otb_sequences_with_two_targets_are_two_clips(tmp_path: Path, write_image: Write) -> None:
    """Jogging has two targets; of the two files of Human4 one has no boxes."""
    for target, x in (('.1', 111), ('.2', 180)):
        otb(tmp_path, write_image, 'Jogging', [f'{x},98,25,101'] * 3, target=target)
    otb(tmp_path, write_image, 'Human4', ['99,237,27,82'] * 3, target='.2')
    text(tmp_path / 'Human4/groundtruth_rect.1.txt', '\n')
    clips = by_name('otb', tmp_path)
    assert sorted(clips) == ['Human4', 'Jogging.1', 'Jogging.2']
    assert clips['Jogging.1'].boxes[0, 0] == 111
    assert clips['Jogging.2'].boxes[0, 0] == 180
    assert numbers(clips['Jogging.1']) == numbers(clips['Jogging.2']) == [1, 2, 3]


@pytest.mark.parametrize(
    ('name', 'first', 'last', 'images'),
    [
        ('David', 300, 770, 770),
        ('Diving', 1, 215, 231),
        ('Football1', 1, 74, 81),
        ('Freeman3', 1, 460, 474),
        ('freeman4', 1, 283, 297),
    ],
)
def test_otb_sequences_use_only_the_images_with_boxes(
    tmp_path: Path, name: str, first: int, last: int, images: int
) -> None:
    otb(tmp_path, touch, name, ['1,2,30,40'] * (last - first + 1), range(1, images + 1))
    assert numbers(by_name('otb', tmp_path)[name]) == list(range(first, last + 1))


def test_otb_without_the_extra_images_is_read(tmp_path: Path) -> None:
    otb(tmp_path, touch, 'David', ['1,2,30,40'] * 471, range(300, 771))
    assert numbers(by_name('otb', tmp_path)['David']) == list(range(300, 771))


def test_otb_boxes_of_zeros_are_kept_as_the_toolkits_count_them(
    tmp_path: Path, write_image: Write
) -> None:
    otb(tmp_path, write_image, 'Board', ['57,156,198,173', '0,0,0,0'], (1, 2))
    assert by_name('otb', tmp_path)['Board'].boxes[1].tolist() == [0, 0, 0, 0]


def test_uav123_is_read_with_absent_frames(tmp_path: Path, write_image: Write) -> None:
    uav123(tmp_path, write_image, 'car1_s')
    clip = by_name('uav123', tmp_path)['car1_s']
    assert numbers(clip) == [1, 2, 3]
    assert clip.boxes[2].tolist() == [3, 334.5, 74, 30]
    assert clip.visible.tolist() == [0, 2]


@pytest.mark.parametrize(
    ('layout', 'version', 'name', 'first', 'last', 'whole'),
    [
        # From the configSeqs.m of each of the two data sets.
        ('uav123', 'UAV123', 'bird1_2', 775, 1477, 2437),
        ('uav123', 'UAV123', 'uav1_3', 2473, 3469, 3469),
        ('uav123', 'UAV123', 'car16_1', 1, 415, 1993),
        ('uav123_10fps', 'UAV123_10fps', 'bird1_2', 259, 493, 813),
        ('uav123_10fps', 'UAV123_10fps', 'bird1_3', 525, 813, 813),
        ('uav123_10fps', 'UAV123_10fps', 'uav1_3', 825, 1157, 1157),
        ('uav123_10fps', 'UAV123_10fps', 'group3_4', 1457, 1843, 1843),
        ('uav123_10fps', 'UAV123_10fps', 'car16_1', 1, 139, 665),
    ],
)
def test_uav123_sequences_that_share_a_folder_are_read(
    tmp_path: Path, layout: str, version: str, name: str, first: int, last: int, whole: int
) -> None:
    folder = name.rpartition('_')[0]
    for number in range(1, whole + 1):
        touch(tmp_path / 'data_seq' / version / folder / f'{number:06d}.jpg')
    uav123(tmp_path, touch, name, (first, last), folder, version)
    clip = by_name(layout, tmp_path)[name]
    assert numbers(clip) == list(range(first, last + 1))
    assert clip.images[0].parent.name == folder


def test_a_uav123_sequence_with_too_few_boxes_is_skipped_and_named(tmp_path: Path) -> None:
    path = uav123(tmp_path, touch, 'person8_2', (1075, 1525), 'person8')
    uav123(tmp_path, touch, 'boat1')
    text(path, '1,2,3,4\n' * 450)
    with pytest.warns(UserWarning, match='skipped') as warned:
        assert list(by_name('uav123', tmp_path)) == ['boat1']
    assert '451 images but 450 boxes' in str(warned[0].message)


def test_uav20l_sequences_use_whole_folders(tmp_path: Path) -> None:
    uav123(tmp_path, touch, 'bird1', (1, 30), version='UAV20L', images='UAV123')
    assert numbers(by_name('uav20l', tmp_path)['bird1']) == list(range(1, 31))


def test_nfs_is_read_with_absent_frames(tmp_path: Path, write_image: Write) -> None:
    nfs(tmp_path, write_image, lost=(3, 4))
    clip = by_name('nfs', tmp_path)['airtable_3']
    assert numbers(clip) == list(range(1, 17))
    assert clip.boxes[[0, 2]].tolist() == [[400, 200, 30, 40], [402, 200, 32, 40]]
    assert np.flatnonzero(np.isnan(clip.boxes).all(axis=1)).tolist() == [3, 4]


def test_nfs_images_and_boxes_may_differ_in_number_by_one(
    tmp_path: Path, write_image: Write
) -> None:
    nfs(tmp_path, write_image, 'parkour', boxes=15)
    nfs(tmp_path, write_image, 'yoyo', fps=30, images=2, boxes=3)
    assert numbers(by_name('nfs', tmp_path)['parkour']) == list(range(1, 16))
    assert len(by_name('nfs_30fps', tmp_path)['yoyo'].boxes) == 2


def test_nfs_labels_may_contain_spaces(tmp_path: Path, write_image: Write) -> None:
    path = nfs(tmp_path, write_image, 'yoyo', images=2, boxes=2)
    text(path, path.read_text().replace('"ball"', '"a red yo yo" fast'))
    assert len(by_name('nfs', tmp_path)['yoyo'].boxes) == 2


@pytest.mark.parametrize('boxes', [3, 22, 24, 26])
def test_nfs_at_30_fps_reads_boxes_of_30_or_240_fps(
    tmp_path: Path, write_image: Write, boxes: int
) -> None:
    """The file of boxes at 30 fps has one box per image, or the boxes of 240 fps."""
    nfs(tmp_path, write_image, fps=30, images=3, boxes=boxes, lost=(8,))
    clip = by_name('nfs_30fps', tmp_path)['airtable_3']
    assert numbers(clip) == [1, 2, 3]
    step = 1 if boxes == 3 else 8
    assert clip.boxes[2].tolist() == [400 + 2 * step, 200, 30 + 2 * step, 40]
    assert np.isnan(clip.boxes[1]).all() == (step == 8)


def test_nfs_at_30_fps_falls_back_to_the_boxes_of_the_240_fps_folder(
    tmp_path: Path, write_image: Write
) -> None:
    nfs(tmp_path, write_image, images=16, boxes=16)
    nfs(tmp_path, write_image, fps=30, images=2).unlink()
    clip = by_name('nfs_30fps', tmp_path)['airtable_3']
    assert numbers(clip) == [1, 2]
    assert clip.boxes.tolist() == [[400, 200, 30, 40], [408, 200, 38, 40]]
    assert clip.images[0].parts[-3:] == ('30', 'airtable_3', '00001.jpg')


def test_vot_polygons_boxes_and_absent_frames_are_read(tmp_path: Path, write_image: Write) -> None:
    polygon = '10,20,40.5,20,40.5,50,10,50'
    vot(tmp_path, write_image, 'ants1', [polygon, 'nan,nan,nan,nan', '0,0,0,0', '1,2,30,40', '2'])
    clip = by_name('vot', tmp_path)['ants1']
    assert numbers(clip) == [1, 2, 3, 4, 5]
    assert clip.images[0].parent.name == 'color'
    assert clip.boxes[[0, 3]].tolist() == [[10, 20, 30.5, 30], [1, 2, 30, 40]]
    assert clip.visible.tolist() == [0, 3]
    assert clip.boxes[2].tolist() == [0, 0, 0, 0], 'an absent target, which counts'
    assert np.isnan(clip.boxes[[1, 4]]).all(), 'unknown, which does not'


def test_vot_before_2018_has_images_in_the_sequence_folder(
    tmp_path: Path, write_image: Write
) -> None:
    vot(tmp_path, write_image, 'bolt', ['1.5,2,30,40'] * 2, colour='')
    assert by_name('vot', tmp_path)['bolt'].images[0] == tmp_path / 'bolt/00000001.jpg'


def test_vot_reads_the_sequences_of_its_list(tmp_path: Path, write_image: Write) -> None:
    for name in ('ants1', 'bag', 'ball'):
        vot(tmp_path / 'sequences', write_image, name)
    text(tmp_path / 'sequences/list.txt', 'bag\nants1\nbirds\nbag\n')
    for root in (tmp_path, tmp_path / 'sequences'):
        with pytest.warns(UserWarning, match='skipped') as warned:
            assert list(by_name('vot', root)) == ['ants1', 'bag']
        assert 'birds' in str(warned[0].message)
    (tmp_path / 'sequences/list.txt').unlink()
    assert list(by_name('vot', tmp_path)) == ['ants1', 'bag', 'ball']


@pytest.mark.parametrize('offset', [(0, 0), (7, 3)])
@pytest.mark.parametrize('first', [False, True])
def test_the_box_of_a_vot_mask_encloses_its_pixels(offset: tuple[int, int], first: bool) -> None:
    mask = np.random.default_rng(0).random((9, 11)) < 0.3
    mask[[0, 1, 8]] = False
    mask[:, [0, 10]] = False
    mask[0, 0] = first
    line = mask_line(mask, offset)
    assert line.split(',')[4] == ('0' if first else str(int(np.flatnonzero(mask)[0])))
    rows, columns = np.nonzero(mask)
    left, top = columns.min() + offset[0], rows.min() + offset[1]
    width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
    assert vot_box(line).tolist() == [left, top, width, height]


@pytest.mark.parametrize('line', ['nan,nan,nan,nan', '1', 'NaN NaN NaN NaN', '1,2,nan,4,5,6'])
def test_unknown_vot_regions_have_no_box(line: str) -> None:
    assert np.isnan(vot_box(line)).all()


@pytest.mark.parametrize('line', ['1,2', '1,2,3,4,5', '1,2,3,4,5,6,7', 'm0,0,3', 'm0,0,2,2,-1,3'])
def test_other_vot_regions_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r'expected a box, a polygon or a mask|the runs of a mask'):
        vot_box(line)


def test_vot_boxes_are_read_with_any_separator() -> None:
    for line in ('1,2,3.5,4', '1\t2\t3.5\t4', ' 1 2 3.5 4 ', '1, 2, 3.5, 4\r', '1;2;3.5;4'):
        assert vot_box(line).tolist() == [1, 2, 3.5, 4]
    assert vot_box('5,1,9,3,7,8').tolist() == [5, 1, 4, 7]


@pytest.mark.parametrize(
    'mask', ['m0,0,0,0,0,1', 'm0,0,0,0', 'm5,5,3,3,9', 'm0,0,4,3', 'm0,0,4,3,12']
)
def test_an_empty_vot_mask_is_an_absent_target(mask: str) -> None:
    """vot-toolkit reads an empty mask as a region without extent, not as an unknown region."""
    assert vot_box(mask)[2:].tolist() == [0, 0]


def test_a_mask_that_claims_gigabytes_is_refused() -> None:
    with pytest.raises(ValueError, match='a mask of 1000000 x 1000000: expected at most'):
        vot_box('m0,0,1000000,1000000,0,1000000000000')


def test_a_mask_of_a_hundred_million_pixels_takes_little_memory() -> None:
    """The pixels from row 2500, column 7 to row 7499, column 9992."""
    tracemalloc.start()
    box = vot_box(f'm3,4,10000,10000,{2500 * 10000 + 7},{5000 * 10000 - 14}')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert box.tolist() == [3, 2504, 10000, 5000]
    assert peak < 1 << 20


@pytest.mark.parametrize(
    'line',
    [
        f'm0,0,10,10{f",{2**62}" * 4}',
        f'm0,0,10,10{f",{2**52}" * 4096}',
        'mnan,0,10,10,5',
        'm1e300,0,10,10,5',
        'm0,0,9.5,9,5',
    ],
)
def test_a_mask_with_impossible_numbers_is_refused(line: str) -> None:
    """In 64 bits the sum of four runs of 2**62 is 0, which once crashed np.repeat."""
    with pytest.raises(ValueError, match=r'expected whole numbers|the runs of a mask'):
        vot_box(line)


def test_an_image_named_by_a_superscript_is_passed_over(tmp_path: Path, write_image: Write) -> None:
    """Python calls it a digit, but reads no number from it."""
    uav123(tmp_path, write_image)
    write_image(tmp_path / 'data_seq' / 'UAV123' / 'boat1' / '\u00b2.jpg')
    assert len(by_name('uav123', tmp_path)['boat1'].images) == 3


def test_names_with_spaces_in_the_vot_list_are_read(tmp_path: Path, write_image: Write) -> None:
    vot(tmp_path, write_image, 'a car', ['1,2,30,40'] * 2)
    (tmp_path / 'list.txt').write_bytes('\ufeffa car\r\n# and no other\r\n'.encode())
    (clip,) = read_clips('vot', tmp_path)
    assert clip.name == 'a car'
