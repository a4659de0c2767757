# SPDX-License-Identifier: Apache-2.0
"""Runs several nodes of this package in one process, on one thread.

The nodes share one interpreter, which saves memory, and images do not cross processes. All nodes
wait while one of them is busy, for example with inference.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module

from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from hcat_ros.nodes.lifecycle import run_nodes

NODES = {
    'tracker': ('hcat_ros.nodes.tracker.node', 'TrackerNode'),
    'follower': ('hcat_ros.nodes.follower.node', 'FollowerNode'),
    'video_source': ('hcat_ros.nodes.tools.video_source', 'VideoSource'),
    'camera_sim': ('hcat_ros.nodes.tools.camera_sim', 'CameraSim'),
    'select_page': ('hcat_ros.nodes.tools.select_page', 'SelectPage'),
}
"""Module and class of each node, by its name on the command line."""


def make_nodes(names: Iterable[str]) -> Iterator[Node]:
    """Create the node of each name, one after the other."""
    for name in names:
        module, kind = NODES[name]
        yield getattr(import_module(module), kind)()


def main(args: Sequence[str] | None = None) -> int:
    """Run the nodes, the executable `composed`. Returns 1 if one of them cannot be created."""
    words = list(sys.argv if args is None else args)
    parser = argparse.ArgumentParser(prog='composed', description=__doc__)
    parser.add_argument('nodes', nargs='+', choices=NODES, metavar='NODE', help=', '.join(NODES))
    names = list(dict.fromkeys(parser.parse_args(remove_ros_args(words)[1:]).nodes))
    return run_nodes(lambda: make_nodes(names), words)


if __name__ == '__main__':
    sys.exit(main())
