# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from hcat_ros.evaluation.protocols import PROTOCOLS
from hcat_ros.evaluation.report import write_report
from hcat_ros.evaluation.report.configuration import COMPARED, commands, settings, versions, words
from hcat_ros.evaluation.report.markdown import escape
from hcat_ros.evaluation.scored_run import Run


def test_markdown_tables_have_the_scores(runs: list[Run], tmp_path: Path) -> None:
    write_report(runs, tmp_path, 'A *title*')
    lines = (tmp_path / 'report.md').read_text().splitlines()
    assert lines[0] == r'# A \*title\*'
    good = next(line for line in lines if line.startswith('| good one'))
    for value in runs[0].score.measures.values():
        assert f'**{value:.3f}**' in good
    ball = next(line for line in lines if line.startswith('| ball'))
    values = [run.score.sequences[0].measures['AO'] for run in runs]
    assert ball == f'| ball | 60 | **{values[0]:.3f}** | {values[1]:.3f} |'
    for first, second in itertools.pairwise(lines):
        if second.startswith('|---'):
            assert first.count('|') == second.count('|')
    assert any(line.startswith('- **good one**: hcat_ros 1.2.3, numpy ') for line in lines)
    assert "hcat evaluate 'a folder'" in lines


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('hcat_base', 'hcat_base'),
        ('a|b', r'a\|b'),
        ('<b>&amp;', '&lt;b>&amp;amp;'),
        ('two\nlines\t', 'two lines'),
        ('[x](javascript:1)', r'\[x\](javascript:1)'),
        ('`c` **b** \\', r'\`c\` \*\*b\*\* \\'),
    ],
)
def test_special_characters_are_escaped_in_markdown(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_settings_are_flattened_and_compared_side_by_side(runs: list[Run]) -> None:
    first = replace(
        runs[0],
        configuration={
            'tracker': {
                'model': 'm',
                'none': None,
                'empty': {},
                'files': [],
                'weights': [('a.onnx', '12'), ('b.onnx', '34')],
                'sizes': (1, 2.5),
                'parts': [{'name': 'x'}, {'name': 'y'}],
            },
            'jobs': 2,
            'command': 'hcat evaluate',
        },
    )
    second = replace(
        runs[1], configuration={'jobs': 2, 'tracker': {'model': 'n', 'extra': True}, 7: False}
    )
    found = {' '.join(setting.path): setting for setting in settings([first, second])}
    assert list(found)[-2:] == ['jobs', '7']
    assert list(found)[:2] == ['tracker model', 'tracker none']
    assert found['tracker model'].values == ('m', 'n')
    assert not found['tracker model'].same
    assert found['jobs'].values == ('2', '2')
    assert found['jobs'].same
    assert found['tracker weights b.onnx'].values[0] == '34'
    assert found['tracker sizes'].values[0] == '1, 2.5'
    assert found['tracker parts 1 name'].values[0] == 'y'
    assert found['tracker extra'].values[1] == 'True'
    dashes = {found[f'tracker {name}'].values[0] for name in ('none', 'empty', 'files', 'extra')}
    assert dashes == {'–'}  # noqa: RUF001
    assert 'command' not in found


def test_commands_are_quoted_as_in_a_shell(runs: list[Run]) -> None:
    assert commands(runs) == ["hcat evaluate 'a folder'"]
    again = replace(runs[1], configuration={'command': "hcat evaluate 'a folder'"})
    assert commands([runs[0], again]) == ["hcat evaluate 'a folder'"]


def test_versions_are_joined_on_one_line(runs: list[Run]) -> None:
    assert versions(runs[0]).startswith('hcat_ros 1.2.3, numpy ')
    assert versions(replace(runs[0], configuration={})) == ''


def test_each_protocol_describes_how_it_counts_frames() -> None:
    plain = PROTOCOLS['plain'].compare
    assert set(COMPARED) == {name for name, p in PROTOCOLS.items() if p.compare is not plain}
    texts = {name: words(protocol) for name, protocol in PROTOCOLS.items()}
    assert 'The first frame, whose box is given, does not count' in texts['plain']
    assert 'counts, as a hit; frames without a true box count as missed' in texts['lasot']
    assert 'all frames of all sequences are pooled' in texts['got10k']
    assert texts['got10k'].endswith('first: AO, SR 0.5, SR 0.75.')
