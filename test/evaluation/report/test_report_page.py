# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_runs import answer, renamed, run_of
from pages import Page

from hcat_ros.evaluation.clips import Clip
from hcat_ros.evaluation.report import write_report
from hcat_ros.evaluation.results import SequenceResult
from hcat_ros.evaluation.scored_run import Run

NASTY = '"><img src=x onerror=alert(1)>\'</script><script>alert(2)</script>{{ 7 * 7 }} $x$ \\'


def test_the_page_loads_nothing_from_outside(runs: list[Run], tmp_path: Path) -> None:
    path = write_report(runs, tmp_path, 'A title')
    page = Page(path)
    assert path == tmp_path / 'report.html'
    assert 'http' not in path.read_text().replace('http-equiv', '')
    for tag, attributes in page.elements:
        for name in ('src', 'href', 'xlink:href', 'srcset', 'poster', 'data', 'action'):
            assert attributes.get(name, '#').startswith(('#', 'data:')), (tag, attributes)
    assert 'url(' not in re.sub(r'url\(#[\w-]+\)', '', path.read_text())
    policy = page.all('meta')[2]['content']
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "script-src 'sha256-" in policy


def test_element_ids_are_unique_and_every_link_has_a_target(
    runs: list[Run], tmp_path: Path
) -> None:
    page = Page(write_report(runs, tmp_path, 'A title'))
    names = [attributes['id'] for _, attributes in page.elements if 'id' in attributes]
    assert len(set(names)) == len(names)
    links = [a[key][1:] for _, a in page.elements for key in ('href', 'xlink:href') if key in a]
    content = (tmp_path / 'report.html').read_text()
    wanted = {link for link in links if not link.startswith('ata:')}
    assert wanted | set(re.findall(r'url\(#([^)]+)\)', content)) <= set(names)
    assert len(wanted) > 6


def test_the_summary_has_the_scores_and_marks_the_best(runs: list[Run], tmp_path: Path) -> None:
    page = Page(write_report(runs, tmp_path, 'A title'))
    titles, good, bad = page.tables[0]
    measures = list(runs[0].score.measures)
    assert titles[: len(measures) + 1] == ['run', *measures]
    for run, row in ((runs[0], good), (runs[1], bad)):
        shown = [f'{value:.3f}' for value in run.score.measures.values()]
        assert row[: len(measures) + 1] == [run.title, *shown]
    cells = dict(zip(titles, good))
    assert cells['AO offline'] == '0.812'
    assert cells['AO at 30 fps'] == '0.750'
    assert cells['skipped'] == '25.0%'
    assert cells['least updates/s'] == '12.0'
    assert dict(zip(titles, bad))['AO at 30 fps'] == '–'  # noqa: RUF001
    best = [a for a in page.all('td') if a.get('class') == 'best']
    assert len(best) >= len(measures)


def test_sequences_are_listed_worst_first_with_the_scores_of_all_runs(
    runs: list[Run], tmp_path: Path
) -> None:
    page = Page(write_report(runs, tmp_path, 'A title'))
    titles, *rows = page.tables[1]
    assert titles == ['sequence', 'frames', 'good one', 'bad one']
    scores = [{s.name: s.measures['AO'] for s in run.score.sequences} for run in runs]
    order = sorted(scores[0], key=lambda name: scores[0][name])
    assert [row[0] for row in rows] == order
    assert order[0] == 'ball'  # the good tracker misses the target there for a while
    for name, frames, *values in rows:
        assert frames == '60'
        assert values == [f'{score[name]:.3f}' for score in scores]


def test_legends_list_the_best_run_first_with_its_score(runs: list[Run], tmp_path: Path) -> None:
    path = write_report(runs[::-1], tmp_path, 'A title')
    legends = re.findall(r'<ol class="legend">(.*?)</ol>', path.read_text(), re.S)
    assert len(legends) == 3
    for legend, measure in zip(legends, ('success AUC', 'precision', 'normalised precision')):
        shown = re.findall(r'<span>(.*?)</span><b>(.*?)</b>', legend)
        assert shown == [(run.title, f'{run.score.measures[measure]:.3f}') for run in runs]


