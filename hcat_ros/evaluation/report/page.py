# SPDX-License-Identifier: Apache-2.0
"""Writes the report: a self-contained HTML page, and Markdown."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from hcat_ros import __version__
from hcat_ros.evaluation.report.cards import card
from hcat_ros.evaluation.report.charts import colour, dashes, latency_chart
from hcat_ros.evaluation.report.configuration import commands, protocols, settings, words
from hcat_ros.evaluation.report.markdown import render_markdown
from hcat_ros.evaluation.report.plots import plots
from hcat_ros.evaluation.report.scenes import Scene, headline, scenes_of
from hcat_ros.evaluation.report.strips import ReadFrame, read_frame, strip
from hcat_ros.evaluation.report.tables import (
    NO_VALUE,
    sequence_table,
    speed_table,
    summary,
    update_seconds,
)
from hcat_ros.evaluation.scored_run import Run
from hcat_ros.files import printable, write_text

PAGE = Path(__file__).with_name('page.html')
STRIPS, CHARTS = 6, 24
"""Numbers of the worst sequences that get a strip of frames, and a chart over time."""


def write_report(
    runs: Sequence[Run],
    folder: Path,
    title: str,
    *,
    strips: int = STRIPS,
    charts: int = CHARTS,
    frame: ReadFrame = read_frame,
) -> Path:
    """Write report.html and report.md into a folder and return the page's path.

    Sequences are ordered by the headline measure of the first run, worst first. strips, charts:
    number of sequences that get a strip of frames, and a chart over time; frame: function that
    returns the image of a row of a clip's result, or None. Equal runs give equal files; an error
    leaves no incomplete file. Raises ValueError without a run, or if the numbers of a run's clips,
    results and scores differ; OSError.
    """
    if not runs:
        raise ValueError('a report needs one run or more, got none')
    scenes = scenes_of(runs)
    page = _page(runs, scenes, title, strips, max(charts, strips), frame)
    text = render_markdown(runs, scenes, title)
    folder.mkdir(parents=True, exist_ok=True)
    # Names of files and folders may contain bytes that are not UTF-8.
    write_text(folder / 'report.md', printable(text))
    write_text(folder / 'report.html', printable(page))
    return folder / 'report.html'


def _page(
    runs: Sequence[Run],
    scenes: Sequence[Scene],
    title: str,
    strips: int,
    charts: int,
    frame: ReadFrame,
) -> str:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters['sha256'] = _sha256
    template = environment.from_string(PAGE.read_text(encoding='utf-8'))
    cards = [
        card(number, scene, runs, strip(scene, frame) if number < strips else [])
        for number, scene in enumerate(scenes[:charts])
    ]
    rates = {run.real_time.fps for run in runs if run.real_time is not None}
    latency = latency_chart(
        [update_seconds(run) for run in runs],
        'Histogram of how long the updates of each run took; the table below has the numbers',
        1 / max(rates) if rates else None,
    )
    return template.render(
        title=title,
        version=__version__,
        runs=runs,
        headline=headline(runs),
        frames=sum(len(scene.leading.result.boxes) for scene in scenes),
        summary=summary(runs),
        plots=plots(runs),
        sequences=sequence_table(scenes, runs),
        cards=cards,
        strips=sum(bool(each.shots) for each in cards),
        latency=latency,
        fps=max(rates, default=None),
        speeds=speed_table(runs),
        protocols=protocols(runs),
        words=words,
        settings=settings(runs),
        commands=commands(runs),
        lacking=[
            (run.title, len(scenes) - len(run.clips))
            for run in runs
            if len(run.clips) < len(scenes)
        ],
        colour=colour,
        dashes=dashes,
        no_value=NO_VALUE,
    )


def _sha256(text: str) -> str:
    """Return the hash by which a content security policy allows a script."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
