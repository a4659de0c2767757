# SPDX-License-Identifier: Apache-2.0
"""Data sets in the layouts of the published ones; test_clips_skipped.py has broken ones."""

from __future__ import annotations

import json
import os
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import data_sets
import numpy as np
import pytest
from data_sets import (
    Write,
    coco,
    got10k,
    got10k_test,
    indexed_png,
    lasot,
    text,
    trackingnet,
    trackingnet_test,
)

from hcat_ros.evaluation.clips import (
    LAYOUTS,
    Clip,
    DataSetError,
    ImagesOf,
    keep_scorable,
    read_clips,
)


def names(clip: Clip) -> list[str]:
    return [path.name for path in clip.images]


def by_name(layout: str, root: Path) -> dict[str, Clip]:
    clips = read_clips(layout, root)
    found = {clip.name: clip for clip in clips}
    assert len(found) == len(clips)
    for clip in clips:
        assert clip.boxes.shape == (len(clip.images), 4)
        assert all(path.is_file() for path in clip.images)
    return found


def test_lasot_is_read_with_absent_frames(tmp_path: Path, write_image: Write) -> None:
    folder = lasot(tmp_path, write_image)
    text(folder / 'full_occlusion.txt', '0,1,0,0')
    text(folder / 'out_of_view.txt', '0,0,0,1')
    lasot(tmp_path, write_image, 'basketball-12', 2)
    clips = by_name('lasot', tmp_path)
    assert sorted(clips) == ['airplane-1', 'basketball-12']
    clip = clips['airplane-1']
    assert names(clip) == [f'{n:08d}.jpg' for n in (1, 2, 3, 4)]
    assert clip.visible.tolist() == [0, 2]
    assert clip.boxes[0].tolist() == [367, 101, 41, 16]
    assert np.isnan(clip.boxes[[1, 3]]).all()


def test_a_single_class_folder_of_lasot_is_read(tmp_path: Path, write_image: Write) -> None:
    folder = lasot(tmp_path / 'whole', write_image)
    lasot(tmp_path / 'whole', write_image, 'basketball-12', 2)
    clips = by_name('lasot', folder.parent)
    assert list(clips) == ['airplane-1']
    assert len(clips['airplane-1'].images) == 4


def test_boxes_without_extent_are_absent(tmp_path: Path, write_image: Write) -> None:
    rows = '367,101,41,16\n0,0,0,0\n1,1,-1,-1\n367,101,41,1\n'
    text(lasot(tmp_path / 'lasot', write_image) / 'groundtruth.txt', rows)
    for number in range(4):
        write_image(tmp_path / f'plain/car/{number}.png')
    text(tmp_path / 'plain/car/groundtruth.txt', rows)
    for layout in ('lasot', 'plain'):
        (clip,) = read_clips(layout, tmp_path / layout)
        assert np.isnan(clip.boxes).all(axis=1).tolist() == [False, True, True, False]


def test_got10k_is_read_with_absent_frames(tmp_path: Path, write_image: Write) -> None:
    folder = got10k(tmp_path, write_image)
    text(folder / 'absence.label', '0\n1\n0\n')
    text(folder / 'cover.label', '8\n8\n0\n')
    got10k(tmp_path, write_image, 'GOT-10k_Train_000002')
    (folder.parent / 'GOT-10k_Train_000002' / 'cover.label').unlink()
    for root in (tmp_path, tmp_path / 'train'):
        clips = by_name('got10k', root)
        assert clips['GOT-10k_Train_000001'].visible.tolist() == [0]
        assert clips['GOT-10k_Train_000002'].visible.tolist() == [0, 1, 2]
        assert clips['GOT-10k_Train_000001'].boxes[0].tolist() == [347, 443, 429, 272]


