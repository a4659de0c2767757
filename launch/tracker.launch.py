# SPDX-License-Identifier: Apache-2.0
"""Start the tracker node. `ros2 launch hcat_ros tracker.launch.py --show-args` lists arguments."""

from collections.abc import Mapping
from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.logging import get_logger
from launch_ros.actions import Node

from hcat_ros.nodes.fast_dds import profile_variables
from hcat_ros.nodes.launch_arguments import (
    RESPAWN_DELAY,
    check_node_name,
    inherited_warning,
    refuse_misspelt,
)
from hcat_ros.nodes.tracker.settings import SETTINGS

CONFIG = Path(get_package_share_directory('hcat_ros')) / 'config'
LOG_LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')

# All parameters of the node are launch arguments too. Empty: as params_file says.
NODE_ARGUMENTS = {setting.name: setting for setting in SETTINGS if setting.name != 'autostart'}


def arguments() -> list[DeclareLaunchArgument]:
    """Return the launch arguments with their descriptions."""
    declared = []
    for name, default, text in (
        ('image', 'image', 'topic of the images; with compressed, /compressed is appended'),
        ('params_file', str(CONFIG / 'tracker.yaml'), 'parameters of the node'),
        ('namespace', '', 'namespace of the node and its topics'),
        ('node_name', 'hcat_tracker', 'name of the node'),
        ('cameras', '', 'NAMESPACE=TOPIC,...: a tracker for each, all in one process'),
        ('autostart', 'true', 'configure and activate the node: true or false'),
        (
            'use_sim_time',
            '',
            'take the time from /clock: true or false; empty: as params_file says',
        ),
        ('respawn', 'false', 'start the node again when it has ended by itself: true or false'),
        ('log_level', 'info', ', '.join(LOG_LEVELS)),
    ):
        declared.append(DeclareLaunchArgument(name, default_value=default, description=text))
    for name, setting in NODE_ARGUMENTS.items():
        text = f'{setting.description} Takes {setting.expected}; empty: as params_file says.'
        declared.append(DeclareLaunchArgument(name, default_value='', description=text))
    return declared


def typed(name: str, text: str, kind: type) -> object:
    """Return an argument's text as a value of its type, `1` as 1.0 where a number is due.

    Raises ValueError naming the argument, its value and what is expected. Whether the value is in
    range is for the node to say.
    """
    if kind is str:
        return text
    expected = {
        bool: 'true or false',
        int: 'a whole number',
        float: 'a number',
        list: "'[x, y, w, h]'",
    }[kind]
    try:
        # Brackets may be left out: init_box:=10,20,30,40
        as_list = kind is list and not text.lstrip().startswith('[')
        value = yaml.safe_load(f'[{text}]' if as_list else text)
        if kind is list:
            return [float(item) for item in value]
        if kind is float and not isinstance(value, bool):
            return float(value)
        if type(value) is kind:
            return value
    except (yaml.YAMLError, TypeError, ValueError):
        pass
    raise ValueError(f"launch argument {name}:='{text}': expected {expected}")


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Make the node from the arguments' values."""
    values = context.launch_configurations
    refuse_misspelt(values, [argument.name for argument in arguments()])
    warning = inherited_warning(context)
    if warning:
        get_logger('hcat_ros').warning(warning)
    parameters = node_parameters(values)
    cameras = [camera.strip() for camera in values['cameras'].split(',') if camera.strip()]
    if cameras:  # they are in namespaces and on topics of their own
        where: dict[str, object] = {'executable': 'tracker_nodes'}
    else:
        where = {
            'executable': 'tracker_node',
            'namespace': values['namespace'],
            'remappings': [('image', values['image'])],
        }
    return [
        Node(
            package='hcat_ros',
            **where,
            name=check_node_name('node_name', values['node_name']),
            parameters=parameters,
            arguments=[*cameras, '--ros-args', '--log-level', values['log_level']],
            # This node's alone: other nodes of a launch file that includes this one are not ours.
            additional_env=profile_variables(CONFIG / 'fastdds_tracker.xml'),
            respawn=typed('respawn', values['respawn'], bool),
            respawn_delay=RESPAWN_DELAY,
            output='screen',
        )
    ]


def node_parameters(values: Mapping[str, str]) -> list[str | dict[str, object]]:
    """Return the tracker's parameters: a file, and what arguments say. Raises ValueError."""
    given: dict[str, object] = {
        'autostart': typed('autostart', values['autostart'], bool),
    }
    if values['use_sim_time']:
        given['use_sim_time'] = typed('use_sim_time', values['use_sim_time'], bool)
    for name, setting in NODE_ARGUMENTS.items():
        if values[name]:
            given[name] = typed(name, values[name], setting.kind)
    if not Path(values['params_file']).is_file():
        raise ValueError(f'launch argument params_file: no file {values["params_file"]}')
    if values['log_level'].lower() not in LOG_LEVELS:
        raise ValueError(
            f"launch argument log_level:='{values['log_level']}': expected one of "
            f'{", ".join(LOG_LEVELS)}'
        )
    return [values['params_file'], given]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=start)])
