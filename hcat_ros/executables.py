# SPDX-License-Identifier: Apache-2.0
"""Entry points of the executables. Signal handlers are set before the main imports.

Importing ROS and OpenCV takes a second; without a handler, Ctrl-C would print a traceback then.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INCOMPLETE = 3
"""Exit code of a command or a node that left out parts of its input."""


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)  # nothing exists yet that needs cleaning up


class _Lossy(io.FileIO):
    """A file whose writes never fail: what a full disk or a closed pipe does not take is lost."""

    def write(self, data: Any) -> int:
        """Write data, return its length."""
        with contextlib.suppress(OSError):
            return super().write(data)
        return len(data)


def _prepare_streams() -> None:
    """Replace closed standard streams, and let no error on stderr cost the results of a run."""
    for name, mode in (('stdin', 'r'), ('stdout', 'w'), ('stderr', 'w')):
        # Otherwise the next opened file gets the descriptor of the closed stream, and the warnings
        # of C libraries are written into that file.
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding='utf-8'))  # noqa: SIM115
    file = io.BufferedWriter(_Lossy(sys.stderr.fileno(), 'w', closefd=False))
    sys.stderr = io.TextIOWrapper(file, sys.stderr.encoding, sys.stderr.errors, line_buffering=True)


def _run_node(module: str) -> int:
    """Run the node of a module, then end the process without Python's own shutdown.

    When the node ends, it is destroyed and ROS is shut down. Python's shutdown is skipped, because
    threads and static objects of libraries have occasionally hung or crashed in it.
    """
    _prepare_streams()
    # If a library crashes, the log then shows what the node was doing.
    faulthandler.enable()
    code = _run(module)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the reader of the stream is gone
            stream.flush()
    os._exit(code)


def _run(module: str) -> int:
    for number in SIGNALS:
        # nohup starts a process with SIGHUP ignored; it stays ignored.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    code: int = import_module(module).main()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # during Python's shutdown
    return code


def hcat() -> int:
    """Run the command `hcat`."""
    _prepare_streams()
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
    """Run the client that names a target; `hcat target` starts it."""
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
    # Commands that become a node use `python -m hcat_ros.executables select_page ...`.
    sys.exit(globals()[sys.argv.pop(1)]())
