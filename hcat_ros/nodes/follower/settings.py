# SPDX-License-Identifier: Apache-2.0
"""The parameters of the follower node, and the parameter file of each platform.

`python -m hcat_ros.nodes.follower.settings drone > config/follow_drone.yaml` regenerates a file.
"""

from __future__ import annotations

import math
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

from hcat_ros.following import CONFIG_FIELDS, CameraModel, FollowConfig
from hcat_ros.following.camera import NARROWEST_FOV, WIDEST_FOV
from hcat_ros.following.config import PLATFORMS
from hcat_ros.nodes.manager_bond import BOND
from hcat_ros.nodes.message_bounds import LONGEST_NAME
from hcat_ros.nodes.parameters import Setting
from hcat_ros.tracking.stream import CameraView

FOLLOW_NAMES = tuple(field.name for field in CONFIG_FIELDS)
"""Names of the parameters that are fields of FollowConfig, such as yaw.max_speed."""

NODE_SETTINGS: tuple[Setting, ...] = (
    Setting('autostart', bool, False, 'Configure and activate by itself when the node starts.'),
    BOND,
    Setting(
        'start_on_hold',
        bool,
        False,
        'Stand still from the start until ~/hold is called with false. If it is set to true later, '
        'the platform stands still from the next configure.',
    ),
    Setting(
        'stamped',
        bool,
        True,
        'Type of cmd_vel: true for geometry_msgs/TwistStamped, false for geometry_msgs/Twist.',
    ),
    Setting('rate', float, 30.0, 'Commands per second.', 5, 200, live=True),
    Setting(
        'base_frame',
        str,
        'base_link',
        'Frame of the commands, in the header of cmd_vel.',
        live=True,
        longest=LONGEST_NAME,
    ),
    Setting(
        'camera_frame',
        str,
        '',
        'Frame of target_bearing and target_pose: at the camera, x forward, y left, z up. Empty: '
        "the images' frame, with _optical removed from its name.",
        live=True,
        longest=LONGEST_NAME,
    ),
    Setting(
        'target_frame',
        str,
        '',
        "Name of the target's frame, which is broadcast on /tf as a child of camera_frame while "
        'the range is known. Empty: no broadcast.',
        longest=LONGEST_NAME,
    ),
    Setting(
        'target_frame_parent',
        str,
        '',
        'Frame of target_pose, such as odom or map, transformed by tf2 (needs tf2_ros) at the '
        'stamp of the image; a pose without a transform is refused. Empty: camera_frame.',
        longest=LONGEST_NAME,
    ),
    Setting(
        'tf_timeout',
        float,
        0.2,
        'Seconds that target_pose waits for its transform to target_frame_parent.',
        0,
        5,
    ),
    Setting(
        'camera_pitch',
        float,
        0.0,
        'Angle by which the camera looks down from the platform [rad], negative for up.',
        -1.57,
        1.57,
    ),
    Setting(
        'rectified',
        bool,
        False,
        'Whether the images are rectified: then P of camera_info is used, without distortion.',
    ),
    Setting(
        'horizontal_fov',
        float,
        0.0,
        'Horizontal field of view of the camera [rad], used until a camera_info arrives; 0: wait '
        'for camera_info.',
        0,
        WIDEST_FOV,
        live=True,
        least=NARROWEST_FOV,
    ),
    Setting(
        'image_width',
        int,
        0,
        "Width in pixels of the images that horizontal_fov is for; 0: size of the tracker's "
        'images.',
        0,
        65535,
        live=True,
    ),
    Setting(
        'image_height',
        int,
        0,
        "Height in pixels of the images that horizontal_fov is for; 0: size of the tracker's "
        'images.',
        0,
        65535,
        live=True,
    ),
    Setting(
        'use_imu',
        bool,
        False,
        "Use the platform's rotation rates from the topic `imu` (sensor_msgs/Imu in base_frame) "
        'instead of the commanded rates, for the time that the messages cover.',
    ),
    Setting(
        'depth_transport',
        str,
        'raw',
        'Type of the topic `depth`, for range_mode depth: raw is sensor_msgs/Image, '
        'compressedDepth is what image_transport publishes on depth/compressedDepth.',
        choices=('raw', 'compressedDepth'),
    ),
    Setting(
        'depth_tolerance',
        float,
        0.02,
        "Maximum difference between the stamps of a depth image and the track's image [s].",
        0,
        1,
        live=True,
    ),
    Setting('diagnostics_period', float, 1.0, 'Seconds between diagnostics.', 0.1, 60),
)

