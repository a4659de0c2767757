# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from made_runs import answer, run_of

from hcat_ros.evaluation.clips import Clip
from hcat_ros.evaluation.report.charts import (
    ABSENT,
    COLOURS,
    Chart,
    curve_chart,
    latency_chart,
    thin_out,
    time_chart,
)
from hcat_ros.evaluation.report.scenes import scenes_of, spans
from hcat_ros.evaluation.scored_run import Run

X = np.linspace(0, 1, 21)


SVG = '{http://www.w3.org/2000/svg}'
LINK = '{http://www.w3.org/1999/xlink}href'


def elements(chart: Chart, tag: str, style: str = '') -> list[ET.Element]:
    """Return the elements with this tag whose style contains this text."""
    found = ET.fromstring(chart.svg).iter(SVG + tag)
    return [element for element in found if style in element.get('style', '')]


def lines(chart: Chart, run: int) -> list[np.ndarray]:
    """Return the points of each line of a run."""
    paths = elements(chart, 'path', f'stroke: {COLOURS[run]}')
    points = [re.findall(r'[ML] (-?[\d.]+) (-?[\d.]+)', path.get('d', '')) for path in paths]
    return [np.array(each, float) for each in points]


def texts(chart: Chart) -> list[str]:
    return [element.text or '' for element in elements(chart, 'text')]


def test_a_curve_is_drawn_at_its_values() -> None:
    chart = curve_chart([1 - X, np.full(21, np.nan), np.full(21, 0.5)], X, 'x', 'A label')
    assert chart.label == 'A label'
    (falling,), none, (level,) = (lines(chart, run) for run in range(3))
    assert none == []
    left, top, right, bottom = *falling[0], *falling[-1]
    assert left < right
    assert top < bottom  # SVG's y goes down
    assert level[0][1] == level[-1][1] == pytest.approx((top + bottom) / 2, abs=0.2)
    assert [text for text in texts(chart) if text in ('0.0', '1.0')] == ['0.0', '1.0'] * 2


def test_runs_differ_by_colour_and_dashes() -> None:
    chart = curve_chart([1 - X] * 14, X, 'x', 'A label')
    assert [len(lines(chart, run)) for run in range(len(COLOURS))] == [3, 3, 2, 2, 2, 2]
    strokes = {
        (colour, *re.findall(r'stroke-dasharray: ([^;]+)', path.get('style', '')))
        for colour in COLOURS
        for path in elements(chart, 'path', f'stroke: {colour}')
    }
    assert len(strokes) == 12


def test_thinning_a_line_keeps_dips_and_gaps() -> None:
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


def test_time_charts_show_iou_score_and_lost_frames(runs: list[Run]) -> None:
    scene = next(scene for scene in scenes_of(runs) if scene.name == 'ball')
    chart = time_chart(scene, 'A label')
    titles = {'IoU', 'score', 'frame', 'lost'}
    assert [text for text in texts(chart) if text in titles] == ['IoU', 'score', 'frame', 'lost']
    assert len(lines(chart, 0)) == 2  # IoU and score
    assert len(lines(chart, 1)) == 1  # this tracker reports no scores
    assert elements(chart, 'path', f'fill: {COLOURS[0]}')  # only this tracker reports lost
    assert not elements(chart, 'path', f'fill: {COLOURS[1]}')
    assert elements(chart, 'path', f'fill: {ABSENT}')
    other = next(scene for scene in scenes_of(runs) if scene.name == 'car')
    assert 'lost' not in texts(time_chart(other, 'A label'))


def test_the_iou_line_is_low_where_the_iou_is_low(runs: list[Run]) -> None:
    scene = next(scene for scene in scenes_of(runs) if scene.name == 'ball')
    overlaps = scene.leading.score.overlaps
    iou = lines(time_chart(scene, 'A label'), 0)[0]
    frames = np.interp(iou[:, 0], [iou[0, 0], iou[-1, 0]], [1, 59])
    away = (frames > 20.5) & (frames < 32.5)
    assert iou[away, 1].min() > iou[~away, 1].max() - 1
    assert np.nanmax(overlaps[20:34]) == 0


def test_sparse_truth_is_drawn_as_points(clips: list[Clip]) -> None:
    boxes = clips[0].boxes.copy()
    boxes[np.arange(60) % 10 != 0] = np.nan
    clip = replace(clips[0], boxes=boxes)
    run = run_of('only', [clip], [answer(clip, scores=False)])
    chart = time_chart(scenes_of([run])[0], 'A label')
    # Frames 10, 20, 30 and 50: frame 0 has the init box, the target is hidden in 40.
    points = elements(chart, 'use', COLOURS[0])
    assert len(points) == 4
    assert len({point.get(LINK) for point in points}) == 1


def test_the_latency_chart_shows_all_runs() -> None:
    rng = np.random.default_rng(0)
    times = [0.01 * np.exp(rng.normal(0, 0.2, 500)), 0.1 * np.exp(rng.normal(0, 0.2, 500))]
    chart = latency_chart(times, 'A label', 1 / 30)
    assert chart is not None
    fast, slow = (np.concatenate(lines(chart, run)) for run in (0, 1))
    assert fast[:, 0].mean() < slow[:, 0].mean()
    ticks = [float(text) for text in texts(chart) if re.fullmatch(r'[\d.]+', text)]
    assert {10, 20, 50, 100} <= set(ticks)
    assert latency_chart([np.empty(0), np.zeros(3)], 'A label') is None


def test_latencies_of_a_narrow_range_have_ticks() -> None:
    chart = latency_chart([np.full(50, 0.0131)], 'A label')
    assert chart is not None
    below = [element.text for element in elements(chart, 'text', 'text-anchor: middle')]
    assert len([text for text in below if re.fullmatch(r'[\d.]+', text or '')]) >= 2


def test_spans_are_the_true_intervals_of_a_mask() -> None:
    assert spans(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
    assert spans(np.zeros(3, bool)) == []
