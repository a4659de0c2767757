# SPDX-License-Identifier: Apache-2.0
"""Serve a web page with the live picture, on which an operator drags a box around the target."""

from __future__ import annotations

import argparse

from hcat_ros.commands.node_process import become_node, check_modules, node_arguments

NEEDED = {
    'aiohttp': "aiohttp is missing: apt install python3-aiohttp, or pip install 'aiohttp>=3.8'",
}
"""Required modules, and the message if one is missing."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('--image', default='image', help='topic of the images')
    parser.add_argument('--compressed', action='store_true', help='the images are compressed')
    parser.add_argument('--tracker', default='hcat_tracker', help='name of the tracker node')
    parser.add_argument('--namespace', default='', help='ROS namespace of the tracker')
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to serve on. An address for other machines (0.0.0.0: every interface) needs '
        'a token: set the environment variable HCAT_SELECT_TOKEN, or one is generated and printed',
    )
    parser.add_argument('--port', type=int, default=8321, help='TCP port, 0 for any free one')
    parser.add_argument('--max-width', type=int, default=960, help='largest picture width, pixels')
    parser.add_argument('--jpeg-quality', type=int, default=70, help='picture quality, 1 to 100')
    parser.add_argument('--rate', type=float, default=15.0, help='maximum pictures per second')


def run(arguments: argparse.Namespace) -> None:
    """Become the node `select_page`. Raises RuntimeError if ROS or aiohttp is missing."""
    check_modules(NEEDED)
    become_node('select_page', ros_arguments(arguments))


def ros_arguments(arguments: argparse.Namespace) -> list[str]:
    """Return the node's arguments: its parameters and remappings."""
    parameters = {
        'tracker': arguments.tracker,
        'image_transport': 'compressed' if arguments.compressed else 'raw',
        'host': arguments.host,
        'port': arguments.port,
        'max_width': arguments.max_width,
        'jpeg_quality': arguments.jpeg_quality,
        'rate': arguments.rate,
    }
    words = node_arguments(parameters, arguments.namespace)
    if arguments.image != 'image':
        words += ['-r', f'image:={arguments.image}']
    return words
