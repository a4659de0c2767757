# SPDX-License-Identifier: Apache-2.0
"""What the executables run: signals are looked after before anything else is imported.

Importing ROS and OpenCV takes a second, in which Ctrl-C would end in a traceback.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
from importlib import import_module
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)  # nothing has been made yet that would have to be cleaned up


def _run_node(module: str) -> int:
    """Run the node of a module to its end, and that of the process.

    Nodes are destroyed and ROS is shut down by then. What is left to Python and to libraries, their
    threads and static objects, has hung and crashed there now and then: it is not waited for.
    """
    # Where a library crashes, the log shows where the node was.
    faulthandler.enable()
    code = _run(module)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # whoever read it is gone
            stream.flush()
    os._exit(code)


def _run(module: str) -> int:
    for number in SIGNALS:
        # Ignored from the start is how nohup has it.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    code: int = import_module(module).main()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # while Python itself ends
    return code


def hcat() -> int:
    """Run the command `hcat`."""
    return _run('hcat_ros.commands.main')


def camera_sim() -> int:
    """Run the simulated camera."""
    return _run_node('hcat_ros.nodes.tools.camera_sim')


def composed() -> int:
    """Run several nodes in one process."""
    return _run_node('hcat_ros.nodes.tools.composed')


def follower_node() -> int:
    """Run the follower."""
    return _run_node('hcat_ros.nodes.follower.node')


def mavlink_camera() -> int:
    """Run the tracker's MAVLink camera."""
    return _run_node('hcat_ros.nodes.tools.mavlink_camera')


def select_page() -> int:
    """Run the operator's page."""
    return _run_node('hcat_ros.nodes.tools.select_page')


def target_client() -> int:
    """Run the client that names a target; `hcat target` becomes it."""
    return _run_node('hcat_ros.nodes.tools.target_client')


def tracker_node() -> int:
    """Run the tracker."""
    return _run_node('hcat_ros.nodes.tracker.node')


def tracker_nodes() -> int:
    """Run the trackers of several cameras."""
    return _run_node('hcat_ros.nodes.tracker.several')


def video_source() -> int:
    """Run the source of images from a video."""
    return _run_node('hcat_ros.nodes.tools.video_source')


if __name__ == '__main__':
    # As `python -m hcat_ros.executables select_page ...`, for commands that become a node.
    sys.exit(globals()[sys.argv.pop(1)]())
