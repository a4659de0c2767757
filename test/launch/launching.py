# SPDX-License-Identifier: Apache-2.0
"""A running `ros2 launch`, and questions to the nodes that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node

PATIENCE = 60.0
"""Seconds for anything to happen; a busy machine is slow."""


def grainy(picture: np.ndarray, number: int) -> np.ndarray:
    """The picture with a sensor's noise, different for each number."""
    noise = np.random.default_rng(number).integers(0, 3, picture.shape, np.uint8)
    return np.asarray(np.minimum(picture, 252) + noise, np.uint8)


class Launch:
    """A running `ros2 launch` in a process group of its own, and its output."""

    def __init__(self, log: Path, *words: str) -> None:
        self.log_file = log
        with log.open('w') as output:
            self.process = subprocess.Popen(
                ['ros2', 'launch', 'hcat_ros', *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """Output of the launch and its nodes so far."""
        return self.log_file.read_text()

    def interrupt(self) -> None:
        """Do what Ctrl-C in a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> int:
        """Wait for its end and return the exit code."""
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it and its nodes, whatever they do."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def call(node: Node, service: Any, name: str, request: Any) -> Any:
    """Call a service, None if it does not answer within a second."""
    client = node.create_client(service, name)
    try:
        if not client.wait_for_service(timeout_sec=1.0):
            return None
        future = client.call_async(request)
        rclpy.spin_until_future_complete(node, future, timeout_sec=1.0)
        return future.result()
    finally:
        node.destroy_client(client)


def wait_for_state(node: Node, tracker: str, state: str, running: Launch) -> None:
    """Wait until the tracker is in that lifecycle state."""
    label = 'no answer'
    deadline = time.monotonic() + PATIENCE
    while label != state and time.monotonic() < deadline and running.process.poll() is None:
        answer = call(node, GetState, f'{tracker}/get_state', GetState.Request())
        label = answer.current_state.label if answer else 'no answer'
    assert label == state, running.log


def parameters(node: Node, tracker: str, *names: str) -> list[Any]:
    """Return parameters as rcl_interfaces/ParameterValue."""
    answer = None
    deadline = time.monotonic() + PATIENCE
    while answer is None and time.monotonic() < deadline:
        request = GetParameters.Request(names=names)
        answer = call(node, GetParameters, f'{tracker}/get_parameters', request)
    return list(answer.values) if answer else []


def fast_dds_profile(running: Launch, executable: str) -> str:
    """Return the path of the profile that a node was started with, empty if none."""
    pid = running.log.split(f'[{executable}')[1].split('pid [')[1].split(']')[0]
    environment = Path(f'/proc/{pid}/environ').read_bytes().decode().split('\0')
    name = 'FASTRTPS_DEFAULT_PROFILES_FILE='
    return next((line[len(name) :] for line in environment if line.startswith(name)), '')
