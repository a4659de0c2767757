# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import ros_domain

HOLD = """
import sys, ros_domain
ros_domain.DOMAINS = [int(word) for word in sys.argv[1:]]
with ros_domain.own_domain() as number:
    print(number, flush=True)
    sys.stdin.read()
"""
TWO = (900_001, 900_002)
"""Numbers of no real domain, so that nobody else on this machine holds one."""


def test_each_process_has_its_own_domain_until_it_ends_or_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ros_domain, 'DOMAINS', TWO)
    command = [sys.executable, '-c', HOLD, *map(str, TWO)]
    environment = {'PYTHONPATH': str(Path(ros_domain.__file__).parent), 'TMPDIR': str(tmp_path)}
    pipes = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'text': True}
    with subprocess.Popen(command, env=environment, **pipes) as other:  # type: ignore[call-overload]
        theirs = int(other.stdout.readline())
        for _ in range(10):
            with ros_domain.own_domain() as ours:
                assert {ours, theirs} == set(TWO)
        other.kill()
    with ros_domain.own_domain() as first, ros_domain.own_domain() as second:
        assert {first, second} == set(TWO)


def test_an_error_other_than_a_domain_in_use_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such an error was once taken for a domain in use, and the search never ended."""
    monkeypatch.setattr(ros_domain, 'DOMAINS', [10**200])
    with pytest.raises(OSError, match='too long'), ros_domain.own_domain():
        pass
