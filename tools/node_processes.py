# SPDX-License-Identifier: Apache-2.0
"""Starts nodes in their own processes, and ends all of them after a demo or a measurement."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

PATIENCE = 10.0
"""Time in which a node must end before it is killed, s."""


class NodeProcesses(list[subprocess.Popen[bytes]]):
    """Processes of the started nodes."""

    def start(
        self, module: str, parameters: Mapping[str, Any], *words: str, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start a node by the name of its executable.

        words: additional ROS arguments. options: arguments of Popen.
        """
        given = [word for item in parameters.items() for word in ('-p', '{}:={}'.format(*item))]
        command = [sys.executable, '-m', 'hcat_ros.executables', module, '--ros-args']
        self.append(subprocess.Popen([*command, *words, *given], **options))
        return self[-1]

    def end(self) -> None:
        """End all nodes with SIGINT, and kill those that do not end in time."""
        for process in self:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
