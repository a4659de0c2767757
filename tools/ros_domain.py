# SPDX-License-Identifier: Apache-2.0
"""A ROS domain that no other demo, benchmark or test on this machine is in."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

DOMAINS = range(1, 102)
"""Those whose ports belong to no other programs on Linux."""
_RANDOM = random.SystemRandom()  # another's seed must not lead two processes the same way


@contextlib.contextmanager
def own_domain() -> Iterator[int]:
    """Yield the number of a domain that is held until the end, also by a process that is killed."""
    folder = Path(tempfile.gettempdir()) / f'ros_domains_of_{os.getuid()}'
    folder.mkdir(exist_ok=True)
    while True:
        for number in _RANDOM.sample(DOMAINS, len(DOMAINS)):
            descriptor = os.open(folder / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield number
                return
            except BlockingIOError:
                continue
            finally:
                os.close(descriptor)
        time.sleep(0.5)  # all are taken


def take_domain() -> None:
    """Put this process, and those that it starts, into such a domain, until the next call."""
    _HELD.close()
    os.environ['ROS_DOMAIN_ID'] = str(_HELD.enter_context(own_domain()))
    os.environ.update(stay_on_this_machine())


def stay_on_this_machine() -> dict[str, str]:
    """Return the environment variable that keeps nodes from discovering those of others."""
    if os.environ.get('ROS_DISTRO') == 'humble':
        return {'ROS_LOCALHOST_ONLY': '1'}
    return {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}


_HELD = contextlib.ExitStack()
