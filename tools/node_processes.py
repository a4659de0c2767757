# SPDX-License-Identifier: Apache-2.0
"""Nodes as processes of their own, all ended when a demo or a measurement is done."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

PATIENCE = 10.0
"""Seconds in which a node has to end."""


class NodeProcesses(list[subprocess.Popen[bytes]]):
    """The processes that were started."""

    def start(
        self, module: str, parameters: Mapping[str, Any], *words: str, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start a node by the name of its executable.

        words: more arguments of ROS; options: of Popen.
        """
        given = [word for item in parameters.items() for word in ('-p', '{}:={}'.format(*item))]
        command = [sys.executable, '-m', 'hcat_ros.executables', module, '--ros-args']
        self.append(subprocess.Popen([*command, *words, *given], **options))
        return self[-1]

    def end(self) -> None:
        """End all in order, those that do not by force."""
        for process in self:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
