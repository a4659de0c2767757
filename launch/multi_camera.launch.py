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
    """Return the image topic of each namespace in `cameras`: 'NAME' or 'NAME=TOPIC', with commas.

    image: topic of the cameras without one. Raises ValueError for a missing or repeated name.
    """
    found: dict[str, str] = {}
    for word in cameras.split(','):
        name, _, topic = (part.strip() for part in word.partition('='))
        if not name.strip('/') or name in found:
            reason = f"'{name}' appears twice" if name in found else 'a name is missing'
            raise ValueError(
                f"launch argument cameras:='{cameras}': {reason}; expected namespaces, each with "
                '=TOPIC if its image topic differs: front,back=/usb_cam/image_raw'
            )
        found[name] = topic or image
    return found


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Include the tracker's launch file once for each process, with the cameras' own arguments."""
    values = context.launch_configurations
    image = values['image']
    if image.startswith('/') and inherited(context, ('image',)):
        get_logger('hcat_ros').warning(
            f'image:={image} was for the tracker that was included before: using {IMAGE} in the '
            "namespace of each camera; set other topics with cameras:='front=/topic'"
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
                description='namespaces separated by commas, each with =TOPIC if its image topic '
                'is not `image`: front,back=/usb_cam/image_raw',
            ),
            DeclareLaunchArgument(
                'image',
                default_value=IMAGE,
                description="topic of the images; a relative name is in each camera's namespace",
            ),
            DeclareLaunchArgument(
                'processes',
                default_value='each',
                description='each: one process per camera, for speed; one: all cameras in one '
                'process with one engine, to save memory',
            ),
            *declared_arguments(TRACKER, leave_out=('namespace', 'image', 'cameras')),
            OpaqueFunction(function=start),
        ]
    )
