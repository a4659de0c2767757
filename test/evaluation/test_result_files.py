# SPDX-License-Identifier: Apache-2.0
"""Results of other trackers, and archives for evaluation servers."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_sets import Write, got10k, got10k_test, text, trackingnet_test

from hcat_ros.evaluation.clips import Clip, read_clips
from hcat_ros.evaluation.protocols import PROTOCOLS, score_run, score_sequence
from hcat_ros.evaluation.result_files import read_boxes, write_submission
from hcat_ros.evaluation.results import SequenceResult, slug, write_result
from hcat_ros.evaluation.scored_run import Run

SIZE = (64, 48)
ROWS = np.array([[10, 20, 30, 40], [11.125, 20.5, 30, 40], [12, 21, 31.75, 40]])


def result(count: int = 3) -> SequenceResult:
    boxes = np.resize(ROWS, (count, 4)).astype(np.float64)
    seconds = np.linspace(0.01, 0.02, count)
    return SequenceResult(boxes, np.full(count, 0.5), np.zeros(count, bool), seconds)


def lines(separator: str) -> str:
    return '\n'.join(separator.join(f'{value:g}' for value in row) for row in ROWS) + '\n'


@pytest.mark.parametrize('file', ['bag.txt', 'bag/bag_001.txt'])
@pytest.mark.parametrize('separator', [',', '\t', ' ', ', '])
def test_boxes_of_other_trackers_are_read(tmp_path: Path, file: str, separator: str) -> None:
    text(tmp_path / file, lines(separator))
    boxes, scores, lost, seconds = read_boxes(tmp_path, 'bag', 3)
    np.testing.assert_array_equal(boxes, ROWS)
    assert boxes.dtype == np.float64
    assert np.isnan(scores).all()
    assert np.isnan(seconds).all()
    assert not lost.any()


def test_our_own_results_are_read_back_unchanged(tmp_path: Path) -> None:
    write_result(result(), tmp_path / 'bag.csv')
    text(tmp_path / 'bag.txt', '1,2,3,4')
    read = read_boxes(tmp_path, 'bag', 3)
    np.testing.assert_array_equal(read.boxes, ROWS)
    assert read.scores.tolist() == [0.5] * 3
    assert read.seconds.tolist() == pytest.approx([0.01, 0.015, 0.02])


@pytest.mark.parametrize(
    ('boxes', 'times', 'content'),
    [
        ('bag/bag_001.txt', 'bag/bag_time.txt', '0.5\n0.25\n0.125\n'),
        ('bag/bag_001.txt', 'bag/bag_time.txt', '0.5,9,9\n0.25,9,9\n0.125,9,9\n'),
        ('bag.txt', 'times/bag_time.txt', '0.5\n0.25\n0.125\n'),
        ('bag.txt', 'bag_time.txt', '0.5\t9\n0.25\t9\n0.125\t9\n'),
    ],
)
def test_times_of_other_trackers_are_read(
    tmp_path: Path, boxes: str, times: str, content: str
) -> None:
    text(tmp_path / boxes, lines(','))
    text(tmp_path / times, content)
    assert read_boxes(tmp_path, 'bag', 3).seconds.tolist() == [0.5, 0.25, 0.125]


@pytest.mark.parametrize('sign', '.-_')
def test_the_file_of_a_second_target_is_found_under_several_names(
    tmp_path: Path, sign: str
) -> None:
    text(tmp_path / f'Jogging{sign}2.txt', lines('\t'))
    text(tmp_path / 'times' / f'Jogging{sign}2_time.txt', '0.5\n' * 3)
    read = read_boxes(tmp_path, 'Jogging.2', 3)
    np.testing.assert_array_equal(read.boxes, ROWS)
    assert read.seconds.tolist() == [0.5] * 3


def test_rows_without_a_finite_box_are_lost(tmp_path: Path) -> None:
    text(tmp_path / 'bag.txt', '10,20,30,40\nnan,nan,nan,nan\n1,inf,3,4\n')
    read = read_boxes(tmp_path, 'bag', 3)
    assert read.lost.tolist() == [False, True, True]
    assert read.boxes[0].tolist() == [10, 20, 30, 40]
    assert np.isnan(read.boxes[1:]).all()


def test_a_lost_row_is_a_miss_even_near_the_image_corner(tmp_path: Path) -> None:
    truth = np.array([[1, 2, 10, 10]] * 3, np.float64)
    text(tmp_path / 'bag.txt', '1,2,10,10\nnan,nan,nan,nan\n1,2,10,10\n')
    clip = Clip('bag', [Path(f'{n}.jpg') for n in range(3)], truth)
    read = read_boxes(tmp_path, 'bag', 3)
    score = score_sequence(PROTOCOLS['plain'], clip, read, SIZE)
    assert score.measures['precision'] == 1 / 2
    assert score.centre_errors.tolist()[1:] == [np.inf, 0]
    for module in ('jinja2', 'matplotlib'):
        pytest.importorskip(module, reason=f'the report needs {module}')
    from hcat_ros.evaluation.report import write_report

    run = Run('theirs', {}, [clip], [read], score_run(PROTOCOLS['plain'], [clip], [read], [SIZE]))
    page = write_report(
        [run], tmp_path / 'out', 'lost', frame=lambda *_: np.zeros((48, 64, 3), np.uint8)
    )
    assert 'missed at frame 1 (found again at 2)' in page.read_text()


def test_our_own_results_are_found_under_their_file_name(tmp_path: Path) -> None:
    write_result(result(), tmp_path / f'{slug("car 1")}.csv')
    np.testing.assert_array_equal(read_boxes(tmp_path, 'car 1', 3).boxes, ROWS)
    text(tmp_path / 'car 1.txt', '1,2,3,4\n' * 3)
    assert read_boxes(tmp_path, 'car 1', 3).boxes[0].tolist() == [1, 2, 3, 4], 'the exact name'


def test_a_missing_result_is_an_error_that_lists_the_searched_files(tmp_path: Path) -> None:
    text(tmp_path / 'bags.txt', '1,2,3,4')
    with pytest.raises(FileNotFoundError) as error:
        read_boxes(tmp_path, 'bag', 1)
    expected = f'{tmp_path} has no result of bag: looked for bag.csv, bag.txt, bag/bag_001.txt'
    assert str(error.value) == expected


@pytest.mark.parametrize(
    ('file', 'content', 'reason'),
    [
        ('bag.txt', '1,2,3,4\n' * 2, 'bag.txt has 2 rows for 3 frames'),
        ('bag.txt', '1,2,3,4,5,6,7,8\n' * 3, 'bag.txt, line 1: expected x y w h, got 8 numbers'),
        ('bag.txt', '', 'bag.txt has 0 rows for 3 frames'),
        ('bag.txt', '1,2,3,4\n1,2\n1,2,3,4\n', 'bag.txt, line 2: expected x y w h, got 2 numbers'),
        ('bag/bag_001.txt', 'a,b,c,d\n' * 3, 'bag_001.txt, line 1: could not convert'),
        ('bag.csv', '1,2,3,4\n' * 3, 'bag.csv: expected a first line frame,x,y,w,h'),
    ],
)
def test_broken_results_are_errors_that_name_the_file(
    tmp_path: Path, file: str, content: str, reason: str
) -> None:
    text(tmp_path / file, content)
    with pytest.raises(ValueError, match=reason):
        read_boxes(tmp_path, 'bag', 3)


@pytest.mark.parametrize(
    ('content', 'reason'),
    [('1\n', 'bag_time.txt has 1 rows for 3 frames'), ('fps\n30\n30\n', "line 1: .*'fps'")],
)
def test_a_bad_file_of_times_does_not_cost_the_boxes(
    tmp_path: Path, content: str, reason: str
) -> None:
    """got10k's toolkit scores such a sequence, too."""
    text(tmp_path / 'bag.txt', lines(','))
    text(tmp_path / 'times' / 'bag_time.txt', content)
    with pytest.warns(UserWarning, match=f'{reason}.*; the speed on bag is not known'):
        read = read_boxes(tmp_path, 'bag', 3)
    np.testing.assert_array_equal(read.boxes, ROWS)
    assert np.isnan(read.seconds).all()


