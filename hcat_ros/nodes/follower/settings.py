# SPDX-License-Identifier: Apache-2.0
"""The parameters of the follower node, and the preset files that list them.

`python -m hcat_ros.nodes.follower.settings drone > config/follow_drone.yaml` writes one anew.
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
"""Parameters that are FollowConfig's, by dotted name."""

NODE_SETTINGS: tuple[Setting, ...] = (
    Setting('autostart', bool, False, 'Configure and activate by itself when the node starts.'),
    BOND,
    Setting(
        'start_on_hold',
        bool,
        False,
        'Stand still from the start until ~/hold is called with false; once set to true, also from '
        'the next configure.',
    ),
    Setting(
        'stamped',
        bool,
        True,
        'Type of cmd_vel: true for geometry_msgs/TwistStamped, false for geometry_msgs/Twist.',
    ),
    Setting('rate', float, 30.0, 'Commands a second.', 5, 200, live=True),
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
        'that of the images without its _optical.',
        live=True,
        longest=LONGEST_NAME,
    ),
    Setting(
        'target_frame',
        str,
        '',
        "Name under which the target is broadcast on /tf, as a child of the camera's frame with x "
        'forward, while its range is known. Empty: not at all.',
        longest=LONGEST_NAME,
    ),
    Setting(
        'target_frame_parent',
        str,
        '',
        'Frame, as odom or map, that target_pose is in, by tf2 (which needs tf2_ros) at the stamp '
        "of the image; a pose without a transform is refused. Empty: the camera's.",
        longest=LONGEST_NAME,
    ),
    Setting(
        'tf_timeout',
        float,
        0.2,
        'Seconds that target_pose waits for its transform, with target_frame_parent.',
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
        "The images are rectified: camera_info's P holds, and no distortion.",
    ),
    Setting(
        'horizontal_fov',
        float,
        0.0,
        'Field of view of the camera from side to side [rad], used until a camera_info comes; 0: '
        'wait for one.',
        0,
        WIDEST_FOV,
        live=True,
        least=NARROWEST_FOV,
    ),
    Setting(
        'image_width',
        int,
        0,
        "Width of the images that horizontal_fov is of, pixels; 0: the tracker's images.",
        0,
        65535,
        live=True,
    ),
    Setting(
        'image_height',
        int,
        0,
        "Height of the images that horizontal_fov is of, pixels; 0: the tracker's images.",
        0,
        65535,
        live=True,
    ),
    Setting(
        'use_imu',
        bool,
        False,
        "Take the platform's turning from the topic `imu` (sensor_msgs/Imu in base_frame) in place "
        'of what was commanded, for the time that it covers.',
    ),
    Setting(
        'depth_transport',
        str,
        'raw',
        'Messages of the topic `depth`, for range_mode depth: raw is sensor_msgs/Image, '
        'compressedDepth is what image_transport publishes as depth/compressedDepth.',
        choices=('raw', 'compressedDepth'),
    ),
    Setting(
        'depth_tolerance',
        float,
        0.02,
        "Seconds by which a depth image may miss the stamp of the track's image.",
        0,
        1,
        live=True,
    ),
    Setting('diagnostics_period', float, 1.0, 'Seconds between diagnostics.', 0.1, 60),
)

FOLLOWER_NAMES = frozenset(
    (*FOLLOW_NAMES, *(setting.name for setting in NODE_SETTINGS), 'platform')
)
"""All parameters of the follower: files for both nodes may have them."""


def preset(platform: str) -> FollowConfig:
    """Return what FollowConfig has for a platform."""
    made: FollowConfig = getattr(FollowConfig, platform)()
    return made


def platform_setting() -> Setting:
    """Return the parameter that says what is driven, and so which values the others start from."""
    field = next(field for field in CONFIG_FIELDS if field.name == 'platform')
    text = f'{field.description} At the start, what is not given is as its preset has it.'
    return Setting('platform', str, PLATFORMS[0], text, choices=PLATFORMS)


def settings_for(platform: str) -> tuple[Setting, ...]:
    """Return all parameters but `platform`, with the values of its preset as defaults."""
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
    """Return the values of all parameters as a configuration. Raises ValueError."""
    return FollowConfig().changed({name: values[name] for name in FOLLOW_NAMES})


def camera_of_fov(values: Mapping[str, Any], view: CameraView | None = None) -> CameraModel | None:
    """Return the camera that the parameters describe, None if that is not known yet.

    view: the tracker's images, whose size counts where no size is given. Raises ValueError.
    """
    fov, width, height = (values[n] for n in ('horizontal_fov', 'image_width', 'image_height'))
    if not (width and height) and view is not None:
        width, height = view.width, view.height
    if not (fov and width and height):
        return None
    return CameraModel.from_fov(width, height, fov, values['camera_pitch'])


def preset_file(platform: str) -> str:
    """Return the parameter file of a platform: every parameter under what it is for."""
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
        text = text.removeprefix(f'{axis.capitalize()}: ')  # it stands above
    if setting.kind in (int, float):
        low = f'0, or {setting.least:g}' if setting.least else f'{setting.low:g}'
        text = f'{text.removesuffix(".")} ({low} to {setting.high:g}).'
    return f'(live) {text}' if setting.live else text


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    # A whole number would make an integer parameter of it.
    return repr(value) if isinstance(value, (int, float)) else value or "''"


if __name__ == '__main__':
    sys.stdout.write(preset_file(sys.argv[1]))