FOLLOWER_NAMES = frozenset(
    (*FOLLOW_NAMES, *(setting.name for setting in NODE_SETTINGS), 'platform')
)
"""Names of all parameters of the follower; a parameter file for both nodes may hold them."""


def preset(platform: str) -> FollowConfig:
    """Return the FollowConfig with the presets of a platform."""
    config: FollowConfig = getattr(FollowConfig, platform)()
    return config


def platform_setting() -> Setting:
    """Return the parameter `platform`, whose preset has the defaults of the other parameters."""
    field = next(field for field in CONFIG_FIELDS if field.name == 'platform')
    text = f'{field.description} The other parameters start with the values of its preset.'
    return Setting('platform', str, PLATFORMS[0], text, choices=PLATFORMS)


def settings_for(platform: str) -> tuple[Setting, ...]:
    """Return all parameters except `platform`, with the values of its preset as defaults."""
    defaults = preset(platform).values()
    following = (
        Setting(
            field.name,
            field.type,
            defaults[field.name],
            field.description,
            -math.inf if field.low is None else field.low,
            math.inf if field.high is None else field.high,
            tuple(field.choices),
            live=True,
        )
        for field in CONFIG_FIELDS
        if field.name != 'platform'
    )
    return (*NODE_SETTINGS, *following)


def config_of(values: Mapping[str, Any]) -> FollowConfig:
    """Return the FollowConfig for the values of all parameters. Raises ValueError."""
    return FollowConfig().changed({name: values[name] for name in FOLLOW_NAMES})


def camera_of_fov(values: Mapping[str, Any], view: CameraView | None = None) -> CameraModel | None:
    """Return the camera that the parameters describe, None if they do not suffice yet.

    view: the tracker's images, whose size is used if none is given. Raises ValueError.
    """
    fov, width, height = (values[n] for n in ('horizontal_fov', 'image_width', 'image_height'))
    if not (width and height) and view is not None:
        width, height = view.width, view.height
    if not (fov and width and height):
        return None
    return CameraModel.from_fov(width, height, fov, values['camera_pitch'])


def preset_file(platform: str) -> str:
    """Return the parameter file of a platform: every parameter below its description."""
    lines = textwrap.wrap(
        f'Parameters of the follower node for platform {platform}. Those marked (live) can be '
        'changed while it runs (ros2 param set); the others take effect when it is configured and '
        'activated again.',
        98,
        initial_indent='# ',
        subsequent_indent='# ',
    )
    lines += ['/**:', '  ros__parameters:']
    group = described = ''
    for setting in (platform_setting(), *settings_for(platform)):
        axis, dot, inner = setting.name.rpartition('.')
        if dot and axis != group:
            if described:
                lines.append(
                    f'    # As for {described}{"" if axis == "pitch" else ", in m and m/s"}.'
                )
            lines.append(f'    {axis}:')
        group = axis
        indent = ' ' * (6 if dot else 4)
        if not (dot and described and axis != described):
            comment = f'{indent}# '
            lines += textwrap.wrap(
                _comment(setting, axis), 98, initial_indent=comment, subsequent_indent=comment
            )
            described = described or axis
        value = platform if setting.name == 'platform' else setting.default
        lines.append(f'{indent}{inner}: {_yaml(value)}')
    return '\n'.join(lines) + '\n'


def _comment(setting: Setting, axis: str) -> str:
    text = setting.description
    if axis:
        text = text.removeprefix(f'{axis.capitalize()}: ')  # the heading names the axis
    if setting.kind in (int, float):
        low = f'0, or {setting.least:g}' if setting.least else f'{setting.low:g}'
        text = f'{text.removesuffix(".")} ({low} to {setting.high:g}).'
    return f'(live) {text}' if setting.live else text


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    # repr keeps the decimal point of a float; without it, ROS would read an integer.
    return repr(value) if isinstance(value, (int, float)) else value or "''"


if __name__ == '__main__':
    sys.stdout.write(preset_file(sys.argv[1]))
