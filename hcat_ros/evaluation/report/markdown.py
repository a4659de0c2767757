# SPDX-License-Identifier: Apache-2.0
"""The report's tables as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hcat_ros.evaluation.report.configuration import commands, protocols, versions, words
from hcat_ros.evaluation.report.scenes import Scene, headline
from hcat_ros.evaluation.report.tables import ReportTable, sequence_table, summary
from hcat_ros.evaluation.scored_run import Run
from hcat_ros.markdown import markdown_table


def render_markdown(runs: Sequence[Run], scenes: Sequence[Scene], title: str) -> str:
    """Return title, summary, sequences (worst first), versions and commands."""
    parts = [f'# {escape(title)}', best_in_bold(summary(runs))]
    parts += [f'**{escape(run.title)}**: {escape(text)}.' for run in runs for text in run.remarks]
    parts += [
        f'Protocol {escape(protocol.title)}. {escape(words(protocol))}'
        for protocol in protocols(runs)
    ]
    parts += [f'## Sequences, by {escape(headline(runs))}']
    parts += [best_in_bold(sequence_table(scenes, runs)), '## Versions']
    parts += ['\n'.join(f'- **{escape(run.title)}**: {escape(versions(run))}' for run in runs)]
    parts += [f'```sh\n{command}\n```' for command in commands(runs) if '```' not in command]
    return '\n\n'.join(parts) + '\n'


def best_in_bold(table: ReportTable) -> str:
    """Return a table as Markdown, with the best values in bold."""
    titles = [escape(table.title), *(escape(column.title) for column in table.columns)]
    rows = []
    for row, name in enumerate(table.names):
        texts = [column.text(row) for column in table.columns]
        marked = [f'**{t}**' if best else t for t, best in zip(texts, table.best[row])]
        rows.append([escape(name), *marked])
    return markdown_table(titles, rows)


def escape(text: str) -> str:
    """Return a text on one line, escaped so that Markdown and HTML show it unchanged."""
    text = ' '.join(text.split()).replace('&', '&amp;').replace('<', '&lt;')
    return re.sub(r'([\\`*\[\]|~])', r'\\\1', text)