def test_got10k_validation_counts_frames_by_the_cover_label(
    tmp_path: Path, write_image: Write
) -> None:
    """The toolkit uses only the cover label, and always starts on the first frame."""
    folder = got10k(tmp_path, write_image, 'GOT-10k_Val_000001', 4)
    text(folder / 'absence.label', '0\n1\n0\n0\n')
    text(folder / 'cover.label', '0\n8\n0\n1\n')
    assert by_name('got10k', tmp_path)['GOT-10k_Val_000001'].visible.tolist() == [0, 1, 3]
    (folder / 'cover.label').unlink()
    assert by_name('got10k', tmp_path)['GOT-10k_Val_000001'].visible.tolist() == [0, 2, 3]


def test_test_splits_have_only_the_first_box(tmp_path: Path, write_image: Write) -> None:
    got10k_test(tmp_path / 'got10k', write_image)
    trackingnet_test(tmp_path / 'trackingnet', write_image)
    boxes = {'got10k': [347, 443, 429, 272], 'trackingnet': [77, 59, 76, 168]}
    for layout, part, count in (('got10k', 'test', 3), ('trackingnet', 'TEST', 11)):
        for root in (tmp_path / layout, tmp_path / layout / part):
            (clip,) = by_name(layout, root).values()
            assert len(clip.images) == count
            assert clip.visible.tolist() == [0]
            assert clip.boxes[0].tolist() == boxes[layout]
            assert np.isnan(clip.boxes[1:]).all()


def test_test_splits_are_not_read_with_the_training_split(
    tmp_path: Path, write_image: Write
) -> None:
    got10k(tmp_path, write_image)
    got10k_test(tmp_path, write_image)
    trackingnet(tmp_path, write_image)
    trackingnet_test(tmp_path, write_image)
    assert list(by_name('got10k', tmp_path)) == ['GOT-10k_Train_000001']
    assert list(by_name('trackingnet', tmp_path)) == ['rg_1u0']
    assert list(by_name('trackingnet', tmp_path / 'TRAIN_3')) == ['rg_1u0']


def test_got10k_splits_and_sequences_behind_links_are_read(
    tmp_path: Path, write_image: Write
) -> None:
    folder = got10k(tmp_path / 'disk', write_image)
    root = tmp_path / 'GOT-10k'
    root.mkdir()
    (root / 'train').symlink_to(folder.parent)
    assert list(by_name('got10k', root)) == ['GOT-10k_Train_000001']
    (root / 'train').unlink()
    (root / 'val').mkdir()
    (root / 'val' / 'GOT-10k_Val_000001').symlink_to(folder)
    assert list(by_name('got10k', root)) == ['GOT-10k_Val_000001']


def test_a_test_split_with_full_truth_is_read(tmp_path: Path, write_image: Write) -> None:
    text(got10k_test(tmp_path, write_image) / 'groundtruth.txt', '1,2,30,40\n' * 3)
    text(trackingnet_test(tmp_path, write_image), '1,2,30,40\n' * 11)
    assert by_name('got10k', tmp_path)['GOT-10k_Test_000001'].visible.tolist() == [0, 1, 2]
    assert len(by_name('trackingnet', tmp_path)['0-6LB4FqxoE_0'].visible) == 11


def test_trackingnet_frames_are_in_numeric_order(tmp_path: Path, write_image: Write) -> None:
    trackingnet(tmp_path, write_image)
    clip = by_name('trackingnet', tmp_path)['rg_1u0']
    assert names(clip) == [f'{number}.jpg' for number in range(12)]
    assert clip.boxes[10].tolist() == pytest.approx([10, 77.59, 76, 168])


def test_coco_objects_are_clips_of_one_image(tmp_path: Path, write_image: Write) -> None:
    coco(tmp_path, write_image)
    clips = by_name('coco', tmp_path)
    # Crowds, objects under two pixels and objects of unknown images are no clips.
    assert sorted(clips) == ['coco-10', 'coco-12']
    assert names(clips['coco-12']) == ['000000000002.jpg']
    assert clips['coco-10'].boxes.tolist() == [[1.5, 2, 10, 12]]


