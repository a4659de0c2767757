# SPDX-License-Identifier: Apache-2.0
"""Runs trackers for several cameras in one process with one shared engine, which saves memory.

The trackers take turns in one thread. If the frame rate matters more than memory, start one process
per camera instead.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from weakref import WeakValueDictionary

from rclpy.utilities import remove_ros_args

from hcat_ros.engines import Engine, load_engine
from hcat_ros.models import Model
from hcat_ros.nodes.lifecycle import run_nodes
from hcat_ros.nodes.tracker.node import TrackerNode


class SharedEngines:
    """Loads engines as `load_engine` does, but shares an engine while it is in use.

    All nodes must be spun by one thread, because an engine runs one call at a time.
    """

    def __init__(self) -> None:
        self._engines: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def __call__(self, model: Model, **options: Any) -> Engine:
        """Return the engine for these options and a model with these files."""
        key = repr((model.folder, sorted(model.card.sha256.items()), sorted(options.items())))
        engine = self._engines.get(key)
        if engine is None:
            engine = self._engines[key] = load_engine(model, **options)
        return engine


def tracker_nodes(cameras: Iterable[str]) -> Iterator[TrackerNode]:
    """Yield a tracker for each camera, given as 'NAMESPACE' or 'NAMESPACE=IMAGE_TOPIC'."""
    load = SharedEngines()
    for camera in cameras:
        namespace, _, topic = camera.partition('=')
        remap = ['--ros-args', '-r', f'image:={topic}'] if topic else []
        yield TrackerNode(load=load, namespace=namespace, cli_args=remap)


def main(args: Sequence[str] | None = None) -> int:
    """Run the nodes, the executable `tracker_nodes`."""
    words = list(sys.argv if args is None else args)
    parser = argparse.ArgumentParser(prog='tracker_nodes', description=__doc__)
    parser.add_argument(
        'cameras', nargs='+', metavar='NAMESPACE[=TOPIC]', help='front back=/usb_cam/image_raw'
    )
    cameras = parser.parse_args(remove_ros_args(words)[1:]).cameras
    return run_nodes(lambda: tracker_nodes(cameras), words)


if __name__ == '__main__':
    sys.exit(main())
