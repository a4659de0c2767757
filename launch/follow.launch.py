# SPDX-License-Identifier: Apache-2.0
"""Follow the target with a robot, a drone or a gimbal: the tracker, and the follower behind it.

ros2 launch hcat_ros follow.launch.py platform:=ground image:=/camera/image_raw start_on_hold:=true
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.launch_description_sources.python_launch_file_utilities import (
    load_python_launch_file_as_module,
)
from launch.logging import get_logger
from launch_ros.actions import Node

from hcat_ros.nodes.fast_dds import profile_variables
from hcat_ros.nodes.follower.settings import platform_setting, settings_for
from hcat_ros.nodes.launch_arguments import (
    EARLIER,
    LOG_LEVELS,
    RESPAWN_DELAY,
    check_choice,
    check_file,
    check_node_name,
    inherited_warning,
    parse_value,
    refuse_misspelt,
)
from hcat_ros.nodes.launch_files import declared_arguments, given_parameters

SHARE = Path(get_package_share_directory('hcat_ros'))
TRACKER = SHARE / 'launch' / 'tracker.launch.py'
PLATFORM = platform_setting()
SHARED = ('autostart', 'bond', 'diagnostics_period')
"""Parameters of both nodes; the tracker's launch arguments of these names set both."""

# The follower's parameters are launch arguments too. Those of the axes (yaw.max_speed) are accepted
# but not declared: there are 45 of them, and their defaults depend on the platform.
PARAMETERS = {
    setting.name: setting
    for setting in settings_for(PLATFORM.default)
    if setting.name not in SHARED
}
NODE_ARGUMENTS = {name: setting for name, setting in PARAMETERS.items() if '.' not in name}


def arguments() -> list[DeclareLaunchArgument]:
    """Return the launch arguments with their descriptions, the tracker's after our own."""
    declared = [
        DeclareLaunchArgument('platform', description=f'platform that moves: {PLATFORM.expected}')
    ]
    for name, default, text in (
        ('camera_info', 'camera_info', 'topic of the calibration that goes with the images'),
        ('imu', 'imu', "topic of the platform's inertial sensor, for use_imu"),
        ('depth', 'depth', 'topic of depth images aligned to the camera, for range_mode:=depth'),
        ('cmd_vel', 'cmd_vel', 'topic of the commands'),
        (
            'follow_params_file',
            '',
            'parameter file of the follower; empty: the file of the platform',
        ),
        ('start_tracker', 'true', 'start the tracker too: true or false'),
        ('processes', 'each', 'each: one process per node; one: both in one, to save memory'),
        (
            'follower_node_name',
            'hcat_follower',
            'name of the follower node; node_name names the tracker',
        ),
    ):
        declared.append(DeclareLaunchArgument(name, default_value=default, description=text))
    for name, setting in NODE_ARGUMENTS.items():
        text = f'{setting.description} Takes {setting.expected}; empty: as follow_params_file says.'
        declared.append(DeclareLaunchArgument(name, default_value='', description=text))
    return [*declared, *declared_arguments(TRACKER, leave_out=('cameras',))]


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Create the nodes from the arguments' values."""
    values = context.launch_configurations
    refuse_misspelt(values, [*PARAMETERS, *(argument.name for argument in arguments())])
    warning = inherited_warning(context)
    if warning:
        get_logger('hcat_ros').warning(warning)
    platform = check_choice('platform', values['platform'], PLATFORM.choices)
    file = check_file(
        'follow_params_file',
        values['follow_params_file'] or SHARE / 'config' / f'follow_{platform}.yaml',
    )
    log_level = check_choice('log_level', values['log_level'].lower(), LOG_LEVELS)
    kinds = {'use_sim_time': bool, 'bond': bool, 'diagnostics_period': float}
    kinds |= {name: setting.kind for name, setting in PARAMETERS.items()}
    given = {'platform': platform, **given_parameters(values, kinds)}
    given['autostart'] = parse_value('autostart', values['autostart'], bool)
    parameters: list[str | dict[str, object]] = [file, given]
    remapped = ['camera_info', 'imu', 'depth', 'cmd_vel']
    name = check_node_name('follower_node_name', values['follower_node_name'])
    start_tracker = parse_value('start_tracker', values['start_tracker'], bool)
    words: list[str] = []
    processes = check_choice('processes', values['processes'], ('each', 'one'))
    together = start_tracker and processes == 'one'
    if together:
        # Each node ignores the parameters that only the other has.
        tracker = load_python_launch_file_as_module(str(TRACKER))
        parameters = [*tracker.node_parameters(values), *parameters]
        remapped.append('image')
        tracker_name = check_node_name('node_name', values['node_name'])
        words = [
            '-r',
            f'hcat_tracker:__node:={tracker_name}',
            '-r',
            f'hcat_follower:__node:={name}',
        ]
    nodes: list[LaunchDescriptionEntity] = [
        Node(
            package='hcat_ros',
            executable='composed' if together else 'follower_node',
            name=None if together else name,
            namespace=values['namespace'],
            remappings=[(topic, values[topic]) for topic in remapped],
            parameters=parameters,
            arguments=[
                *(['tracker', 'follower'] if together else []),
                *('--ros-args', '--log-level', log_level, *words),
            ],
            additional_env=(
                profile_variables(SHARE / 'config' / 'fastdds_tracker.xml') if together else None
            ),
            respawn=parse_value('respawn', values['respawn'], bool),
            respawn_delay=RESPAWN_DELAY,
            output='screen',
        )
    ]
    if start_tracker and not together:
        source = PythonLaunchDescriptionSource(str(TRACKER))
        own = {'cameras': '', EARLIER: '{}'}.items()
        nodes.insert(0, IncludeLaunchDescription(source, launch_arguments=own))
    return [GroupAction(nodes)]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the nodes."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=start)])
