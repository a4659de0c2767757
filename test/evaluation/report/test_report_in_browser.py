# SPDX-License-Identifier: Apache-2.0
"""The report in a real Chromium, from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hcat_ros.evaluation.report import write_report
from hcat_ros.evaluation.scored_run import Run

FIRST = "document.querySelector('#sequences tbody th').textContent.trim()"
COLOURS = {
    'light': ('rgb(255, 255, 255)', 'rgb(0, 103, 176)'),
    'dark': ('rgb(20, 23, 27)', 'rgb(95, 176, 245)'),
}
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
def test_it_fits_and_complains_of_nothing(
    runs: list[Run], tmp_path: Path, browser: Any, width: int, scheme: str
) -> None:
    show(browser, write_report(runs, tmp_path, 'A title'), width, scheme)
    browser.wait('[...document.images].every((image) => image.complete && image.naturalWidth)')
    assert browser.value('document.images.length') > 6
    assert browser.value('document.documentElement.scrollWidth') <= width
    assert browser.value(GROUND) == COLOURS[scheme][0]
    # Charts are drawn in the colours of the page and no smaller than can be read.
    stroke = "getComputedStyle(document.querySelector('.plots path[style*=run-0]')).stroke"
    assert browser.value(stroke) == COLOURS[scheme][1]
    letters = "[...document.querySelectorAll('.chart text')]"
    boxes = f'{letters}.map((text) => text.getBoundingClientRect())'
    assert min(browser.value(f'{boxes}.map((box) => Math.max(box.width, box.height))')) > 6
    assert min(browser.value(f'{boxes}.map((box) => Math.min(box.width, box.height))')) > 4
    assert browser.log == []


def test_it_is_there_to_be_seen(runs: list[Run], tmp_path: Path, browser: Any) -> None:
    show(browser, write_report(runs, tmp_path, 'A title'), 1200)
    browser.screenshot(tmp_path / 'page.png')
    pixels = cv2.imread(str(tmp_path / 'page.png'))
    assert pixels.shape == (900, 1200, 3)
    assert 0.01 < float((pixels < 128).any(axis=2).mean()) < 0.5
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100


def test_sequences_are_sorted_by_a_click(runs: list[Run], tmp_path: Path, browser: Any) -> None:
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


def test_it_prints(runs: list[Run], tmp_path: Path, browser: Any) -> None:
    show(browser, write_report(runs, tmp_path, 'A title'), 1200, 'dark')
    browser.call(
        'Emulation.setEmulatedMedia',
        media='print',
        features=[{'name': 'prefers-color-scheme', 'value': 'dark'}],
    )
    assert browser.value(GROUND) == 'rgb(255, 255, 255)'  # no black pages
    assert len(browser.call('Page.printToPDF')['data']) > 10_000
