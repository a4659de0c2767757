# SPDX-License-Identifier: Apache-2.0
"""The SROS2 policy lists exactly the topics and services of the follower."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from node_graph import named_by

from hcat_ros.nodes.follower.node import FollowerNode

OPTIONAL = {
    '/clock',
    '/imu',
    '/depth',
    '/depth/compressedDepth',
    '/tf',
    '/tf_static',
    '/hcat_follower/get_type_description',
}
"""Present only with certain parameters, or from Jazzy on (get_type_description)."""


def full(name: str) -> str:
    return name.replace('~', '/hcat_follower') if name[0] in '~/' else f'/{name}'


def test_policy_matches_the_follower_graph(ros: None, checkout: Path) -> None:
    node = FollowerNode()
    node.start()
    policy = ElementTree.parse(checkout / 'config' / 'sros2_policy.xml')
    profile = policy.find(".//enclave[@path='/hcat_follower']//profile")
    assert profile is not None
    assert (profile.get('node'), profile.get('ns')) == ('hcat_follower', '/')
    for rule, ask in (
        ('subscribe', node.get_subscriber_names_and_types_by_node),
        ('publish', node.get_publisher_names_and_types_by_node),
        ('reply', node.get_service_names_and_types_by_node),
        ('request', node.get_client_names_and_types_by_node),
    ):
        allowed = {
            full(item.text or '')
            for group in profile
            if group.get(rule) == 'ALLOW'
            for item in group
        }
        found = named_by(ask, 'hcat_follower', allowed - OPTIONAL).keys()
        assert found <= allowed, f'{rule}: the node would not work'
        assert allowed - found <= OPTIONAL, f'{rule}: not needed'
    node.destroy_node()
