# SPDX-License-Identifier: Apache-2.0
"""The documentation: its link targets and commands exist, its Python compiles."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from hcat_ros.commands.main import VERBS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]
LINK = re.compile(r'\[[^\]]*\]\(([^)\s]+)\)')
FENCE = re.compile(r'^```(\w*)\n(.*?)^```', re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """Anchors that GitHub and MkDocs create for the headings of a page."""
    headings = re.findall(r'^#+ (.+)$', FENCE.sub('', text), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', h.lower()).strip().replace(' ', '-') for h in headings}


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, text) of all code of a language."""
    found = []
    for page in PAGES:
        for name, text in FENCE.findall(page.read_text()):
            if name == language:
                found.append((page.name, text))
    return found


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_every_link_target_exists(page: Path) -> None:
    for link in LINK.findall(FENCE.sub('', page.read_text())):
        if re.match(r'https?:', link):
            continue
        path, _, anchor = link.partition('#')
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def test_every_page_is_listed_in_the_readme_and_the_site() -> None:
    readme, site = (ROOT / 'README.md').read_text(), (ROOT / 'mkdocs.yml').read_text()
    for page in (ROOT / 'docs').glob('*.md'):
        assert f' {page.name}\n' in site
        assert page.name == 'index.md' or f'docs/{page.name}' in readme


def test_python_examples_compile() -> None:
    found = blocks('python')
    assert len(found) >= 2
    for page, text in found:
        compile(text, page, 'exec')


def test_documented_hcat_commands_have_known_verbs_and_options() -> None:
    seen = 0
    for page, text in blocks('sh'):
        for line in text.replace('\\\n', ' ').splitlines():
            words = shlex.split(line, comments=True)
            if 'hcat' not in words or line.startswith(('pip', 'cd')):
                continue
            verb, *rest = words[words.index('hcat') + 1 :]
            parser = argparse.ArgumentParser()
            VERBS[verb].add_arguments(parser)
            actions = parser._actions  # noqa: SLF001, of argparse
            options = {name for action in actions for name in action.option_strings}
            given = {word.partition('=')[0] for word in rest if word.startswith('--')}
            assert given <= options, f'{page}: {line}'
            seen += 1
    assert seen > 15


def test_documented_launch_files_and_arguments_exist() -> None:
    pytest.importorskip('launch_ros', reason='needs ROS 2 with launch')
    from launch.actions import DeclareLaunchArgument
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    seen = 0
    for page, text in blocks('sh'):
        for line in text.replace('\\\n', ' ').splitlines():
            words = shlex.split(line, comments=True)
            if words[:3] != ['ros2', 'launch', 'hcat_ros']:
                continue
            file = ROOT / 'launch' / words[3]
            entities = get_launch_description_from_python_launch_file(str(file)).entities
            declared = {e.name for e in entities if isinstance(e, DeclareLaunchArgument)}
            if words[3] == 'demo.launch.py':  # it forwards the tracker's
                tracker = str(ROOT / 'launch' / 'tracker.launch.py')
                more = get_launch_description_from_python_launch_file(tracker).entities
                declared |= {e.name for e in more if isinstance(e, DeclareLaunchArgument)}
            for word in words[4:]:
                name = word.partition(':=')[0]
                axis = '.' in name  # axis parameters are accepted undeclared
                assert word == '&' or axis or name in declared, f'{page}: {line}'
            seen += 1
    assert seen >= 6
