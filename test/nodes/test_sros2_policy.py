# SPDX-License-Identifier: Apache-2.0
"""The SROS2 policy lists exactly the topics and services of the tracker node."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from node_graph import named_by
from talker import Talker

OPTIONAL = {
    '/hcat_tracker/set_target',
    '/hcat_tracker/select_primary',
    '/hcat_tracker/drop',
    '/clock',
    '/hcat_tracker/get_type_description',
    '/image',
    '/image/compressed',
}
"""Present only with certain parameters or packages, or from Jazzy on (get_type_description)."""


def full(name: str) -> str:
    return name.replace('~', '/hcat_tracker') if name[0] in '~/' else f'/{name}'


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_policy_matches_the_tracker_graph(
    talk: Callable[..., Talker], checkout: Path, transport: str
) -> None:
    talker = talk(transport=transport)
    talker.start()
    node = talker.tracker
    profile = ElementTree.parse(checkout / 'config' / 'sros2_policy.xml').find('.//profile')
    assert profile is not None
    assert (profile.get('node'), profile.get('ns')) == ('hcat_tracker', '/')
    for rule, ask in (
        ('subscribe', node.get_subscriber_names_and_types_by_node),
        ('publish', node.get_publisher_names_and_types_by_node),
        ('reply', node.get_service_names_and_types_by_node),
        ('request', node.get_client_names_and_types_by_node),
    ):
        allowed = {
            full(item.text) for group in profile if group.get(rule) == 'ALLOW' for item in group
        }
        found = named_by(ask, 'hcat_tracker', allowed - OPTIONAL).keys()
        assert found <= allowed, f'{rule}: the node would not work'
        assert allowed - found <= OPTIONAL, f'{rule}: not needed'