def test_times_that_no_clock_measures_are_unknown(tmp_path: Path) -> None:
    text(tmp_path / 'bag.txt', lines(','))
    text(tmp_path / 'bag_time.txt', '0\n-1\ninf\n')
    assert np.isnan(read_boxes(tmp_path, 'bag', 3).seconds).all()


def test_our_own_result_of_another_length_is_an_error(tmp_path: Path) -> None:
    write_result(result(), tmp_path / 'bag.csv')
    with pytest.raises(ValueError, match=r'bag\.csv has 3 rows for 4 frames'):
        read_boxes(tmp_path, 'bag', 4)


def test_the_got10k_archive_has_boxes_and_times(tmp_path: Path, write_image: Write) -> None:
    names = ['GOT-10k_Test_000001', 'GOT-10k_Test_000002']
    for name in names:
        got10k_test(tmp_path, write_image, name)
    clips = read_clips('got10k', tmp_path)
    write_submission('got10k', clips, [result(), result()], tmp_path / 'out/hcat.zip')
    with zipfile.ZipFile(tmp_path / 'out/hcat.zip') as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            f'{name}/{name}_{kind}.txt' for name in names for kind in ('001', 'time')
        ]
        boxes, times = (archive.read(name).decode() for name in archive.namelist()[:2])
    assert boxes.splitlines()[1] == '11.125,20.500,30.000,40.000'
    assert times == '0.01000000\n0.01500000\n0.02000000\n'
    assert list((tmp_path / 'out').iterdir()) == [tmp_path / 'out/hcat.zip']