def test_a_strip_shows_how_the_target_was_missed(
    runs: list[Run], clips: list[Clip], tmp_path: Path
) -> None:
    page = Page(write_report(runs, tmp_path, 'A title', strips=1))
    alts = [image['alt'] for image in page.pictures]
    scores = runs[0].results[0].scores
    assert [alt.split(':')[0] for alt in alts] == [
        'ball, frame 0, start',
        'ball, frame 19, last good',
        'ball, frame 20, missed',
        'ball, frame 24, after',
        'ball, frame 27, after',
        'ball, frame 34, found again',
    ]
    assert f'IoU 0.00, score {scores[24]:.2f}, said lost' in alts[3]
    assert 'missed at frame 20 (found again at 34)' in page.words
    for image in page.pictures:
        data = base64.b64decode(image['src'].removeprefix('data:image/jpeg;base64,'))
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert decoded.shape[:2] == (int(image['height']), int(image['width'])) == (240, 320)


def test_hostile_names_are_shown_as_text(clips: list[Clip], tmp_path: Path) -> None:
    named = [renamed(clip, f'{number}{NASTY}') for number, clip in enumerate(clips)]
    results = [answer(clip, away=(20, 34)) for clip in named]
    runs = [
        run_of(f'a{NASTY}', named, results, versions={NASTY: NASTY}, command=NASTY),
        run_of(f'b{NASTY}', named, results),
    ]
    path = write_report(runs, tmp_path, NASTY)
    page = Page(path)
    assert len(page.all('script')) == 1
    assert page.all('script') == [{}]
    assert all(image['src'].startswith('data:image/jpeg') for image in page.pictures)
    assert not any(name.startswith('on') for _, a in page.elements for name in a)
    plain = ' '.join(NASTY.split())
    # Title, heading, and at least a row and a column each.
    assert page.words.count(plain) > 10
    assert page.tables[0][1][0] == f'a{NASTY}'
    assert {row[0] for row in page.tables[1][1:]} == {clip.name for clip in named}
    outside_of_code = (tmp_path / 'report.md').read_text().split('```')[::2]
    assert '<' not in ''.join(outside_of_code)


