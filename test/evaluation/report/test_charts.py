# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from made_runs import answer, run_of

from hcat_ros.evaluation.clips import Clip
from hcat_ros.evaluation.report.charts import curve_chart, latency_chart, thin_out, time_chart
from hcat_ros.evaluation.report.scenes import scenes_of, spans
from hcat_ros.evaluation.scored_run import Run

X = np.linspace(0, 1, 21)


def lines(chart: str, run: int) -> list[np.ndarray]:
    """The points of each stroked path of a run."""
    found = []
    for tag in re.findall(r'<path [^>]*>', chart):
        style = re.search(r'style="([^"]*)"', tag)
        if style and f'stroke: var(--run-{run})' in style[1]:
            points = re.findall(r'[ML] (-?[\d.]+) (-?[\d.]+)', tag)
            found.append(np.array(points, float))
    return found


def test_a_curve_is_where_its_numbers_are() -> None:
    chart = curve_chart([1 - X, np.full(21, np.nan), np.full(21, 0.5)], X, 'x', 'name', 'A label')
    assert 'aria-label="A label"' in chart
    (falling,), none, (level,) = (lines(chart, run) for run in range(3))
    assert none == []
    left, top, right, bottom = *falling[0], *falling[-1]
    assert left < right
    assert top < bottom  # SVG's y goes down
    assert level[0][1] == level[-1][1] == pytest.approx((top + bottom) / 2, abs=0.2)
    assert re.findall(r'>(0\.0|1\.0)</text>', chart) == ['0.0', '1.0'] * 2


def test_charts_wear_the_colours_of_the_page() -> None:
    chart = curve_chart([1 - X] * 14, X, 'x', 'name', 'A label')
    assert set(re.findall(r'#[0-9a-f]{6}', chart)) <= {'#000000'}
    assert set(re.findall(r'var\(--run-(\d)\)', chart)) == set('012345')
    assert 'stroke-dasharray' in chart
    assert 'font-family' not in chart


def test_a_label_is_text() -> None:
    chart = curve_chart([X], X, 'x', 'name', 'a "b" <c> \\1 &')
    assert 'aria-label="a &#34;b&#34; &lt;c&gt; \\1 &amp;"' in chart


def test_a_thinned_line_keeps_each_dip_and_each_gap() -> None:
    y = np.full(100_000, 0.8)
    y[54_321] = 0.01
    y[70_000:80_000] = np.nan
    x, kept = thin_out(np.arange(len(y)), y, 1000)
    assert len(kept) <= 1000
    assert kept[x == 54_321].tolist() == [0.01]
    assert (np.diff(x) > 0).all()
    gap = x[np.isnan(kept)]
    assert gap.min() < 70_300
    assert gap.max() > 79_700
    same, all_of_it = thin_out(np.arange(5), y[:5])
    assert len(same) == len(all_of_it) == 5


def test_time_charts_show_iou_score_and_what_is_lost(runs: list[Run]) -> None:
    scene = next(scene for scene in scenes_of(runs) if scene.name == 'ball')
    chart = time_chart(scene, 'name', 'A label')
    assert re.findall(r'>(IoU|score|lost|frame)</text>', chart) == ['IoU', 'score', 'frame', 'lost']
    assert len(lines(chart, 0)) == 2  # IoU and score
    assert len(lines(chart, 1)) == 1  # it has no scores
    assert 'fill: var(--run-0)' in chart  # the good one says that it is lost
    assert 'fill: var(--run-1)' not in chart
    assert 'fill: var(--absent)' in chart
    other = next(scene for scene in scenes_of(runs) if scene.name == 'car')
    assert '>lost</text>' not in time_chart(other, 'name', 'A label')


def test_the_iou_line_is_high_when_it_is(runs: list[Run]) -> None:
    scene = next(scene for scene in scenes_of(runs) if scene.name == 'ball')
    overlaps = scene.told.score.overlaps
    iou = lines(time_chart(scene, 'name', 'A label'), 0)[0]
    frames = np.interp(iou[:, 0], [iou[0, 0], iou[-1, 0]], [1, 59])
    away = (frames > 20.5) & (frames < 32.5)
    assert iou[away, 1].min() > iou[~away, 1].max() - 1
    assert np.nanmax(overlaps[20:34]) == 0


def test_truth_now_and_then_is_drawn_as_points(clips: list[Clip]) -> None:
    boxes = clips[0].boxes.copy()
    boxes[np.arange(60) % 10 != 0] = np.nan
    clip = replace(clips[0], boxes=boxes)
    run = run_of('only', [clip], [answer(clip, scores=False)])
    chart = time_chart(scenes_of([run])[0], 'name', 'A label')
    # Frames 10, 20, 30 and 50: the first one is given, 40 is hidden.
    assert len(re.findall(r'<use [^>]*href="#name-[^>]*var\(--run-0\)', chart)) == 4


def test_latencies_of_all_runs_are_in_the_picture() -> None:
    rng = np.random.default_rng(0)
    times = [0.01 * np.exp(rng.normal(0, 0.2, 500)), 0.1 * np.exp(rng.normal(0, 0.2, 500))]
    chart = latency_chart(times, 'name', 'A label', 1 / 30)
    assert chart is not None
    fast, slow = (np.concatenate(lines(chart, run)) for run in (0, 1))
    assert fast[:, 0].mean() < slow[:, 0].mean()
    ticks = [float(text) for text in re.findall(r'>([\d.]+)</text>', chart)]
    assert {10, 20, 50, 100} <= set(ticks)
    assert latency_chart([np.empty(0), np.zeros(3)], 'name', 'A label') is None


def test_latencies_of_a_narrow_range_have_ticks() -> None:
    chart = latency_chart([np.full(50, 0.0131)], 'name', 'A label')
    assert chart is not None
    below = [float(text) for text in re.findall(r'middle[^>]*>([\d.]+)</text>', chart)]
    assert len(below) >= 2


def test_spans() -> None:
    assert spans(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
    assert spans(np.zeros(3, bool)) == []