def test_the_trackingnet_archive_has_boxes(tmp_path: Path, write_image: Write) -> None:
    trackingnet_test(tmp_path, write_image)
    clips = read_clips('trackingnet', tmp_path)
    write_submission('trackingnet', clips, [result(11)], tmp_path / 'hcat.zip')
    with zipfile.ZipFile(tmp_path / 'hcat.zip') as archive:
        assert archive.namelist() == ['0-6LB4FqxoE_0.txt']
        table = np.loadtxt(io.StringIO(archive.read(archive.namelist()[0]).decode()), delimiter=',')
    np.testing.assert_array_equal(table, result(11).boxes)


@pytest.mark.parametrize('layout', ['got10k', 'trackingnet'])
def test_a_submission_can_be_read_back(tmp_path: Path, layout: str) -> None:
    clip = Clip('bag', [Path(f'{n}.jpg') for n in range(3)], ROWS)
    write_submission(layout, [clip], [result()], tmp_path / 'hcat.zip')
    with zipfile.ZipFile(tmp_path / 'hcat.zip') as archive:
        archive.extractall(tmp_path / 'results')
    read = read_boxes(tmp_path / 'results', 'bag', 3)
    np.testing.assert_array_equal(read.boxes, ROWS)
    if layout == 'got10k':
        assert read.seconds.tolist() == [0.01, 0.015, 0.02]