def test_davis_2016_masks_of_one_object_are_read(tmp_path: Path, write_image: Write) -> None:
    """Masks of DAVIS 2016 are black and white, with one or three channels."""
    for number, shape in enumerate([(24, 32), (24, 32, 3), (24, 32)]):
        write_image(tmp_path / f'JPEGImages/480p/bear/{number:05d}.jpg')
        mask = np.zeros(shape, np.uint8)
        if number < 2:
            mask[5:15, 4 + number : 24] = 255
        write_image(tmp_path / f'Annotations/480p/bear/{number:05d}.png', mask)
    clips = by_name('masks', tmp_path)
    assert list(clips) == ['bear-1']
    assert clips['bear-1'].boxes[:2].tolist() == [[4, 5, 20, 10], [5, 5, 19, 10]]
    assert clips['bear-1'].visible.tolist() == [0, 1]
    assert names(clips['bear-1']) == ['00000.jpg', '00001.jpg', '00002.jpg']


def test_masks_of_two_resolutions_have_different_names(tmp_path: Path, write_image: Write) -> None:
    mask = np.zeros((24, 32), np.uint8)
    mask[5:15, 4:24] = 255
    for size in ('1080p', '480p'):
        write_image(tmp_path / f'JPEGImages/{size}/bear/00000.jpg')
        write_image(tmp_path / f'Annotations/{size}/bear/00000.png', mask)
    clips = by_name('masks', tmp_path)
    assert sorted(clips) == ['1080p-bear-1', '480p-bear-1']
    assert clips['480p-bear-1'].images[0].parts[-3:] == ('480p', 'bear', '00000.jpg')


@pytest.mark.parametrize('palette', [True, False])
def test_davis_2017_masks_of_several_objects_are_read(
    tmp_path: Path, write_image: Write, palette: bool
) -> None:
    """OpenCV reads the palette colours of DAVIS 2017, of which several have the same sum."""
    for number in range(2):
        write_image(tmp_path / f'JPEGImages/480p/dogs/{number:05d}.jpg')
        mask = np.zeros((24, 32), np.uint8)
        mask[2:8, 3:9] = 1
        mask[10:20, 10 + number : 20] = 2
        if number:
            mask[21:24, 0:30] = 3
        path = tmp_path / f'Annotations/480p/dogs/{number:05d}.png'
        if palette:
            indexed_png(path, mask)
        else:
            write_image(path, mask)
    clips = by_name('masks', tmp_path)
    assert sorted(clips) == ['dogs-1', 'dogs-2', 'dogs-3']
    found = {tuple(clip.boxes[1].tolist()): clip for clip in clips.values()}
    assert set(found) == {(3, 2, 6, 6), (11, 10, 9, 10), (0, 21, 30, 3)}
    assert found[11, 10, 9, 10].boxes[0].tolist() == [10, 10, 10, 10]
    assert found[0, 21, 30, 3].visible.tolist() == [1]


def test_objects_are_numbered_by_palette_index(tmp_path: Path, write_image: Write) -> None:
    """The index in the palette is the number of the object, even if a lower index is unused."""
    write_image(tmp_path / 'JPEGImages/480p/dogs/00000.jpg')
    mask = np.zeros((24, 32), np.uint8)
    mask[2:8, 3:9], mask[10:20, 10:20] = 5, 2
    indexed_png(tmp_path / 'Annotations/480p/dogs/00000.png', mask)
    clips = by_name('masks', tmp_path)
    assert clips['dogs-5'].boxes.tolist() == [[3, 2, 6, 6]]
    assert clips['dogs-2'].boxes.tolist() == [[10, 10, 10, 10]]


