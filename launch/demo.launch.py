# SPDX-License-Identifier: Apache-2.0
"""Track a target through a video, an image folder or a camera of this machine.

ros2 launch hcat_ros demo.launch.py video:=people.mp4 init_box:='[262, 432, 42, 142]'
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from hcat_ros.nodes.fast_dds import profile_variables

SHARE = Path(get_package_share_directory('hcat_ros'))
TRACKER = SHARE / 'launch' / 'tracker.launch.py'


def generate_launch_description() -> LaunchDescription:
    """Return the video source and the tracker, which end when the video does."""
    source = Node(
        package='hcat_ros',
        executable='video_source',
        namespace=LaunchConfiguration('namespace'),
        parameters=[
            {
                # A name of digits, as a camera's number, is a text too.
                'source': ParameterValue(LaunchConfiguration('video'), value_type=str),
                # The node checks these, its messages name the parameter.
                'loop': LaunchConfiguration('loop'),
                'start': LaunchConfiguration('start'),
                'count': LaunchConfiguration('count'),
                'image_transport': LaunchConfiguration('image_transport'),
            }
        ],
        remappings=[('image', LaunchConfiguration('image'))],
        additional_env=profile_variables(SHARE / 'config' / 'fastdds_large_images.xml'),
        output='screen',
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'video', description='video file, image folder, camera number or device'
            ),
            DeclareLaunchArgument('loop', default_value='false', description='play it for ever'),
            DeclareLaunchArgument('start', default_value='0', description='first frame'),
            DeclareLaunchArgument('count', default_value='0', description='frames, 0 for all'),
            # Given to both nodes, whatever params_file says, so that they agree.
            DeclareLaunchArgument(
                'image_transport', default_value='raw', description='raw or compressed'
            ),
            # The tracker's own arguments (init_box, engine, model, ...) pass through.
            IncludeLaunchDescription(PythonLaunchDescriptionSource(str(TRACKER))),
            source,
            RegisterEventHandler(
                OnProcessExit(target_action=source, on_exit=[Shutdown(reason='the video ended')])
            ),
        ]
    )
