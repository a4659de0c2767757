# SPDX-License-Identifier: Apache-2.0
"""The page of all parameters, docs/parameters.md, from the declarations of the nodes.

`python -m hcat_ros.nodes.tools.parameter_page > docs/parameters.md` writes it anew.
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

All parameters of all nodes, written by `python -m hcat_ros.nodes.tools.parameter_page` from their
declarations. Live ones take effect while the node runs (`ros2 param set`), the others when it is
configured and activated again, or started. Those of `tracker_node` and `follower_node` are launch
arguments too (those of the axes, as `yaw.max_speed`, are taken but not listed by `--show-args`),
and so are those of `mavlink_camera` but for `tracker`, and of `camera_sim` but for `init_box` and
`subscribers`; launch files set `autostart` unless told otherwise. A dash is a value that comes from
elsewhere unless it is given: of the tracker, from the model's card.

Quality of service of each topic can be overridden under its full name:
`qos_overrides./TOPIC.subscription.reliability`, or `depth`, `history`, `durability`.
"""


def parameter_page() -> str:
    """Return the page as Markdown."""
    ground = (follower_settings.platform_setting(), *follower_settings.settings_for('ground'))
    parts = [HEAD, _table('tracker_node', tracker_settings.SETTINGS)]
    text = (
        '\nDefaults of platform `ground`; `config/follow_drone.yaml` and '
        '`config/follow_gimbal.yaml` have those of the others.\n'
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
