# SPDX-License-Identifier: Apache-2.0
"""Track a target through a video, an image folder or a camera of this machine.

ros2 launch hcat_ros demo.launch.py video:=people.mp4 init_box:='[262, 432, 42, 142]' show:=true
"""

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from hcat_ros.nodes.fast_dds import profile_variables
from hcat_ros.nodes.launch_arguments import parse_value
from hcat_ros.nodes.launch_files import as_text

SHARE = Path(get_package_share_directory('hcat_ros'))
TRACKER = SHARE / 'launch' / 'tracker.launch.py'


def show(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Start RViz if `show` is true. Raises ValueError if RViz is not installed."""
    values = context.launch_configurations
    if not parse_value('show', values['show'], bool):
        return []
    try:
        get_package_share_directory('rviz2')
    except PackageNotFoundError:
        raise ValueError(
            'launch argument show:=true: RViz is not installed; apt install ros-$ROS_DISTRO-rviz2'
        ) from None
    return [
        Node(
            package='rviz2',
            executable='rviz2',
            namespace=values['namespace'],
            arguments=['-d', str(SHARE / 'config' / 'rviz.rviz')],
            # RViz does not put the topics of its file into the namespace, so they are remapped.
            remappings=[
                (f'/{topic}', f'{namespace_of(values)}/{topic}')
                for topic in ('track_image', 'target_bearing', 'target_pose')
            ],
        )
    ]


def namespace_of(values: dict[str, str]) -> str:
    """Return the namespace with a slash before it, empty for the root."""
    name = values['namespace'].strip('/')
    return f'/{name}' if name else ''


def generate_launch_description() -> LaunchDescription:
    """Return the video source and the tracker, which end when the video does."""
    source = Node(
        package='hcat_ros',
        executable='video_source',
        namespace=LaunchConfiguration('namespace'),
        parameters=[
            {
                # A name of digits, such as a camera's number, is a text too.
                'source': as_text(LaunchConfiguration('video')),
                # The node checks these values; its messages name the parameter.
                'loop': LaunchConfiguration('loop'),
                'start': LaunchConfiguration('start'),
                'count': LaunchConfiguration('count'),
                'image_transport': LaunchConfiguration('image_transport'),
                'horizontal_fov': LaunchConfiguration('horizontal_fov'),
                'calibration': as_text(LaunchConfiguration('calibration')),
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
            DeclareLaunchArgument(
                'loop', default_value='false', description='repeat the video for ever'
            ),
            DeclareLaunchArgument('start', default_value='0', description='first frame to play'),
            DeclareLaunchArgument(
                'count', default_value='0', description='number of frames; 0: all'
            ),
            # Both nodes get this value, whatever params_file says, so that they agree.
            DeclareLaunchArgument(
                'image_transport', default_value='raw', description='raw or compressed'
            ),
            DeclareLaunchArgument(
                'horizontal_fov',
                default_value='0.0',
                description='field of view of the camera [rad], published as camera_info; 0: none',
            ),
            DeclareLaunchArgument(
                'calibration',
                default_value='',
                description='calibration file, published as camera_info',
            ),
            DeclareLaunchArgument(
                'show', default_value='false', description='show the track in RViz: true or false'
            ),
            # First, because processes that start before an error would be left running.
            OpaqueFunction(function=show),
            # The tracker's own arguments (init_box, engine, model, ...) pass through.
            IncludeLaunchDescription(PythonLaunchDescriptionSource(str(TRACKER))),
            source,
            RegisterEventHandler(
                OnProcessExit(target_action=source, on_exit=[Shutdown(reason='the video ended')])
            ),
        ]
    )
