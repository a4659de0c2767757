# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ctypes
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from hcat_ros.nodes.freed_memory import return_freed_memory

KEEP_AND_FREE = """
from pathlib import Path
from hcat_ros.nodes.freed_memory import return_freed_memory

def resident():
    line = Path('/proc/self/status').read_text().split('RssAnon:')[1]
    return int(line.split()[0])

kept = [bytearray(4096) for _ in range(20_000)]
last = bytearray(4096)  # above the others: without it they go back by themselves
del kept
before = resident()
return_freed_memory()
print(before - resident())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'malloc_trim'), reason='not glibc')
def test_freed_memory_is_returned_to_the_system() -> None:
    # In a separate process, because allocations of other threads would be counted too.
    command = [sys.executable, '-c', KEEP_AND_FREE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) > 60_000, 'kB of the 80,000 that were freed'


def test_nothing_is_done_without_malloc_trim(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_trim(name: str | None) -> Any:
        return object()

    monkeypatch.setattr(ctypes, 'CDLL', without_trim)
    assert not return_freed_memory()
