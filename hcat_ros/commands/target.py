# SPDX-License-Identifier: Apache-2.0
"""Name, select or drop a target of a running tracker from a shell, and print the outcome."""

from __future__ import annotations

import argparse
import math

from hcat_ros.commands.node_process import become_node, check_modules, node_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument(
        'box',
        nargs='*',
        type=float,
        metavar='X Y W H',
        help='box of the target in the newest image: left, top, width, height in pixels',
    )
    parser.add_argument('--reset', action='store_true', help='drop all targets')
    parser.add_argument('--primary', default='', metavar='ID', help='make a target the primary one')
    parser.add_argument('--drop', default='', metavar='ID', help='drop one of several targets')
    parser.add_argument('--class', dest='class_id', default='', help='class id of the tracks')
    parser.add_argument('--tracker', default='hcat_tracker', help='name of the tracker node')
    parser.add_argument('--namespace', default='', help='ROS namespace of the tracker')
    parser.add_argument(
        '--timeout', type=float, default=10.0, help='maximum seconds to wait for the tracker'
    )


def run(arguments: argparse.Namespace) -> None:
    """Become the node `target_client`. Raises ValueError for an invalid box."""
    box = arguments.box
    if sum(map(bool, (box, arguments.reset, arguments.primary, arguments.drop))) != 1:
        raise ValueError('expected exactly one of: a box X Y W H, --reset, --primary ID, --drop ID')
    if box and (len(box) != 4 or not all(map(math.isfinite, box))):
        given = ' '.join(f'{value:g}' for value in box)
        raise ValueError(f'box {given}: expected four numbers, X Y W H')
    check_modules({})
    parameters = {
        'tracker': arguments.tracker,
        'class_id': arguments.class_id,
        'timeout': arguments.timeout,
        'reset': arguments.reset,
        'primary': arguments.primary,
        'drop': arguments.drop,
        **({'box': box} if box else {}),
    }
    become_node('target_client', node_arguments(parameters, arguments.namespace))
