# SPDX-License-Identifier: Apache-2.0
"""The report file, opened in a real Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hcat_ros.evaluation.report import write_report
from hcat_ros.evaluation.scored_run import Run

FIRST = "document.querySelector('#sequences tbody th').textContent.trim()"
GROUNDS = {'light': 'rgb(255, 255, 255)', 'dark': 'rgb(20, 23, 27)'}
GROUND = 'getComputedStyle(document.body).backgroundColor'


def show(browser: Any, path: Path, width: int, scheme: str = 'light') -> None:
    browser.call(
        'Emulation.setDeviceMetricsOverride',
        width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
    )  # fmt: skip
    features = [{'name': 'prefers-color-scheme', 'value': scheme}]
    browser.call('Emulation.setEmulatedMedia', features=features)
    browser.open(path.as_uri())


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('width', [1200, 400])
def test_the_report_fits_the_window_and_logs_no_errors(
    runs: list[Run], tmp_path: Path, browser: Any, width: int, scheme: str
) -> None:
    show(browser, write_report(runs, tmp_path, 'A title'), width, scheme)
    browser.wait('[...document.images].every((image) => image.complete && image.naturalWidth)')
    assert browser.value('document.images.length') > 6
    assert browser.value('document.documentElement.scrollWidth') <= width
    assert browser.value(GROUND) == GROUNDS[scheme]
    # Text of 10 pixels in a chart must stay readable on the screen.
    scale = "(chart) => chart.clientWidth / chart.getAttribute('width')"
    assert min(browser.value(f"[...document.querySelectorAll('.chart')].map({scale})")) > 0.6
    assert browser.log == []


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_lines_and_text_of_a_chart_contrast_with_the_background(
    runs: list[Run], tmp_path: Path, browser: Any, scheme: str
) -> None:
    show(browser, write_report(runs, tmp_path, 'A title'), 1200, scheme)
    browser.wait('[...document.images].every((image) => image.complete)')
    browser.screenshot(tmp_path / 'page.png')
    page = cv2.imread(str(tmp_path / 'page.png')).astype(int)
    assert page.shape == (900, 1200, 3)

    def pixels(element: str) -> np.ndarray:
        box = f"document.querySelector('{element}').getBoundingClientRect()"
        x, y, width, height = browser.value(f'(b => [b.x, b.y, b.width, b.height])({box})')
        return page[int(y) : int(y + height), int(x) : int(x + width)]

    chart, swatch = pixels('.plots .chart').reshape(-1, 3), pixels('tbody .block')
    colour = swatch[swatch.shape[0] // 2, swatch.shape[1] // 2]
    assert (abs(chart - colour).max(axis=1) < 16).sum() > 50  # run 0's line
    light = chart.mean(axis=1)
    assert np.ptp(light) > 140  # text on the background of the page
    assert (np.median(light) > 128) == (scheme == 'light')


def test_a_click_on_a_column_sorts_the_sequences(
    runs: list[Run], tmp_path: Path, browser: Any
) -> None:
    show(browser, write_report(runs, tmp_path, 'A title'), 1200)
    assert browser.value(FIRST) == 'ball'
    bad = {s.name: s.measures['AO'] for s in runs[1].score.sequences}
    button = "document.querySelectorAll('#sequences thead button')[{}]"
    browser.value(f'{button.format(3)}.click()')
    assert browser.value(FIRST) == min(bad, key=lambda name: bad[name])
    browser.value(f'{button.format(3)}.click()')
    assert browser.value(FIRST) == max(bad, key=lambda name: bad[name])
    pressed = "document.querySelectorAll('#sequences thead th')[3].getAttribute('aria-sort')"
    assert browser.value(pressed) == 'descending'
    browser.value(f'{button.format(0)}.click()')
    browser.value(f'{button.format(0)}.click()')
    assert browser.value(FIRST) == 'dog'
    assert browser.log == []


def test_the_report_prints_on_a_white_background(
    runs: list[Run], tmp_path: Path, browser: Any
) -> None:
    show(browser, write_report(runs, tmp_path, 'A title'), 1200, 'dark')
    browser.call(
        'Emulation.setEmulatedMedia',
        media='print',
        features=[{'name': 'prefers-color-scheme', 'value': 'dark'}],
    )
    assert browser.value(GROUND) == 'rgb(255, 255, 255)'  # no black pages
    assert len(browser.call('Page.printToPDF')['data']) > 10_000
