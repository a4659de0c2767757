# SPDX-License-Identifier: Apache-2.0
"""The public toolkits read the same images and boxes from the same folders.

The released got10k 0.1.3 cannot read LaSOT and TrackingNet.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_sets import (
    Write,
    got10k,
    got10k_test,
    mask_line,
    nfs,
    otb,
    text,
    touch,
    uav123,
    vot,
)

from hcat_ros.evaluation.benchmarks import UAV123_SEGMENTS, vot_box
from hcat_ros.evaluation.clips import Clip, read_clips


@pytest.fixture(scope='module')
def toolkit() -> Any:
    return pytest.importorskip('got10k.datasets', reason='needs got10k (pip install got10k)')


def check(dataset: Any, clips: Sequence[Clip], names: Sequence[str] = ()) -> None:
    """Compare all sequences, or only the named ones, with the toolkit."""
    assert sorted(clip.name for clip in clips) == sorted(names or dataset.seq_names)
    for clip in clips:
        images, boxes, *_ = dataset[clip.name]
        assert [str(path) for path in clip.images] == images
        ours = clip.boxes[: len(boxes)]  # the toolkit has only the first box of test splits
        known = np.isfinite(ours).all(axis=1)
        assert known.any()
        np.testing.assert_array_equal(ours[known], boxes[known])


def test_otb_clips_match_the_toolkit(toolkit: Any, tmp_path: Path) -> None:
    rows = [f'{n},{n + 0.25},30,40' for n in range(471)]
    otb(tmp_path, touch, 'David', rows, range(1, 771))
    otb(tmp_path, touch, 'Diving', rows[:215], range(1, 232))
    otb(tmp_path, touch, 'BlurCar1', ['1\t2\t30\t40', '3 4 31 41'], (247, 248))
    otb(tmp_path, touch, 'Board', ['57,156,198,173', '0,0,0,0'], (1, 2))
    otb(tmp_path, touch, 'Jogging', rows[:3], target='.1')
    otb(tmp_path, touch, 'Jogging', rows[3:6], target='.2')
    otb(tmp_path, touch, 'Human4', rows[:3], target='.2')
    text(tmp_path / 'Human4/groundtruth_rect.1.txt', '')
    check(toolkit.OTB(str(tmp_path), download=False), read_clips('otb', tmp_path))


def test_uav123_clips_match_the_toolkit(toolkit: Any, tmp_path: Path) -> None:
    whole = [('bike3', 433), ('car1_s', 1475), ('person23', 397)]
    for name, last in whole:
        uav123(tmp_path, touch, name, (1, last))
    for name, first, last in (('bird1_2', 775, 1477), ('uav1_3', 2473, 3469)):
        uav123(tmp_path, touch, name, (first, last), name.rpartition('_')[0])
    check(toolkit.UAV123(str(tmp_path)), read_clips('uav123', tmp_path))


def test_uav123_frame_ranges_of_shared_folders_match_the_toolkit(
    toolkit: Any, tmp_path: Path
) -> None:
    """Each sequence that shares its folder has the frame range of the toolkit."""
    uav123(tmp_path, touch)
    expected = {
        name: (meta['folder_name'], meta['start_frame'], meta['end_frame'])
        for name, meta in toolkit.UAV123(str(tmp_path)).seq_metas['UAV123'].items()
    }
    whole = [name for name, (folder, first, _) in expected.items() if (folder, first) == (name, 1)]
    parts = {
        f'{folder}_{number}': (folder, *frames)
        for folder, segments in UAV123_SEGMENTS.items()
        for number, frames in enumerate(segments, 1)
    }
    assert parts == {name: value for name, value in expected.items() if name not in whole}
    assert len(parts) + len(whole) == 123


def test_uav20l_clips_match_the_toolkit(toolkit: Any, tmp_path: Path) -> None:
    uav123(tmp_path, touch, 'bird1', (1, 2437), version='UAV20L', images='UAV123')
    check(toolkit.UAV123(str(tmp_path), 'UAV20L'), read_clips('uav20l', tmp_path))


@pytest.mark.parametrize(('layout', 'fps'), [('nfs', 240), ('nfs_30fps', 30)])
def test_nfs_clips_match_the_toolkit(toolkit: Any, tmp_path: Path, layout: str, fps: int) -> None:
    nfs(tmp_path, touch, 'airtable_3', fps, images=16, boxes=16)
    nfs(tmp_path, touch, 'parkour', fps, images=16, boxes=15, lost=(3,))
    nfs(tmp_path, touch, 'soccer_ball', fps, images=15, boxes=16)
    if fps == 30:
        nfs(tmp_path, touch, 'yoyo', fps, images=5, boxes=39)
        nfs(tmp_path, touch, 'zebra_fish', fps, images=5, boxes=41)
    check(toolkit.NfS(str(tmp_path), fps), read_clips(layout, tmp_path))


def test_got10k_clips_match_the_toolkit(toolkit: Any, tmp_path: Path, write_image: Write) -> None:
    for number in (1, 2):
        got10k(tmp_path, write_image, f'GOT-10k_Train_00000{number}')
    text(tmp_path / 'train/list.txt', 'GOT-10k_Train_000001\nGOT-10k_Train_000002\n')
    check(toolkit.GOT10k(str(tmp_path), 'train'), read_clips('got10k', tmp_path))
    got10k_test(tmp_path, write_image)
    check(toolkit.GOT10k(str(tmp_path), 'test'), read_clips('got10k', tmp_path / 'test'))


def test_vot_clips_before_2018_match_the_toolkit(
    toolkit: Any, tmp_path: Path, write_image: Write
) -> None:
    vot(tmp_path, write_image, 'bag', [f'{n}.5,2,30,40' for n in range(3)], colour='')
    dataset = toolkit.VOT(str(tmp_path), 2016, 'default', download=False)
    check(dataset, read_clips('vot', tmp_path))


@pytest.fixture(scope='module')
def vot_toolkit() -> Any:
    for module in ('vot', 'vot.dataset', 'vot.region.io'):
        pytest.importorskip(module, reason='needs vot-toolkit (pip install vot-toolkit)')
    return importlib.import_module('vot')


def test_vot_clips_match_the_toolkit(vot_toolkit: Any, tmp_path: Path, write_image: Write) -> None:
    polygons = ['3,1,9.5,2,8,7,2,6', '1,1,2,1,2,2,1,2']
    for name, rows in (('ants1', polygons), ('bag', ['1.5,2,30,40', '2.5,3,31,42', '3,4,5,6'])):
        vot(tmp_path, write_image, name, rows)
        text(tmp_path / name / 'sequence', f'channels.color=color/%08d.jpg\nname={name}\n')
    dataset = vot_toolkit.dataset.load_dataset(str(tmp_path))
    clips = read_clips('vot', tmp_path)
    assert [clip.name for clip in clips] == list(dataset.keys()) == ['ants1', 'bag']
    for clip in clips:
        sequence = dataset[clip.name]
        assert len(sequence) == len(clip.images)
        for number, (image, box) in enumerate(zip(clip.images, clip.boxes)):
            assert sequence.frame(number).filename() == str(image)
            assert box == pytest.approx(upright(vot_toolkit, sequence.groundtruth(number)))


def upright(vot_toolkit: Any, region: Any) -> list[float]:
    box = vot_toolkit.region.Rectangle.convert(region)
    return [box.x, box.y, box.width, box.height]


@pytest.mark.parametrize(
    'line', ['1.5,2,30.25,40', '10,20,40.5,20,40.5,50,10,50', '3,1,9,4,5,8', '-3.5,-1,9,4']
)
def test_vot_region_boxes_match_the_toolkit(vot_toolkit: Any, line: str) -> None:
    assert vot_box(line) == pytest.approx(
        upright(vot_toolkit, vot_toolkit.region.io.parse_region(line))
    )


@pytest.mark.parametrize(
    'line',
    ['1', 'nan,nan,nan,nan', 'm3,2,4,3', 'm3,2,4,3,12', 'm0,0,0,0,0,1', '0,0,0,0'],
)
def test_vot_regions_without_a_target_match_the_toolkit(vot_toolkit: Any, line: str) -> None:
    region = vot_toolkit.region.io.parse_region(line)
    unknown = isinstance(region, vot_toolkit.region.Special)
    assert unknown or region.is_empty()
    expected = [np.nan, np.nan] if unknown else [0, 0]
    np.testing.assert_array_equal(vot_box(line)[2:], expected)


@pytest.mark.parametrize('seed', range(20))
def test_vot_mask_boxes_match_the_toolkit(vot_toolkit: Any, seed: int) -> None:
    """The box covers whole pixels: with a full mask the overlap of the toolkit is 1."""
    rng = np.random.default_rng(seed)
    offset = (int(rng.integers(50)), int(rng.integers(50)))
    mask = rng.random((int(rng.integers(2, 12)), int(rng.integers(2, 12)))) < 0.2
    mask[0, 0] |= not mask.any()
    line = mask_line(mask, offset)
    left, top, right, bottom = vot_toolkit.region.io.parse_region(line).bounds()
    x, y, w, h = vot_box(line)
    assert [x, y, x + w - 1, y + h - 1] == [left, top, right, bottom]
    full = np.zeros_like(mask)
    rows, columns = np.nonzero(mask)
    full[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    region = vot_toolkit.region.io.parse_region(mask_line(full, offset))
    box = vot_toolkit.region.Rectangle(x, y, w, h)
    assert vot_toolkit.region.calculate_overlap(region, box) == 1