def test_boxed_images_are_clips_of_one_image(tmp_path: Path, write_image: Write) -> None:
    write_image(tmp_path / 'set/a.png')
    write_image(tmp_path / 'set/b.png')
    content = {'a.png': [[1, 2, 8, 9], [3, 4, 5, 6]], 'b.png': [[1, 1, 9, 9]], 'c.png': []}
    text(tmp_path / 'set/boxes.json', json.dumps(content))
    with pytest.warns(UserWarning, match='skipped') as warned:
        clips = by_name('boxed', tmp_path)
    assert str(warned[0].message) == f'skipped {tmp_path / "set/c.png"}: no such image'
    assert sorted(clips) == ['a.png-0', 'a.png-1', 'b.png-0']
    assert clips['a.png-1'].boxes.tolist() == [[3, 4, 5, 6]]


@pytest.mark.parametrize('separator', [',', '\t', ' ', ', '])
def test_plain_sequences_are_read_with_any_separator(
    tmp_path: Path, write_image: Write, separator: str
) -> None:
    rows = [['10', '20', '30', '40'], ['nan'] * 4, ['11.5', '20', '30', '1']]
    for number in (2, 10, 1):
        write_image(tmp_path / f'car/{number}.png')
    text(tmp_path / 'car/groundtruth.txt', '\n'.join(separator.join(r) for r in rows) + '\n\n')
    clip = by_name('plain', tmp_path)['car']
    assert names(clip) == ['1.png', '2.png', '10.png']
    assert clip.boxes[[0, 2]].tolist() == [[10, 20, 30, 40], [11.5, 20, 30, 1]]
    assert clip.visible.tolist() == [0]


