# SPDX-License-Identifier: Apache-2.0
"""Start the tracker node. `ros2 launch hcat_ros tracker.launch.py --show-args` lists arguments."""

import os
from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch_ros.actions import Node

CONFIG = Path(get_package_share_directory('hcat_ros')) / 'config'
FAST_DDS_PROFILE = 'FASTRTPS_DEFAULT_PROFILES_FILE'
LOG_LEVELS = ('debug', 'info', 'warn', 'error', 'fatal')

# Parameters of the node that are launch arguments too. Empty: as params_file says.
NODE_ARGUMENTS = {
    'engine': (str, 'inference runtime: auto or one that hcat doctor lists'),
    'model': (str, 'name or folder of the model'),
    'precision': (str, 'auto, fp32, fp16, bf16 or int8, as far as the engine has it'),
    'window_penalty': (float, "0 to 1: how much large jumps are held back; the model's own"),
    'image_transport': (str, 'raw or compressed'),
    'init_box': (list, "target in the first frame, pixels: '[x, y, w, h]'; later: topic init_box"),
}


def arguments() -> list[DeclareLaunchArgument]:
    """Return the launch arguments with their descriptions."""
    declared = [
        DeclareLaunchArgument(
            name, default_value='', description=f'{text} (empty: as params_file says)'
        )
        for name, (_, text) in NODE_ARGUMENTS.items()
    ]
    for name, default, text in (
        ('image', 'image', 'topic of the images; with compressed, /compressed is appended'),
        ('params_file', str(CONFIG / 'tracker.yaml'), 'parameters of the node'),
        ('namespace', '', 'namespace of the node and its topics'),
        ('autostart', 'true', 'configure and activate the node: true or false'),
        ('log_level', 'info', ', '.join(LOG_LEVELS)),
    ):
        declared.append(DeclareLaunchArgument(name, default_value=default, description=text))
    return declared


def typed(name: str, text: str, kind: type) -> object:
    """Return an argument's text as a value of its type, `1` as 1.0 where a number is due.

    Raises ValueError naming the argument, its value and what is expected.
    """
    if kind is str:
        return text
    expected = {bool: 'true or false', float: 'a number', list: "'[x, y, w, h]'"}[kind]
    try:
        # Brackets may be left out: init_box:=10,20,30,40
        as_list = kind is list and not text.lstrip().startswith('[')
        value = yaml.safe_load(f'[{text}]' if as_list else text)
        if kind is list:
            return [float(item) for item in value]
        if kind is bool and isinstance(value, bool):
            return value
        if kind is float and not isinstance(value, bool):
            return float(value)
    except (yaml.YAMLError, TypeError, ValueError):
        pass
    raise ValueError(f"launch argument {name}:='{text}': expected {expected}")


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Make the node from the arguments' values."""
    values = context.launch_configurations
    given: dict[str, object] = {
        'autostart': typed('autostart', values['autostart'], bool),
    }
    for name, (kind, _) in NODE_ARGUMENTS.items():
        if values[name]:
            given[name] = typed(name, values[name], kind)
    if not Path(values['params_file']).is_file():
        raise ValueError(f'launch argument params_file: no file {values["params_file"]}')
    if values['log_level'].lower() not in LOG_LEVELS:
        raise ValueError(
            f"launch argument log_level:='{values['log_level']}': expected one of "
            f'{", ".join(LOG_LEVELS)}'
        )
    entities: list[LaunchDescriptionEntity] = []
    fast_dds = 'fastrtps' in (os.environ.get('RMW_IMPLEMENTATION') or 'rmw_fastrtps_cpp')
    if fast_dds and FAST_DDS_PROFILE not in os.environ:
        profile = str(CONFIG / 'fastdds_large_images.xml')
        entities.append(SetEnvironmentVariable(FAST_DDS_PROFILE, profile))
    entities.append(
        Node(
            package='hcat_ros',
            executable='tracker_node',
            name='hcat_tracker',
            namespace=values['namespace'],
            parameters=[values['params_file'], given],
            remappings=[('image', values['image'])],
            arguments=['--ros-args', '--log-level', values['log_level']],
            output='screen',
        )
    )
    return entities


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=start)])
