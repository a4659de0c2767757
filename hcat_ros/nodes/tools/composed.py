# SPDX-License-Identifier: Apache-2.0
"""Several nodes of this package in one process, which take turns in one thread.

One interpreter and one engine in place of one each: less memory, and no image goes from process to
process. Inference holds the other nodes up for as long as it takes.
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
"""Module and class of each, by its name on the command line."""


def make_nodes(names: Iterable[str]) -> Iterator[Node]:
    """Yield a node of each name."""
    for name in names:
        module, kind = NODES[name]
        yield getattr(import_module(module), kind)()


def main(args: Sequence[str] | None = None) -> int:
    """Run the nodes, the executable `composed`. Returns 1 if one of them cannot be made."""
    words = list(sys.argv if args is None else args)
    parser = argparse.ArgumentParser(prog='composed', description=__doc__)
    parser.add_argument('nodes', nargs='+', choices=NODES, metavar='NODE', help=', '.join(NODES))
    names = list(dict.fromkeys(parser.parse_args(remove_ros_args(words)[1:]).nodes))
    return run_nodes(lambda: make_nodes(names), words)


if __name__ == '__main__':
    sys.exit(main())
