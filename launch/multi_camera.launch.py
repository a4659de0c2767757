# SPDX-License-Identifier: Apache-2.0
"""Start a tracker for each of several cameras, each in a namespace of its own.

ros2 launch hcat_ros multi_camera.launch.py cameras:=front,back=/usb_cam/image_raw threads:=1
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
from launch.logging import get_logger

from hcat_ros.nodes.launch_arguments import EARLIER, check_choice, inherited
from hcat_ros.nodes.launch_files import declared_arguments

IMAGE = 'image_raw'
TRACKER = Path(get_package_share_directory('hcat_ros')) / 'launch' / 'tracker.launch.py'


def topics(cameras: str, image: str) -> dict[str, str]:
    """Return the image topic of each namespace in `cameras`, 'NAME' or 'NAME=TOPIC' with commas.

    image: the topic of those that name none. Raises ValueError for what cannot be told apart.
    """
    found: dict[str, str] = {}
    for word in cameras.split(','):
        name, _, topic = (part.strip() for part in word.partition('='))
        if not name.strip('/') or name in found:
            reason = f"'{name}' is there twice" if name in found else 'a name is missing'
            raise ValueError(
                f"launch argument cameras:='{cameras}': {reason}; expected namespaces, each with "
                'its image topic if that is another: front,back=/usb_cam/image_raw'
            )
        found[name] = topic or image
    return found


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Include the tracker's launch file once a process, with what is the cameras' own."""
    values = context.launch_configurations
    image = values['image']
    if image.startswith('/') and inherited(context, ('image',)):
        get_logger('hcat_ros').warning(
            f'image:={image} was for the tracker that was included before: taking {IMAGE} in the '
            "namespace of each camera; other topics go into cameras, 'front=/topic'"
        )
        image = IMAGE
    found = topics(values['cameras'], image)
    if check_choice('processes', values['processes'], ('one', 'each')) == 'one':
        own = [{'cameras': ','.join(f'{name}={topic}' for name, topic in found.items())}]
    else:
        own = [{'namespace': n, 'image': topic, 'cameras': ''} for n, topic in found.items()]
    source = PythonLaunchDescriptionSource(str(TRACKER))
    return [
        GroupAction(
            [
                IncludeLaunchDescription(
                    source, launch_arguments={**arguments, EARLIER: '{}'}.items()
                )
            ]
        )
        for arguments in own
    ]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, the tracker's among them, and the trackers."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'cameras',
                description='namespaces with commas between, each with =TOPIC if its images are '
                'elsewhere than `image` says: front,back=/usb_cam/image_raw',
            ),
            DeclareLaunchArgument(
                'image',
                default_value=IMAGE,
                description="topic of the images; a relative name is in each camera's namespace",
            ),
            DeclareLaunchArgument(
                'processes',
                default_value='each',
                description='each: a process for each camera, for the rate; one: all in one '
                'process with one engine, for memory',
            ),
            *declared_arguments(TRACKER, leave_out=('namespace', 'image', 'cameras')),
            OpaqueFunction(function=start),
        ]
    )
