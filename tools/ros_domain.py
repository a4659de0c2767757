# SPDX-License-Identifier: Apache-2.0
"""A ROS domain that no other demo, benchmark or test on this machine is in."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import socket
import time
from collections.abc import Iterator

DOMAINS = range(1, 102)
"""Those whose ports belong to no other programs on Linux."""
_RANDOM = random.SystemRandom()  # another's seed must not lead two processes the same way


@contextlib.contextmanager
def own_domain() -> Iterator[int]:
    """Yield the number of a domain that no other caller of this function has until the end.

    An abstract Unix socket named after the domain reserves it. The kernel frees the name when the
    process ends, also if it is killed, and like the domain's ports the name is shared by all users
    of a network namespace.
    """
    while True:
        for number in _RANDOM.sample(DOMAINS, len(DOMAINS)):
            with socket.socket(socket.AF_UNIX) as name:
                try:
                    name.bind(f'\0ros_domain_{number}')
                except OSError as error:
                    if error.errno != errno.EADDRINUSE:
                        raise
                    continue
                yield number
                return
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
