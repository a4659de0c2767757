# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from made_runs import answer, run_of

from hcat_ros.evaluation.clips import Clip
from hcat_ros.evaluation.metrics import lost_measures
from hcat_ros.evaluation.report.scenes import scenes_of
from hcat_ros.evaluation.report.tables import (
    ReportTable,
    best_of,
    lost_of,
    sequence_table,
    speed,
    speed_table,
    summary,
)
from hcat_ros.evaluation.scored_run import RealTime, Run

NAN = float('nan')


def column(table: ReportTable, title: str) -> list[str]:
    found = next(column for column in table.columns if column.title == title)
    return [found.text(row) for row in range(len(table.names))]


def test_speed_counts_updates_but_not_the_first_frame(clips: list[Clip]) -> None:
    result = answer(clips[0])._replace(seconds=np.r_[5.0, np.linspace(0.01, 0.03, 58), np.nan])
    found = speed(run_of('run', clips[:1], [result]))
    assert found.start == 5000
    assert found.median == pytest.approx(20)
    assert found.p95 == pytest.approx(29)
    assert found.p99 == pytest.approx(29.8)
    assert found.rate == pytest.approx(50)


def test_runs_without_times_have_no_speed(runs: list[Run], clips: list[Clip]) -> None:
    result = answer(clips[0])._replace(seconds=np.full(60, np.nan))
    unknown = run_of('unknown', clips[:1], [result])
    assert all(map(math.isnan, speed(unknown)))
    assert speed_table([unknown]) is None
    table = speed_table([unknown, *runs])
    assert table is not None
    assert table.names == ('good one', 'bad one')
    assert 'updates/s' not in [column.title for column in summary([unknown]).columns]
    # A box that never moves takes no time, so its speed is not listed.
    still = run_of('still', clips[:1], [result._replace(seconds=np.full(60, 5e-6))])
    assert speed_table([still]) is None


def test_lost_precision_and_recall_are_computed_over_all_sequences(runs: list[Run]) -> None:
    good, bad = (lost_of(run) for run in runs)
    assert bad is None  # this tracker never reports lost
    overlap = np.concatenate([score.overlaps[1:] for score in runs[0].score.sequences])
    said = np.concatenate([result.lost[1:] for result in runs[0].results])
    assert good == lost_measures(said, overlap)
    # 10 of 14 missed frames are reported lost; each of 3 sequences has 5 absent frames.
    assert good.precision == 1
    assert good.recall == pytest.approx(10 / (14 + 3 * 5))
    assert column(summary(runs), 'lost recall') == ['0.345', '–']  # noqa: RUF001


def test_sequences_without_truth_do_not_count_for_lost_measures(clips: list[Clip]) -> None:
    results = [answer(clip, away=(20, 34), lost=range(20, 34)) for clip in clips[:2]]
    run = run_of('run', clips[:2], results)
    blank = replace(run.score.sequences[1], overlaps=np.full(60, NAN))
    run = replace(run, score=replace(run.score, sequences=[run.score.sequences[0], blank]))
    found = lost_of(run)
    assert found is not None
    assert found.recall == pytest.approx(14 / 19)


def test_the_best_values_are_compared_as_displayed() -> None:
    assert best_of([0.1, 0.3, NAN], ['0.1', '0.3', '–'], 1) == (False, True, False)  # noqa: RUF001
    assert best_of([0.1, 0.3, NAN], ['0.1', '0.3', '–'], -1) == (True, False, False)  # noqa: RUF001
    assert best_of([0.31, 0.3, 0.2], ['0.3', '0.3', '0.2'], 1) == (True, True, False)
    assert best_of([0.31, 0.3], ['0.3', '0.3'], 1) == (False, False)
    assert best_of([0.1, 0.3], ['0.1', '0.3'], 0) == (False, False)
    assert best_of([NAN, NAN], ['–', '–'], 1) == (False, False)  # noqa: RUF001


def test_an_offline_score_equal_to_the_ao_is_not_repeated(runs: list[Run]) -> None:
    ao = runs[0].score.measures['AO']
    same = replace(runs[0], real_time=RealTime(25.0, ao, 0.5, 0.1, None))
    titles = [column.title for column in summary([same, runs[1]]).columns]
    assert 'AO at 25 fps' in titles
    assert not {'AO offline', 'least updates/s'} & set(titles)
    mixed = summary([same, runs[0]])
    assert column(mixed, 'AO in real time') == ['0.500', '0.750']


def test_a_single_run_shows_all_measures_of_each_sequence(runs: list[Run]) -> None:
    table = sequence_table(scenes_of(runs[:1]), runs[:1])
    assert [column.title for column in table.columns] == ['frames', *runs[0].score.measures]
    assert not any(map(any, table.best))


def test_the_best_run_of_each_sequence_is_marked(runs: list[Run]) -> None:
    table = sequence_table(scenes_of(runs), runs)
    assert table.best == ((False, True, False),) * 3


def test_sequences_with_equal_names_stay_separate(clips: list[Clip]) -> None:
    twice = [clips[0], clips[0]]
    run = run_of('run', twice, [answer(clips[0]), answer(clips[0], away=(20, 60))])
    assert len(scenes_of([run, run])) == 2


def test_sequences_without_a_score_come_last(runs: list[Run]) -> None:
    score = runs[0].score
    blank = replace(score.sequences[0], measures={'AO': NAN})
    run = replace(runs[0], score=replace(score, sequences=[blank, *score.sequences[1:]]))
    assert [scene.name for scene in scenes_of([run])][-1] == 'ball'
