# SPDX-License-Identifier: Apache-2.0
"""Start the tracker and its MAVLink camera: ground stations name targets on their video.

ros2 launch hcat_ros mavlink.launch.py image:=/camera/image_raw connections:=udpin:0.0.0.0:14560
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
from launch_ros.actions import Node

from hcat_ros.nodes.fast_dds import profile_variables
from hcat_ros.nodes.launch_arguments import (
    LOG_LEVELS,
    RESPAWN_DELAY,
    check_choice,
    check_file,
    check_node_name,
    parse_value,
    refuse_misspelt,
)
from hcat_ros.nodes.launch_files import as_text, declared_arguments, given_parameters
from hcat_ros.nodes.tools.mavlink_camera import SETTINGS

SHARE = Path(get_package_share_directory('hcat_ros'))
TRACKER = SHARE / 'launch' / 'tracker.launch.py'
PARAMETERS = {setting.name: setting for setting in SETTINGS if setting.name != 'tracker'}
"""Parameters of the camera that are launch arguments; `tracker` is set to node_name."""


def arguments() -> list[DeclareLaunchArgument]:
    """Return the launch arguments with their descriptions, the tracker's after our own."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, default, text in (
            ('cmd_vel', 'cmd_vel', "topic of the follower's commands, for motion"),
            ('mavlink_params_file', '', "parameter file of the camera; empty: the package's own"),
            ('start_tracker', 'true', 'start the tracker too: true or false'),
            (
                'video',
                '',
                'video file, image folder, camera number or device to publish the images from; '
                'empty: your own node publishes them',
            ),
        )
    ]
    for name, setting in PARAMETERS.items():
        text = (
            f'{setting.description} Takes {setting.expected}; empty: as mavlink_params_file says.'
        )
        declared.append(DeclareLaunchArgument(name, default_value='', description=text))
    return [*declared, *declared_arguments(TRACKER, leave_out=('cameras',))]


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Create the nodes from the arguments' values."""
    values = context.launch_configurations
    refuse_misspelt(values, [argument.name for argument in arguments()])
    file = check_file(
        'mavlink_params_file',
        values['mavlink_params_file'] or SHARE / 'config' / 'mavlink_camera.yaml',
    )
    log_level = check_choice('log_level', values['log_level'].lower(), LOG_LEVELS)
    kinds = {'use_sim_time': bool, **{name: each.kind for name, each in PARAMETERS.items()}}
    given = {
        'tracker': check_node_name('node_name', values['node_name']),
        **given_parameters(values, kinds),
    }
    nodes: list[LaunchDescriptionEntity] = [
        Node(
            package='hcat_ros',
            executable='mavlink_camera',
            namespace=values['namespace'],
            remappings=[('cmd_vel', values['cmd_vel'])],
            parameters=[file, given],
            arguments=['--ros-args', '--log-level', log_level],
            respawn=parse_value('respawn', values['respawn'], bool),
            respawn_delay=RESPAWN_DELAY,
            output='screen',
        )
    ]
    if parse_value('start_tracker', values['start_tracker'], bool):
        source = PythonLaunchDescriptionSource(str(TRACKER))
        own = {'cameras': ''}.items()
        nodes.append(IncludeLaunchDescription(source, launch_arguments=own))
    if values['video']:
        transport = values['image_transport'] or 'raw'
        nodes.append(
            Node(
                package='hcat_ros',
                executable='video_source',
                namespace=values['namespace'],
                remappings=[('image', values['image'])],
                parameters=[{'source': as_text(values['video']), 'image_transport': transport}],
                additional_env=profile_variables(SHARE / 'config' / 'fastdds_large_images.xml'),
                output='screen',
            )
        )
    return [GroupAction(nodes)]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the nodes."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=start)])
