# SPDX-License-Identifier: Apache-2.0
"""Start the tracker node. `ros2 launch hcat_ros tracker.launch.py --show-args` lists arguments."""

from collections.abc import Mapping
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.logging import get_logger
from launch_ros.actions import Node

from hcat_ros.nodes.fast_dds import profile_variables
from hcat_ros.nodes.launch_arguments import (
    LOG_LEVELS,
    RESPAWN_DELAY,
    check_choice,
    check_file,
    check_node_name,
    inherited_warning,
    parse_value,
    refuse_misspelt,
)
from hcat_ros.nodes.launch_files import given_parameters
from hcat_ros.nodes.tracker.settings import SETTINGS

CONFIG = Path(get_package_share_directory('hcat_ros')) / 'config'

# All parameters of the node are launch arguments too; an empty one leaves it to params_file.
NODE_ARGUMENTS = {setting.name: setting for setting in SETTINGS if setting.name != 'autostart'}


def arguments() -> list[DeclareLaunchArgument]:
    """Return the launch arguments with their descriptions."""
    declared = []
    for name, default, text in (
        ('image', 'image', 'topic of the images; with compressed, /compressed is appended'),
        ('params_file', str(CONFIG / 'tracker.yaml'), 'parameter file of the node'),
        ('namespace', '', 'namespace of the node and its topics'),
        ('node_name', 'hcat_tracker', 'name of the node'),
        ('cameras', '', 'NAMESPACE=TOPIC,...: a tracker for each, all in one process'),
        ('autostart', 'true', 'configure and activate the node: true or false'),
        (
            'use_sim_time',
            '',
            'take the time from /clock: true or false; empty: as params_file says',
        ),
        ('respawn', 'false', 'restart the node when it ends by itself: true or false'),
        ('log_level', 'info', f'lowest level that is logged: {", ".join(LOG_LEVELS)}'),
    ):
        declared.append(DeclareLaunchArgument(name, default_value=default, description=text))
    for name, setting in NODE_ARGUMENTS.items():
        text = f'{setting.description} Takes {setting.expected}; empty: as params_file says.'
        declared.append(DeclareLaunchArgument(name, default_value='', description=text))
    return declared


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Create the node from the arguments' values."""
    values = context.launch_configurations
    refuse_misspelt(values, [argument.name for argument in arguments()])
    warning = inherited_warning(context)
    if warning:
        get_logger('hcat_ros').warning(warning)
    parameters = node_parameters(values)
    log_level = check_choice('log_level', values['log_level'].lower(), LOG_LEVELS)
    cameras = [camera.strip() for camera in values['cameras'].split(',') if camera.strip()]
    if cameras:  # each camera has its own namespace and topic
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
            arguments=[*cameras, '--ros-args', '--log-level', log_level],
            # For this node only, not for other nodes of a launch file that includes this one.
            additional_env=profile_variables(CONFIG / 'fastdds_tracker.xml'),
            respawn=parse_value('respawn', values['respawn'], bool),
            respawn_delay=RESPAWN_DELAY,
            output='screen',
        )
    ]


def node_parameters(values: Mapping[str, str]) -> list[str | dict[str, object]]:
    """Return the tracker's parameters: a file, then the arguments. Raises ValueError."""
    kinds = {'use_sim_time': bool}
    kinds |= {name: setting.kind for name, setting in NODE_ARGUMENTS.items()}
    given = given_parameters(values, kinds)
    given['autostart'] = parse_value('autostart', values['autostart'], bool)
    return [check_file('params_file', values['params_file']), given]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=start)])
