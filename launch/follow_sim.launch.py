# SPDX-License-Identifier: Apache-2.0
"""Follow a target in closed loop without a robot: a simulated camera, tracker and follower.

ros2 launch hcat_ros follow_sim.launch.py platform:=drone path:=zigzag
"""

import tempfile
from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from hcat_ros.nodes.fast_dds import profile_variables
from hcat_ros.nodes.launch_arguments import parse_value, refuse_misspelt
from hcat_ros.nodes.launch_files import declared_arguments
from hcat_ros.nodes.tools.camera_sim import SETTINGS
from hcat_ros.nodes.tools.simulated_following import follower_parameters
from hcat_ros.simulation import Scenario

SHARE = Path(get_package_share_directory('hcat_ros'))
FOLLOW = SHARE / 'launch' / 'follow.launch.py'
CAMERA = {
    setting.name: setting
    for setting in SETTINGS
    # This file always names the target and waits for the tracker.
    if setting.name not in ('init_box', 'subscribers')
}
"""Parameters of the simulated camera, which are launch arguments too."""
FROM_CAMERA_INFO = ('horizontal_fov', 'image_width', 'image_height')
"""Parameters that the follower does not need, because the camera publishes camera_info."""
HIDDEN = (*FROM_CAMERA_INFO, 'image_transport', 'init_box', 'use_sim_time')
"""Arguments of follow.launch.py that have no use here."""


def arguments() -> list[DeclareLaunchArgument]:
    """Return the launch arguments with their descriptions, those of follow.launch.py after ours."""
    declared = []
    for name, setting in CAMERA.items():
        value = str(setting.default)
        declared.append(
            DeclareLaunchArgument(
                name,
                default_value=value.lower() if setting.kind is bool else value,
                description=f'{setting.description} Takes {setting.expected}.',
            )
        )
    # A parameter of both nodes, such as the target's height, is one argument.
    return [*declared, *declared_arguments(FOLLOW, leave_out=(*CAMERA, *HIDDEN))]


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Create the nodes from the arguments' values."""
    values = context.launch_configurations
    refuse_misspelt(values, [argument.name for argument in arguments()])
    given: dict[str, object] = {'init_box': True}
    for name, setting in CAMERA.items():
        given[name] = setting.checked(parse_value(name, values[name], setting.kind))
    shared = ('platform', 'fps', 'target_height')
    scenario = Scenario(**{name: given[name] for name in shared})
    camera = Node(
        package='hcat_ros',
        executable='camera_sim',
        namespace=values['namespace'],
        parameters=[given],
        remappings=[(name, values[name]) for name in ('image', 'camera_info', 'cmd_vel')],
        additional_env=profile_variables(SHARE / 'config' / 'fastdds_large_images.xml'),
        output='screen',
    )
    passed = {'platform': values['platform'], **dict.fromkeys(FROM_CAMERA_INFO, '')}
    if not values['follow_params_file']:
        passed['follow_params_file'] = follower_file(scenario)
    source = PythonLaunchDescriptionSource(str(FOLLOW))
    return [
        GroupAction([IncludeLaunchDescription(source, launch_arguments=passed.items())]),
        camera,
        RegisterEventHandler(
            OnProcessExit(target_action=camera, on_exit=[Shutdown(reason='the simulation ended')])
        ),
    ]


def follower_file(scenario: Scenario) -> str:
    """Write the follower's parameters for a simulated platform, and return the file's name.

    Other parameters keep the platform's preset. The file is not removed, like launch's own files.
    """
    values = {'/**': {'ros__parameters': follower_parameters(scenario)}}
    with tempfile.NamedTemporaryFile(
        'w', prefix='follow_sim_', suffix='.yaml', delete=False
    ) as file:
        yaml.safe_dump(values, file)
    return file.name


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the nodes, which end when the simulation does."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=start)])
