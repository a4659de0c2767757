# SPDX-License-Identifier: Apache-2.0
import difflib
from pathlib import Path

import pytest

from hcat_ros.nodes.launch_arguments import (
    ALIKE,
    check_choice,
    check_file,
    check_node_name,
    inherited_warning,
    parse_parameters,
    parse_value,
    refuse_misspelt,
)

DECLARED = ['window_penalty', 'yaw.max_speed', 'image', 'params_file']


@pytest.mark.parametrize(
    ('name', 'meant'),
    [('windw_penalty', 'window_penalty'), ('yaw.max_sped', 'yaw.max_speed'), ('imag', 'image')],
)
def test_misspelt_argument_is_refused_with_the_closest_name(name: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f'{name} does not exist; did you mean {meant}'):
        refuse_misspelt(['image', name], DECLARED)


def test_arguments_of_other_launch_files_are_accepted() -> None:
    refuse_misspelt(['image', 'robot_model', 'follow_params_file', 'use_sim_time'], DECLARED)


def test_follower_arguments_do_not_resemble_tracker_arguments() -> None:
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
    """The part of a launch.LaunchContext that the functions use."""

    def __init__(self, *argv: str, **configurations: str) -> None:
        self.argv = argv
        self.launch_configurations = {'namespace': '', 'node_name': 'hcat_tracker', 'init_box': ''}
        self.launch_configurations |= configurations


def test_argument_inherited_from_the_previous_tracker_causes_a_warning() -> None:
    context = Context(image='/front/image')
    assert inherited_warning(context) == ''
    assert 'image:=/front/image was also given' in inherited_warning(context)
    context.launch_configurations['image'] = '/back/image'
    assert inherited_warning(context) == ''
    context.launch_configurations['namespace'] = 'back'
    assert inherited_warning(context) == ''
    assert 'namespace:=back' in inherited_warning(context)


def test_command_line_arguments_apply_to_all_trackers() -> None:
    context = Context('image:=/image', 'init_box:=[1, 2, 3, 4]', image='/image')
    context.launch_configurations['init_box'] = '[1, 2, 3, 4]'
    for _ in range(2):
        assert inherited_warning(context) == ''


@pytest.mark.parametrize('name', ['', 'a-b', '/a', '1a', 'a b', 'é'])
def test_invalid_node_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match='node_name:='):
        check_node_name('node_name', name)
    assert check_node_name('node_name', 'front_tracker_2') == 'front_tracker_2'


@pytest.mark.parametrize(
    ('text', 'kind', 'value'),
    [
        ('true', bool, True),
        ('7', int, 7),
        ('1', float, 1.0),
        ('1e-2', float, 0.01),
        ('12', str, '12'),
        ('[1, 2.5, 3, 4]', list, [1.0, 2.5, 3.0, 4.0]),
        ('10,20,30,40', list, [10.0, 20.0, 30.0, 40.0]),
    ],
)
def test_text_is_parsed_as_the_parameter_type(text: str, kind: type, value: object) -> None:
    parsed = parse_value('name', text, kind)
    assert parsed == value
    assert type(parsed) is kind


@pytest.mark.parametrize(
    ('text', 'kind', 'expected'),
    [
        ('1', bool, 'true or false'),
        ('1.5', int, 'a whole number'),
        ('true', int, 'a whole number'),
        ('true', float, 'a number'),
        ('fast', float, 'a number'),
        ('{', float, 'a number'),
        ('1, two', list, r"'\[x, y, w, h\]'"),
    ],
)
def test_text_of_the_wrong_type_is_refused_with_the_expected_type(
    text: str, kind: type, expected: str
) -> None:
    with pytest.raises(ValueError, match=f"launch argument threads:='.*': expected {expected}"):
        parse_value('threads', text, kind)


def test_empty_or_missing_arguments_set_no_parameter() -> None:
    values = {'threads': '2', 'engine': '', 'image': '/camera'}
    kinds = {'threads': int, 'engine': str, 'window_penalty': float}
    assert parse_parameters(values, kinds) == {'threads': 2}


def test_a_choice_and_a_file_are_checked(tmp_path: Path) -> None:
    assert check_choice('processes', 'one', ('each', 'one')) == 'one'
    with pytest.raises(ValueError, match="processes:='two': expected each or one"):
        check_choice('processes', 'two', ('each', 'one'))
    file = tmp_path / 'mine.yaml'
    with pytest.raises(ValueError, match=f'params_file: no file {file}'):
        check_file('params_file', file)
    with pytest.raises(ValueError, match='params_file: no file'):
        check_file('params_file', tmp_path)
    file.touch()
    assert check_file('params_file', file) == str(file)
