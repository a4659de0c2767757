# SPDX-License-Identifier: Apache-2.0
import difflib

import pytest

from hcat_ros.nodes.launch_arguments import ALIKE, refuse_misspelt

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
    from hcat_ros.nodes.camera_sim import SETTINGS as SIMULATED
    from hcat_ros.nodes.follower_settings import NODE_SETTINGS, settings_for
    from hcat_ros.nodes.tracker_settings import SETTINGS

    tracker = {setting.name for setting in SETTINGS} | {'image', 'cameras', 'namespace'}
    others = {each.name for each in (*settings_for('drone'), *NODE_SETTINGS, *SIMULATED)}
    for name in sorted(others - tracker):
        assert not difflib.get_close_matches(name, tracker, 1, ALIKE)
