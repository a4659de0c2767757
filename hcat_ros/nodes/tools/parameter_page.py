# SPDX-License-Identifier: Apache-2.0
"""Generates docs/parameters.md, the page of all parameters, from the nodes' declarations.

`python -m hcat_ros.nodes.tools.parameter_page > docs/parameters.md` updates it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hcat_ros.markdown import markdown_table
from hcat_ros.nodes.follower import settings as follower_settings
from hcat_ros.nodes.parameters import Setting
from hcat_ros.nodes.tools import (
    camera_sim,
    mavlink_camera,
    select_page,
    target_client,
    video_source,
)
from hcat_ros.nodes.tracker import settings as tracker_settings

HEAD = """# Parameters

This page lists all parameters of all nodes. `python -m hcat_ros.nodes.tools.parameter_page`
generates it from the nodes' declarations.

Live parameters take effect while the node runs (`ros2 param set`). The others take effect when the
node is configured and activated again, or restarted. The parameters of `tracker_node` and
`follower_node` are also launch arguments; `--show-args` does not list those of the axes, such as
`yaw.max_speed`. The parameters of `mavlink_camera` except `tracker`, and those of `camera_sim`
except `init_box` and `subscribers`, are launch arguments too. Launch files set `autostart` to true
by default. A dash means that the parameter is unset: the tracker then takes the model card's value.

Quality of service of each topic can be overridden under its full name:
`qos_overrides./TOPIC.subscription.reliability`, or `depth`, `history`, `durability`.
"""


def parameter_page() -> str:
    """Return the page as Markdown."""
    ground = (follower_settings.platform_setting(), *follower_settings.settings_for('ground'))
    parts = [HEAD, _table('tracker_node', tracker_settings.SETTINGS)]
    text = (
        '\nThe defaults are those of platform `ground`; `config/follow_drone.yaml` and '
        '`config/follow_gimbal.yaml` list those of the other platforms.\n'
    )
    parts.append(_table('follower_node', ground, text))
    for name, module in (
        ('select_page', select_page),
        ('mavlink_camera', mavlink_camera),
        ('video_source', video_source),
        ('camera_sim', camera_sim),
        ('target_client', target_client),
    ):
        parts.append(_table(name, module.SETTINGS))
    return '\n'.join(parts)


def _table(node: str, settings: Sequence[Setting], text: str = '') -> str:
    rows = [
        (
            f'`{setting.name}`',
            _value(setting.default),
            setting.expected,
            'yes' if setting.live else '',
            setting.description,
        )
        for setting in settings
    ]
    table = markdown_table(('parameter', 'default', 'takes', 'live', ''), rows, 'lllll')
    return f'## {node}\n{text}\n{table}\n'


def _value(value: object) -> str:
    if value is None:
        return '-'
    if isinstance(value, bool):
        return f'`{str(value).lower()}`'
    return f'`{value}`' if value != '' else "`''`"


if __name__ == '__main__':
    sys.stdout.write(parameter_page())