def test_the_plain_layout_reads_a_single_sequence_folder(
    tmp_path: Path, sequence: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sequence(tmp_path / 'my car', 3)
    (clip,) = by_name('plain', folder).values()
    assert clip.name == 'my car'
    assert len(clip.images) == 3
    monkeypatch.chdir(folder)
    assert list(by_name('plain', Path())) == ['my car']


def test_plain_sequences_behind_links_are_named_after_the_links(
    tmp_path: Path, sequence: Write
) -> None:
    for name in ('walk', 'run'):
        (tmp_path / 'seqs').mkdir(exist_ok=True)
        (tmp_path / 'seqs' / name).symlink_to(sequence(tmp_path / name / 'images', 3))
    assert sorted(by_name('plain', tmp_path / 'seqs')) == ['run', 'walk']
    assert list(by_name('plain', tmp_path / 'seqs' / 'walk')) == ['walk']


def test_boxes_are_float64_or_the_requested_type(tmp_path: Path, write_image: Write) -> None:
    write_image(tmp_path / 'car/1.png')
    text(tmp_path / 'car/groundtruth.txt', '1234.5678901,0.1,30.3,40.4')
    (clip,) = read_clips('plain', tmp_path)
    assert clip.boxes.dtype == np.float64
    assert clip.boxes.tolist() == [[1234.5678901, 0.1, 30.3, 40.4]]
    (small,) = read_clips('plain', tmp_path, np.float32)
    assert small.boxes.dtype == np.float32
    np.testing.assert_allclose(small.boxes, clip.boxes, rtol=1e-7)


def test_boxes_that_are_not_finite_or_too_small_are_not_visible() -> None:
    boxes = [[1, 1, 5, 5], [np.nan, 1, 5, 5], [1, 1, np.inf, 5], [1, 1, 5, 1.9], [1, 1, -5, 5]]
    clip = Clip('x', (Path('x'),) * 5, np.array(boxes, np.float32))
    assert clip.visible.tolist() == [0]


def test_clips_with_a_single_box_are_left_out_and_named() -> None:
    box, none = [1, 1, 5, 5], [np.nan] * 4
    many = Clip('many', (Path('x'),) * 3, np.array([box, none, box]))
    once = Clip('once', (Path('x'),) * 3, np.array([box, none, [1, 1, 1, 1]]))
    with pytest.warns(UserWarning, match='skipped once: its target is in one frame only'):
        assert keep_scorable([once, many]) == [many]
    with (
        pytest.warns(UserWarning, match='skipped once'),
        pytest.raises(DataSetError, match='no sequence can be scored: once: its target'),
    ):
        keep_scorable([once])


@pytest.mark.parametrize('folder', [Path('/data/set/car'), Path('car'), Path()])
def test_images_of_a_folder_behave_as_a_sequence_of_paths(folder: Path) -> None:
    names = ['2.png', '10.png', 'a much longer name.jpeg', 'å b.jpg', os.fsdecode(b'not utf-\xff8')]
    images, paths = ImagesOf(folder, iter(names)), [folder / name for name in names]
    assert isinstance(images, Sequence)
    assert len(images) == 5
    assert list(images) == paths
    assert list(reversed(images)) == paths[::-1]
    assert [images[n] for n in range(-5, 5)] == paths * 2
    assert images[np.int64(1)] == paths[1]
    for part in (slice(2), slice(3, None), slice(None, None, -2), slice(9, 12)):
        assert images[part] == paths[part]
    for outside in (5, -6):
        with pytest.raises(IndexError):
            images[outside]
    assert list(ImagesOf(folder, [])) == []


def test_images_of_a_folder_take_less_memory_than_paths(tmp_path: Path) -> None:
    def taken(make: Callable[[list[str]], object]) -> int:
        names = [f'{number}.jpg' for number in range(2000)]
        tracemalloc.start()
        kept = make(names)
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        del kept
        return size

    few = taken(lambda names: ImagesOf(tmp_path, names))
    assert few < 16 * 2000
    assert 10 * few < taken(lambda names: [tmp_path / name for name in names])


@pytest.mark.parametrize('layout', ['lasot', 'got10k', 'trackingnet'])
def test_clips_of_large_data_sets_do_not_store_paths(
    tmp_path: Path, write_image: Write, layout: str
) -> None:
    {'lasot': lasot, 'got10k': got10k, 'trackingnet': trackingnet}[layout](tmp_path, write_image)
    (clip,) = read_clips(layout, tmp_path)
    assert isinstance(clip.images, ImagesOf)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_an_empty_or_missing_folder_is_an_error_that_names_it(tmp_path: Path, layout: str) -> None:
    with pytest.raises(DataSetError, match=f'{layout}: no usable sequence or image in {tmp_path}'):
        read_clips(layout, tmp_path)
    for missing in (tmp_path / 'nowhere', text(tmp_path / 'file', '')):
        with pytest.raises(DataSetError, match=f'{layout}: no folder {missing}'):
            read_clips(layout, missing)


@pytest.mark.parametrize('kind', ['otb', 'uav123', 'nfs', 'vot', 'lasot', 'got10k', 'trackingnet'])
def test_the_layout_of_another_benchmark_is_named(
    tmp_path: Path, write_image: Write, kind: str
) -> None:
    name = {'lasot': 'car-1', 'got10k': 'GOT-10k_Train_000001'}.get(kind, 'one')
    getattr(data_sets, kind)(tmp_path, write_image, name)
    layout = 'masks' if kind == 'got10k' else 'plain'  # plain reads those of GOT-10k
    hint = rf'it looks like the layout {kind} \(--benchmark {kind}\)'
    warnings.simplefilter('ignore')
    with pytest.raises(DataSetError, match=hint):
        read_clips(layout, tmp_path)


def test_a_broken_benchmark_is_not_taken_for_another(tmp_path: Path, write_image: Write) -> None:
    data_sets.vot(tmp_path, write_image, 'one')
    text(tmp_path / 'one/groundtruth.txt', '1,2\n')
    with (
        pytest.warns(UserWarning, match='skipped'),
        pytest.raises(DataSetError, match=rf'in {tmp_path}$'),
    ):
        read_clips('vot', tmp_path)


def test_an_unknown_layout_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"no layout 'VOT'; there are plain, otb"):
        read_clips('VOT', tmp_path)
