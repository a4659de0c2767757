# SPDX-License-Identifier: Apache-2.0
"""Broken parts of a data set are skipped, counted and named."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import data_sets
import numpy as np
import pytest
from data_sets import Write, coco, got10k, lasot, nfs, otb, text, trackingnet, uav123, vot

from hcat_ros.evaluation.clips import DataSetError, read_clips, read_data_set

BROKEN: list[tuple[str, str, str | None, str]] = [
    # layout, file of the second sequence, its new content (None: deleted), reason
    ('lasot', 'car-2/groundtruth.txt', None, 'No such file'),
    ('lasot', 'car-2/out_of_view.txt', None, 'No such file'),
    ('lasot', 'car-2/groundtruth.txt', '1,2,3,4\n', '4 numbers for 1 boxes'),
    ('lasot', 'car-2/full_occlusion.txt', '0,0', '2 numbers for 4 boxes'),
    ('lasot', 'car-2/groundtruth.txt', '1,2,3\n' * 4, 'expected x y w h'),
    (
        'lasot',
        'car-2/groundtruth.txt',
        'one,two,3,4\n' * 4,
        'line 1: could not convert string',
    ),
    ('lasot', 'car-2/groundtruth.txt', '1,2,3,4\n1,2,3\n', 'line 2 has 3 numbers, the first row 4'),
    ('lasot', 'car-2/groundtruth.txt', '', 'expected x y w h'),
    ('lasot', 'car-2/img/00000002.jpg', None, '3 images but 4 boxes'),
    ('got10k', 'GOT-10k_Train_000002/absence.label', None, 'No such file'),
    ('got10k', 'GOT-10k_Train_000002/cover.label', '8\n', '1 numbers for 3 boxes'),
    ('got10k', 'GOT-10k_Train_000002/00000003.jpg', None, '2 images but 3 boxes'),
    ('trackingnet', 'TRAIN_3/anno/zz.txt', '1,2,3,4\n', '12 images but 1 boxes'),
    ('otb', 'two/groundtruth_rect.txt', None, 'no groundtruth_rect.txt with boxes'),
    ('otb', 'two/groundtruth_rect.txt', '1,2,3\n' * 3, 'expected x y w h'),
    ('otb', 'two/img/0002.jpg', None, '2 images but 3 boxes'),
    ('uav123', 'UAV123/two.txt', '1,2,3,4\n' * 4, 'two lacks 1 images; the first is frame 4'),
    ('uav123', 'two/000002.jpg', None, 'two lacks 1 images; the first is frame 2'),
    ('nfs', 'two/240/two.txt', None, 'No such file'),
    ('nfs', 'two/240/two.txt', '0 1 2 3 4 5\n' * 16, 'expected id x1 y1 x2 y2 frame lost'),
    ('nfs', 'two/240/two.txt', '0 1 2 3 4 5 0\n' * 14, '16 images but 14 boxes'),
    ('vot', 'two/groundtruth.txt', None, 'No such file'),
    ('vot', 'two/groundtruth.txt', '1,2,3,4\n1,2,3\n', 'line 2: expected a box, a polygon or'),
    ('vot', 'two/groundtruth.txt', '1,2,3,4\na,b,c,d\n', 'line 2: could not convert'),
    ('vot', 'two/groundtruth.txt', 'm0,0,2,2,3,2\n' * 3, 'a mask of 2 x 2 end at 5'),
    ('vot', 'two/color/00000002.jpg', None, '2 images but 3 boxes'),
    ('plain', 'b/groundtruth.txt', '1,2,3,4,5,6,7,8\n' * 5, 'expected x y w h'),
]
BENCHMARKS: dict[str, Callable[..., Path]] = {'otb': otb, 'uav123': uav123, 'nfs': nfs, 'vot': vot}


@pytest.mark.parametrize(('layout', 'file', 'content', 'reason'), BROKEN)
def test_a_broken_sequence_is_skipped_counted_and_named(
    tmp_path: Path,
    write_image: Write,
    sequence: Write,
    layout: str,
    file: str,
    content: str | None,
    reason: str,
) -> None:
    for number in (1, 2):
        if layout == 'lasot':
            lasot(tmp_path, write_image, f'car-{number}')
        elif layout == 'got10k':
            got10k(tmp_path, write_image, f'GOT-10k_Train_00000{number}')
        elif layout == 'trackingnet':
            trackingnet(tmp_path, write_image, ('az', 'zz')[number - 1])
        elif layout in BENCHMARKS:
            BENCHMARKS[layout](tmp_path, write_image, ('one', 'two')[number - 1])
        else:
            sequence(tmp_path / 'ab'[number - 1])
    whole = len(read_clips(layout, tmp_path))
    path = next(p for p in tmp_path.rglob('*') if str(p).endswith(file))
    path.unlink() if content is None else path.write_text(content)
    with pytest.warns(UserWarning, match='skipped') as warned:
        assert len(read_clips(layout, tmp_path)) == whole - 1
    texts = [str(warning.message) for warning in warned]
    assert reason in texts[0]
    named = path.parent if path.parent.name not in ('img', 'color') else path.parent.parent
    assert str(named) in texts[0]
    assert texts[-1] == f'{layout}: skipped 1 in {tmp_path}, {whole - 1} clips are used'


def test_folders_that_are_not_sequences_are_ignored(tmp_path: Path, sequence: Write) -> None:
    sequence(tmp_path / 'walk', 3)
    sequence(tmp_path / '.trash', 3)
    text(tmp_path / 'evaluation' / 'still' / 'run.json', '{}')
    text(tmp_path / 'notes' / 'todo.txt', '')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert [clip.name for clip in read_clips('plain', tmp_path)] == ['walk']


@pytest.mark.parametrize('layout', ['lasot', 'trackingnet', 'uav123', 'vot', 'otb', 'got10k'])
def test_the_metadata_of_macos_is_ignored(tmp_path: Path, write_image: Write, layout: str) -> None:
    """macOS leaves a file ._NAME beside each file and folder on disks that are not its own."""
    name = {'lasot': 'car-1', 'got10k': 'GOT-10k_Train_000001'}.get(layout, 'one')
    getattr(data_sets, layout)(tmp_path, write_image, name)
    for path in list(tmp_path.rglob('*')):
        path.with_name(f'._{path.name}').write_bytes(b'\x00\x05\x16\x07Mac OS X\xb0')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert [clip.name for clip in read_clips(layout, tmp_path)] == [name]


@pytest.mark.parametrize('mistake', ['images/0.png', '0.png', 'groundtruth_rect.txt'])
def test_folders_that_look_like_broken_sequences_are_skipped_and_named(
    tmp_path: Path, sequence: Write, write_image: Write, mistake: str
) -> None:
    sequence(tmp_path / 'walk', 3)
    path = tmp_path / 'run' / mistake
    text(path, '1,2,3,4\n') if path.suffix == '.txt' else write_image(path)
    with pytest.warns(UserWarning, match=rf'skipped {tmp_path}/run: '):
        assert [clip.name for clip in read_clips('plain', tmp_path)] == ['walk']


@pytest.mark.parametrize(
    ('layout', 'damage', 'reason'),
    [
        ('coco', '{', 'is not JSON'),
        ('coco', '{"images": []}', 'annotations'),
        ('coco', '{"images": [], "annotations": 3}', 'TypeError'),
        ('boxed', '[]', 'AttributeError'),
        ('boxed', '{"a.png": [[1, 2]]}', "boxes of 'a.png' not as expected"),
    ],
)
def test_a_damaged_json_file_is_skipped_and_named(
    tmp_path: Path, write_image: Write, layout: str, damage: str, reason: str
) -> None:
    write_image(tmp_path / 'a.png')
    coco(tmp_path, write_image)
    file = 'boxes.json' if layout == 'boxed' else 'annotations/instances_train2017.json'
    text(tmp_path / file, damage)
    with (
        pytest.warns(UserWarning, match='skipped') as warned,
        pytest.raises(DataSetError, match='no usable'),
    ):
        read_clips(layout, tmp_path)
    assert str(tmp_path / file) in str(warned[0].message)
    assert reason in str(warned[0].message)


@pytest.mark.parametrize(
    'image', ['{"id": 3}', 'null', '{"id": [], "file_name": "x"}', '{"id": 3, "file_name": 5}']
)
def test_a_bad_image_entry_of_coco_leaves_the_others_usable(
    tmp_path: Path, write_image: Write, image: str
) -> None:
    listing = coco(tmp_path, write_image)
    whole = len(read_clips('coco', tmp_path))
    content = listing.read_text()
    text(listing, content.replace('"images": [', f'"images": [{image}, '))
    with pytest.warns(UserWarning, match=r'image 0 \(.*\) not as expected'):
        assert len(read_clips('coco', tmp_path)) == whole


@pytest.mark.parametrize('entry', [f'"b.png": [[1{"0" * 400}, 2, 3, 4]]', f'"{"b" * 5000}": []'])
def test_an_overlong_number_or_name_leaves_the_others_usable(
    tmp_path: Path, write_image: Write, entry: str
) -> None:
    for name in 'ab':
        write_image(tmp_path / f'{name}.png')
    text(tmp_path / 'boxes.json', f'{{"a.png": [[1, 2, 3, 4]], {entry}}}')
    with pytest.warns(UserWarning, match='boxes of .* not as expected'):
        assert len(read_clips('boxed', tmp_path)) == 1


@pytest.mark.parametrize('kind', ['folder', 'link', 'fifo'])
def test_an_otb_groundtruth_that_is_not_a_file_leaves_the_others_usable(
    tmp_path: Path, write_image: Write, kind: str
) -> None:
    for name in ('one', 'two'):
        otb(tmp_path, write_image, name)
    path = tmp_path / 'two/groundtruth_rect.txt'
    path.unlink()
    if kind == 'folder':
        path.mkdir()
    elif kind == 'link':
        path.symlink_to('nowhere')
    else:
        os.mkfifo(path)
    with pytest.warns(UserWarning, match='skipped') as warned:
        assert [clip.name for clip in read_clips('otb', tmp_path)] == ['one']
    assert str(path) in str(warned[0].message)


def write_masked_sequences(root: Path, write_image: Write) -> np.ndarray:
    """Write the sequences bear, cat and dog of one image with one object; return the mask."""
    mask = np.zeros((24, 32), np.uint8)
    mask[4:9, 4:9] = 255
    for name in ('bear', 'cat', 'dog'):
        write_image(root / f'JPEGImages/480p/{name}/00000.jpg', np.zeros((24, 32, 3), np.uint8))
        write_image(root / f'Annotations/480p/{name}/00000.png', mask)
    return mask


def test_a_mask_of_noise_or_floats_leaves_the_others_usable(
    tmp_path: Path, write_image: Write
) -> None:
    """Each colour of a mask is an object, so noise would be a great many objects."""
    write_masked_sequences(tmp_path, write_image)
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    write_image(tmp_path / 'Annotations/480p/cat/00000.png', noise)
    fractions = np.full((24, 32), np.nan, np.float32)
    (tmp_path / 'Annotations/480p/dog/00000.png').unlink()
    assert cv2.imwrite(str(tmp_path / 'Annotations/480p/dog/00000.tif'), fractions)
    with pytest.warns(UserWarning, match='skipped') as warned:
        assert [clip.name for clip in read_clips('masks', tmp_path)] == ['bear-1']
    texts = [str(warning.message) for warning in warned]
    assert any('00000.png: 768 values or colours' in line for line in texts)
    assert any('00000.tif has pixels of type float32' in line for line in texts)


def test_a_mask_of_another_size_or_in_jpeg_leaves_the_others_usable(
    tmp_path: Path, write_image: Write
) -> None:
    """Boxes of a 480p mask are wrong in a full image; JPEG surrounds an object by others."""
    mask = write_masked_sequences(tmp_path, write_image)
    write_image(tmp_path / 'JPEGImages/480p/cat/00000.jpg', np.zeros((48, 64, 3), np.uint8))
    (tmp_path / 'Annotations/480p/dog/00000.png').unlink()
    write_image(tmp_path / 'Annotations/480p/dog/00000.jpg', mask)
    with pytest.warns(UserWarning, match='skipped') as warned:
        assert [clip.name for clip in read_clips('masks', tmp_path)] == ['bear-1']
    texts = [str(warning.message) for warning in warned]
    assert any('00000.png: a mask of 32x24 for an image of 64x48' in line for line in texts)
    assert any('(JPEG and soft edges add colours)' in line for line in texts)


def test_a_coco_split_without_its_images_is_skipped(tmp_path: Path, write_image: Write) -> None:
    listing = coco(tmp_path, write_image)
    text(listing.with_name('instances_val2017.json'), listing.read_text())
    with pytest.warns(UserWarning, match='skipped') as warned:
        assert len(read_clips('coco', tmp_path)) == 2
    assert f'no folder {tmp_path / "val2017"}' in str(warned[0].message)


def test_masks_without_an_image_and_unreadable_masks_are_skipped(
    tmp_path: Path, write_image: Write
) -> None:
    for name in ('bear', 'cat'):
        for number in range(2):
            write_image(tmp_path / f'JPEGImages/480p/{name}/{number:05d}.jpg')
            mask = np.zeros((24, 32), np.uint8)
            mask[4:9, 4:9] = 255
            write_image(tmp_path / f'Annotations/480p/{name}/{number:05d}.png', mask)
    (tmp_path / 'JPEGImages/480p/bear/00001.jpg').unlink()
    text(tmp_path / 'Annotations/480p/cat/00000.png', 'no image')
    with pytest.warns(UserWarning, match='skipped') as warned:
        clips = read_clips('masks', tmp_path)
    texts = ' '.join(str(warning.message) for warning in warned)
    assert str(tmp_path / 'JPEGImages/480p/bear/00001.jpg') in texts
    assert 'Annotations/480p/cat/00000.png is not a readable image' in texts
    assert [clip.visible.tolist() for clip in clips] == [[1]]


def test_sequences_that_the_list_of_got10k_names_are_missed(
    tmp_path: Path, write_image: Write
) -> None:
    """Scores over the rest of a broken download must say so; training on a part is normal."""
    for name in ('GOT-10k_Train_000001', 'GOT-10k_Val_000002'):
        got10k(tmp_path, write_image, name)
    names = ('GOT-10k_Val_000001', 'GOT-10k_Val_000002', 'GOT-10k_Test_000001')
    text(tmp_path / 'val' / 'list.txt', '\n'.join(names))
    text(tmp_path / 'train' / 'list.txt', 'GOT-10k_Train_000001\nGOT-10k_Train_000009\n')
    with pytest.warns(UserWarning, match='skipped'):
        data = read_data_set('got10k', tmp_path)
    assert len(data.clips) == 2
    (missing,) = data.left_out
    assert missing.what == tmp_path / 'val' / 'GOT-10k_Val_000001'
    assert str(missing.reason).startswith(f'{tmp_path / "val" / "list.txt"} names it; no ')


def test_a_folder_of_got10k_is_suspected_in_spite_of_its_list(
    tmp_path: Path, write_image: Write
) -> None:
    """Its list.txt is also a sign of VOT."""
    got10k(tmp_path, write_image, 'GOT-10k_Val_000001')
    with pytest.raises(DataSetError, match='it looks like the layout got10k'):
        read_data_set('otb', tmp_path / 'train')