def test_the_got10k_toolkit_scores_a_submission(
    tmp_path: Path, write_image: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program of the server scores the validation split, whose truth is public."""
    monkeypatch.setenv('MPLBACKEND', 'Agg')
    experiments = pytest.importorskip(
        'got10k.experiments', reason='needs got10k (pip install got10k)'
    )
    name = 'GOT-10k_Val_000001'
    folder = got10k(tmp_path / 'data', write_image, name)
    folder.parent.rename(tmp_path / 'data/val')
    text(tmp_path / 'data/val' / name / 'meta_info.ini', '[METAINFO]\nresolution: (32, 24)')
    text(tmp_path / 'data/val' / name / 'groundtruth.txt', '1,2,20,10\n' * 3)
    (clip,) = read_clips('got10k', tmp_path / 'data')
    boxes = np.array([[1, 2, 20, 10], [1, 2, 20, 10], [1, 2, 10, 10]], np.float64)
    write_submission('got10k', [clip], [result()._replace(boxes=boxes)], tmp_path / 'hcat.zip')
    with zipfile.ZipFile(tmp_path / 'hcat.zip') as archive:
        archive.extractall(tmp_path / 'results/GOT-10k/hcat')
    experiment = experiments.ExperimentGOT10k(
        str(tmp_path / 'data'),
        result_dir=str(tmp_path / 'results'),
        report_dir=str(tmp_path / 'reports'),
    )
    score = experiment.report(['hcat'])['hcat']['overall']
    assert score['ao'] == pytest.approx(0.75)
    assert score['speed_fps'] == pytest.approx((1 / 0.01 + 1 / 0.015 + 1 / 0.02) / 3)


def test_a_submission_is_the_same_file_each_time(tmp_path: Path) -> None:
    clips = [Clip(name, [Path('1.jpg')] * 3, ROWS) for name in ('bag', 'ants')]
    write_submission('trackingnet', clips, [result(), result()], tmp_path / 'a.zip')
    write_submission('trackingnet', clips[::-1], [result(), result()], tmp_path / 'b.zip')
    assert (tmp_path / 'a.zip').read_bytes() == (tmp_path / 'b.zip').read_bytes()


@pytest.mark.parametrize(
    ('layout', 'results', 'names', 'reason'),
    [
        ('otb', [result()], ['bag'], "'otb' has no server .* these have: got10k, trackingnet"),
        ('got10k', [None], ['bag'], 'bag: 0 boxes for 3 frames'),
        ('got10k', [result(2)], ['bag'], 'bag: 2 boxes for 3 frames'),
        ('trackingnet', [result()], ['bag', 'ants'], 'shorter'),
        ('trackingnet', [result(), result()], ['bag', 'bag'], 'two clips are called bag'),
        (
            'trackingnet',
            [result()._replace(boxes=np.full((3, 4), np.nan))],
            ['bag'],
            'bag: the box of a frame is not finite',
        ),
    ],
)
def test_a_refused_submission_leaves_the_old_archive(
    tmp_path: Path,
    layout: str,
    results: list[SequenceResult | None],
    names: list[str],
    reason: str,
) -> None:
    clips = [Clip(name, [Path('1.jpg')] * 3, ROWS) for name in names]
    path = tmp_path / 'hcat.zip'
    path.write_text('the one before')
    with pytest.raises(ValueError, match=reason):
        write_submission(layout, clips, results, path)
    assert [file.name for file in tmp_path.iterdir()] == ['hcat.zip']
    assert path.read_text() == 'the one before'


def test_a_full_disk_leaves_the_old_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(zipfile.ZipFile, 'writestr', full)
    path = tmp_path / 'hcat.zip'
    path.write_text('the one before')
    clip = Clip('bag', [Path('1.jpg')] * 3, ROWS)
    with pytest.raises(OSError, match='No space left'):
        write_submission('trackingnet', [clip], [result()], path)
    assert [file.name for file in tmp_path.iterdir()] == ['hcat.zip']
    assert path.read_text() == 'the one before'


def test_special_codes_of_vot_results_are_read(tmp_path: Path) -> None:
    """The codes are 1: started, 2: failed, 0: skipped after a failure."""
    (tmp_path / 'bag.txt').write_text('1\n10,20,30,40\n2\n0\n1\n11,20,30,40\n')
    found = read_boxes(tmp_path, 'bag', 6)
    assert found.lost.tolist() == [True, False, True, True, True, False]
    assert found.boxes[1].tolist() == [10, 20, 30, 40]
