# SPDX-License-Identifier: Apache-2.0
import difflib

import pytest

from hcat_ros.nodes.launch_arguments import (
    ALIKE,
    check_node_name,
    inherited_warning,
    refuse_misspelt,
)

DECLARED = ['window_penalty', 'yaw.max_speed', 'image', 'params_file']


@pytest.mark.parametrize(
    ('name', 'meant'),
    [('windw_penalty', 'window_penalty'), ('yaw.max_sped', 'yaw.max_speed'), ('imag', 'image')],
)
def test_a_misspelt_name_is_refused_with_the_one_that_is_meant(name: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f'{name}: there is none; did you mean {meant}'):
        refuse_misspelt(['image', name], DECLARED)


def test_names_that_are_for_other_launch_files_pass() -> None:
    refuse_misspelt(['image', 'robot_model', 'follow_params_file', 'use_sim_time'], DECLARED)


def test_no_argument_of_the_follower_is_taken_for_a_misspelt_one_of_the_tracker() -> None:
    """The follower's launch file includes the tracker's, which sees the names of both."""
    pytest.importorskip('rclpy', reason='needs ROS 2')
    from hcat_ros.nodes.follower.settings import NODE_SETTINGS, settings_for
    from hcat_ros.nodes.tools.camera_sim import SETTINGS as SIMULATED
    from hcat_ros.nodes.tracker.settings import SETTINGS

    tracker = {setting.name for setting in SETTINGS} | {
        'image',
        'cameras',
        'namespace',
        'node_name',
        'respawn',
    }
    others = {each.name for each in (*settings_for('drone'), *NODE_SETTINGS, *SIMULATED)}
    for name in sorted(others - tracker):
        assert not difflib.get_close_matches(name, tracker, 1, ALIKE)


class Context:
    """What the functions see of a launch.LaunchContext."""

    def __init__(self, *argv: str, **configurations: str) -> None:
        self.argv = argv
        self.launch_configurations = {'namespace': '', 'node_name': 'hcat_tracker', 'init_box': ''}
        self.launch_configurations |= configurations


def test_what_a_tracker_has_of_the_one_before_is_told() -> None:
    context = Context(image='/front/image')
    assert inherited_warning(context) == ''
    assert 'image:=/front/image also held' in inherited_warning(context)
    context.launch_configurations['image'] = '/back/image'
    assert inherited_warning(context) == ''
    context.launch_configurations['namespace'] = 'back'
    assert inherited_warning(context) == ''
    assert 'namespace:=back' in inherited_warning(context)


def test_arguments_of_the_command_line_are_meant_for_all() -> None:
    context = Context('image:=/image', 'init_box:=[1, 2, 3, 4]', image='/image')
    context.launch_configurations['init_box'] = '[1, 2, 3, 4]'
    for _ in range(2):
        assert inherited_warning(context) == ''


@pytest.mark.parametrize('name', ['', 'a-b', '/a', '1a', 'a b', 'é'])
def test_a_name_that_ros_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match='node_name:='):
        check_node_name('node_name', name)
    assert check_node_name('node_name', 'front_tracker_2') == 'front_tracker_2'
