# SPDX-License-Identifier: Apache-2.0
"""Matplotlib figures as SVG inside of an HTML page, in the page's own colours and letters."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure

TEXT, GRID, ABSENT = '#020200', '#020201', '#020202'
"""Colours that stand for what the page's style sheet says, in light and in dark."""
_NAMED = {TEXT: 'var(--text)', GRID: 'var(--grid)', ABSENT: 'var(--absent)'}
COLOURS = 6
"""Colours of runs, in the style sheet as --run-0 and so on."""
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 1.5), (1.4, 1.2), (6, 1.5, 1.4, 1.5))
"""Lengths of strokes and gaps in line widths: runs differ without colours too."""

STYLE: dict[Any, Any] = {
    'axes.axisbelow': True,
    'axes.edgecolor': GRID,
    'axes.facecolor': 'none',
    'axes.grid': True,
    'axes.labelcolor': TEXT,
    'axes.spines.right': False,
    'axes.spines.top': False,
    'figure.facecolor': 'none',
    'font.family': 'sans-serif',
    'font.sans-serif': ['DejaVu Sans'],
    'font.size': 10,
    'grid.color': GRID,
    'grid.linewidth': 0.7,
    'lines.linewidth': 1.6,
    'svg.fonttype': 'none',
    'svg.hashsalt': 'hcat_ros',
    'text.color': TEXT,
    'xtick.bottom': False,
    'xtick.color': TEXT,
    'ytick.color': TEXT,
    'ytick.left': False,
}


def colour(run: int) -> str:
    """Return the colour that stands for a run's."""
    return f'#0101{run % COLOURS:02x}'


def dashes(run: int) -> tuple[float, ...]:
    """Return the strokes and gaps of a run's line; empty for a solid one."""
    return DASHES[run % len(DASHES)]


def inline_svg(
    draw: Callable[[Figure], None], size: tuple[float, float], name: str, label: str
) -> Markup:
    """Draw a figure of this size and return it as an element for a page.

    The size gives its proportions and that of its letters, 10. name: one that no other
    figure of the page has, letters and digits. label: what is to be seen, for those who do
    not. `draw` writes no text from outside into the figure: `$` would make it a formula.
    """
    with mpl.rc_context():
        mpl.rcdefaults()  # a user's own settings would make another page
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(size[0] / 72, size[1] / 72))
        draw(figure)
        file = io.StringIO()
        nothing = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
        figure.savefig(file, format='svg', metadata=nothing)
    return Markup(_for_page(file.getvalue(), size, name, str(escape(label))))


def _for_page(text: str, size: tuple[float, float], name: str, label: str) -> str:
    text = text[text.index('<svg') :]
    # A style sheet inside of an SVG holds for the whole page; the page's own has its one rule.
    text = re.sub(r'<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->', '', text, flags=re.S)
    text = re.sub(r'<defs>\s*</defs>', '', text)
    # Figures of one page share its names; most are never asked for.
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else '', text)
    text = re.sub(r'(url\(#|href="#)', rf'\g<1>{name}-', text)
    text = re.sub(r'(?<= d=")[^"]*', lambda m: _shorter(m[0]), text)
    text = re.sub(r'#0101([0-9a-f]{2})', lambda m: f'var(--run-{int(m[1], 16)})', text)
    for sentinel, value in _NAMED.items():
        text = text.replace(sentinel, value)
    # The page's letters, as they are; labels that are not turned need no turning.
    text = re.sub(r'font-family: [^;"]*; |(?: transform="rotate\(-0 [^)]*\)")', '', text)
    text = re.sub(r'>\s+<', '>\n<', text).strip()
    head = f'<svg class="chart" viewBox="0 0 {size[0]:g} {size[1]:g}" role="img"'
    return re.sub(r'<svg[^>]*', lambda _: f'{head} aria-label="{label}"', text, count=1)


def _shorter(path: str) -> str:
    """Return a path with a tenth of a unit as its finest step, on one line."""
    rounded = re.sub(r'-?\d+\.\d+', lambda m: f'{float(m[0]):.1f}'.removesuffix('.0'), path)
    return ' '.join(rounded.split())
