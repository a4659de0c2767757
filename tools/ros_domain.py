# SPDX-License-Identifier: Apache-2.0
"""Reserves a ROS domain that no other demo, benchmark or test on this machine uses."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import socket
import time
from collections.abc import Iterator

DOMAINS = range(1, 102)
"""Domains whose ports no other programs use on Linux."""
_RANDOM = random.SystemRandom()  # independent of seeds, so that two processes choose differently


@contextlib.contextmanager
def own_domain() -> Iterator[int]:
    """Yield the number of a domain that no other caller of this function uses meanwhile.

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
        time.sleep(0.5)  # all domains are taken


def take_domain() -> None:
    """Move this process and its child processes into a reserved domain, until the next call."""
    _HELD.close()
    os.environ['ROS_DOMAIN_ID'] = str(_HELD.enter_context(own_domain()))
    os.environ.update(stay_on_this_machine())


def stay_on_this_machine() -> dict[str, str]:
    """Return the environment variable that limits discovery to nodes on this machine."""
    if os.environ.get('ROS_DISTRO') == 'humble':
        return {'ROS_LOCALHOST_ONLY': '1'}
    return {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}


_HELD = contextlib.ExitStack()
