# SPDX-License-Identifier: Apache-2.0
"""Every topic, service and field of the Foxglove layout exists in the node's real messages.

Foxglove itself is not run: somebody has to look at the result.
"""

import importlib
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from node_graph import named_by
from talker import RELIABLE, TARGET, Talker, stamp

PLOTTED = {'Plot': (int, float), 'StateTransitions': (int, float, str)}
"""Values that a panel can show, by its type."""
STEP = re.compile(r'\.(?P<field>\w+)|\[(?P<index>\d+|:)\]|\{(?P<key>\w+)=="(?P<value>[^"]*)"\}')
"""A step of a message path: a field, an element or all of them, a filter."""


@pytest.fixture(scope='module')
def layout(checkout: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((checkout / 'config' / 'foxglove_layout.json').read_text())
    return loaded


def panels_of(tree: Any) -> Iterator[str]:
    """Yield the names of the panels in the tree of splits."""
    if isinstance(tree, str):
        yield tree
        return
    assert tree.keys() == {'direction', 'first', 'second', 'splitPercentage'}
    assert tree['direction'] in ('row', 'column')
    assert 0 < tree['splitPercentage'] < 100
    yield from panels_of(tree['first'])
    yield from panels_of(tree['second'])


def message_paths(layout: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return (panel type, topic, rest of the path) of every plotted value."""
    found = []
    for name, config in layout['configById'].items():
        for path in config.get('paths', ()):
            topic, rest = re.fullmatch(r'([\w/]+)(.+)', path['value']).groups()
            found.append((name.partition('!')[0], topic, rest))
    return found


def topics_shown(layout: dict[str, Any]) -> set[str]:
    """Return every topic that a panel subscribes to."""
    topics = {topic for _, topic, _ in message_paths(layout)}
    for config in layout['configById'].values():
        topics |= {config[key] for key in ('topicToRender',) if key in config}
        topics |= {config['imageMode']['imageTopic']} if 'imageMode' in config else set()
    return topics


def values_at(message: Any, path: str) -> list[Any]:
    """Return the values that a message path selects in a message, as Foxglove reads it."""
    steps = list(STEP.finditer(path))
    assert ''.join(step[0] for step in steps) == path, f'{path}: not a message path'
    found = [message]
    for step in steps:
        if step['field']:
            for item in found:
                assert step['field'] in item.get_fields_and_field_types(), f'{path} at {step[0]}'
            found = [getattr(item, step['field']) for item in found]
        elif step['key']:
            found = [item for item in found if getattr(item, step['key']) == step['value']]
        elif step['index'] == ':':
            found = [element for item in found for element in item]
        else:
            found = [item[int(step['index'])] for item in found]
    return found


def test_every_panel_is_placed_and_configured(layout: dict[str, Any]) -> None:
    assert {'configById', 'layout', 'globalVariables', 'userNodes'} <= layout.keys()
    placed = list(panels_of(layout['layout']))
    assert len(placed) == len(set(placed))
    assert set(placed) == layout['configById'].keys()
    assert all(re.fullmatch(r'\w+!\w+', name) for name in placed)
    for config in layout['configById'].values():
        for path in config.get('paths', ()):
            assert path['enabled'], 'a path without it draws nothing'


def test_plotted_topics_and_fields_exist_in_the_published_messages(
    talk: Callable[..., Talker], layout: dict[str, Any]
) -> None:
    talker = talk(diagnostics_period=0.1)
    newest: dict[str, Any] = {}
    talker.start()
    shown = topics_shown(layout)
    types = named_by(talker.tracker.get_publisher_names_and_types_by_node, 'hcat_tracker', shown)
    for topic in shown:
        package, _, kind = types[topic][0].split('/')
        kind = getattr(importlib.import_module(f'{package}.msg'), kind)
        talker.node.create_subscription(
            kind, topic, lambda message, topic=topic: newest.update({topic: message}), RELIABLE
        )
    talker.spin(lambda: talker.tracker.count_subscribers('track_image') > 0, 'a viewer')

    talker.send(0)
    talker.name_target(TARGET, stamp(0))
    for number in range(1, 6):
        talker.send(number)
    talker.spin(lambda: newest.keys() == shown, 'a message on each topic')

    for panel, topic, path in message_paths(layout):
        values = values_at(newest[topic], path)
        assert len(values) == 1, f'{topic}{path} is {values}'
        assert isinstance(values[0], PLOTTED[panel])
        assert values[0] != '', f'{topic}{path} is empty'


def test_button_calls_an_existing_service(
    talk: Callable[..., Talker], layout: dict[str, Any]
) -> None:
    talker = talk()
    buttons = [c for name, c in layout['configById'].items() if name.startswith('CallService!')]
    assert buttons
    called = {button['serviceName'] for button in buttons}
    services = named_by(talker.tracker.get_service_names_and_types_by_node, 'hcat_tracker', called)
    for button in buttons:
        package, _, kind = services[button['serviceName']][0].split('/')
        request = getattr(importlib.import_module(f'{package}.srv'), kind).Request
        assert json.loads(button['requestPayload']).keys() == (
            request.get_fields_and_field_types().keys()
        )


def test_documented_command_moves_the_layout_into_a_namespace(
    layout: dict[str, Any], checkout: Path
) -> None:
    text = (checkout / 'docs' / 'ros_system.md').read_text()
    script = re.search(r"^sed '([^']+)' \\\n  \S.*config/foxglove_layout\.json", text, re.MULTILINE)
    assert script
    command = ['sed', script[1], str(checkout / 'config' / 'foxglove_layout.json')]
    moved = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    front = {t if t == '/diagnostics' else f'/front{t}' for t in topics_shown(layout)}
    assert topics_shown(moved) == front
    assert 'name=="front/hcat_tracker: tracking"' in str(message_paths(moved))
    services = [c['serviceName'] for c in moved['configById'].values() if 'serviceName' in c]
    assert services == ['/front/hcat_tracker/reset']