def test_the_same_runs_give_identical_files(
    runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib as mpl

    first = write_report(runs, tmp_path / 'a', 'A title')
    monkeypatch.setitem(mpl.rcParams, 'font.size', 31.0)  # as in a user's matplotlibrc
    monkeypatch.setitem(mpl.rcParams, 'svg.hashsalt', None)
    second = write_report(runs, tmp_path / 'b', 'A title')
    assert mpl.rcParams['font.size'] == 31
    assert first.read_bytes() == second.read_bytes()
    assert (tmp_path / 'a/report.md').read_bytes() == (tmp_path / 'b/report.md').read_bytes()
    assert sorted(path.name for path in (tmp_path / 'a').iterdir()) == ['report.html', 'report.md']


def test_a_failed_report_leaves_the_old_report(runs: list[Run], tmp_path: Path) -> None:
    old = write_report(runs, tmp_path, 'A title')
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def broken(clip: Clip, index: int) -> None:
        raise OSError('the disk is gone')

    with pytest.raises(OSError, match='the disk is gone'):
        write_report(runs[:1], tmp_path, 'Another title', frame=broken)
    assert old.is_file()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_frames_can_come_from_a_callback(
    runs: list[Run], clips: list[Clip], tmp_path: Path
) -> None:
    bare = [replace(clip, images=()) for clip in clips]
    run = replace(runs[0], clips=bare)
    assert Page(write_report([run], tmp_path, 'No images')).pictures == []
    asked = []

    def frame(clip: Clip, index: int) -> np.ndarray:
        asked.append((clip.name, index))
        return np.full((120, 160), 90, np.uint8)  # grey

    page = Page(write_report([run], tmp_path, 'Images of a bag', strips=1, frame=frame))
    assert [index for name, index in asked if name == 'ball'] == [0, 19, 20, 24, 27, 34]
    assert len(page.pictures) == 6


def test_a_run_with_missing_sequences_is_marked(
    runs: list[Run], clips: list[Clip], tmp_path: Path
) -> None:
    part = run_of('part', clips[1:], [answer(clip) for clip in clips[1:]])
    page = Page(write_report([runs[0], part], tmp_path, 'A title'))
    assert 'part lacks 1 of the sequences' in page.words
    row = next(row for row in page.tables[1] if row[0] == 'ball')
    assert row[-1] == '–'  # noqa: RUF001
    titles = page.tables[0][0]
    assert [row[titles.index('sequences')] for row in page.tables[0][1:]] == ['3', '2']


@pytest.mark.parametrize(
    'change',
    [
        lambda r: r,
        lambda r: r._replace(scores=np.full_like(r.scores, np.nan)),
        lambda r: r._replace(lost=np.ones_like(r.lost)),
        lambda r: r._replace(seconds=np.full_like(r.seconds, np.nan)),
        lambda r: r._replace(seconds=np.full_like(r.seconds, 0.01)),
        lambda r: r._replace(seconds=np.zeros_like(r.seconds)),
        lambda r: r._replace(boxes=np.where(np.arange(60)[:, None] < 9, r.boxes, np.nan)),
        lambda r: r._replace(boxes=np.where(np.arange(60)[:, None] < 9, r.boxes, 1e12)),
    ],
    ids=['as-is', 'no-scores', 'all-lost', 'no-time', 'same-time', 'zero-time', 'no-box', 'far'],
)
def test_a_single_run_is_reported_without_scores_times_or_boxes(
    clips: list[Clip], tmp_path: Path, change: Callable[[SequenceResult], SequenceResult]
) -> None:
    run = run_of('only', clips[:1], [change(answer(clips[0], away=(20, 34)))])
    page = Page(write_report([run], tmp_path, 'One'))
    assert page.tables[1][0] == ['sequence', 'frames', *run.score.measures]
    assert page.tables[1][1] == ['ball', '60', *(f'{v:.3f}' for v in run.score.measures.values())]
    assert len(page.pictures) >= 3
    assert 'nan' not in page.words.lower().split()


def test_frames_without_a_true_box_are_counted(clips: list[Clip], tmp_path: Path) -> None:
    boxes = clips[0].boxes.copy()
    boxes[10:] = np.nan
    clip = replace(clips[0], boxes=boxes)
    run = run_of('only', [clip], [answer(clip)])
    page = Page(write_report([run], tmp_path, 'Short truth'))
    assert '60 frames, 50 without a true box' in page.words


def test_a_run_without_any_score_is_reported(runs: list[Run], tmp_path: Path) -> None:
    """A bag without truth gives such a run."""
    score = runs[0].score
    nan = float('nan')
    sequences = [
        replace(
            each,
            overlaps=np.full_like(each.overlaps, nan),
            measures=dict.fromkeys(each.measures, nan),
        )
        for each in score.sequences
    ]
    empty = replace(
        score,
        measures=dict.fromkeys(score.measures, nan),
        sequences=sequences,
        success=np.full(21, nan),
        precision=np.full(51, nan),
        normalised_precision=np.full(51, nan),
    )
    page = Page(write_report([replace(runs[0], score=empty)], tmp_path, 'No truth'))
    assert 'nan' not in page.words.lower().split()
    assert 'Success' not in [text.strip() for text in page.text]
    assert len(page.pictures) == 3  # the first frame of each sequence


def test_two_hundred_sequences_give_a_page_of_limited_size(
    clips: list[Clip], tmp_path: Path
) -> None:
    many = [renamed(clips[number % 3], f'clip {number:03d}') for number in range(200)]
    runs = [
        run_of(title, many, [answer(clip, 0.1, seed=seed + n) for n, clip in enumerate(many)])
        for title, seed in (('one', 0), ('two', 500))
    ]
    path = write_report(runs, tmp_path, 'Many', strips=4, charts=10)
    page = Page(path)
    assert len(page.tables[1]) == 201
    assert len(page.all('article')) == 10
    assert 'of the 10 worst of 200 sequences' in page.words
    assert 'the 4 worst sequences have pictures' in page.words
    assert path.stat().st_size < 2e6


def test_no_runs_and_inconsistent_runs_are_refused(runs: list[Run], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='one run or more'):
        write_report([], tmp_path, 'None')
    broken = replace(runs[0], results=runs[0].results[:1])
    with pytest.raises(ValueError, match="run 'good one': 3 clips, 1 results and 3 scores"):
        write_report([broken], tmp_path, 'Broken')
    assert list(tmp_path.iterdir()) == []
