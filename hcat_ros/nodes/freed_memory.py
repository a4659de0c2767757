# SPDX-License-Identifier: Apache-2.0
"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes


def return_freed_memory() -> bool:
    """Give the system the pages that this process has freed but kept. Tells whether any went.

    glibc keeps what is freed for the next allocation, and loading a model frees several
    megabytes (the files' bytes, graphs before they are optimised) that nothing needs again.
    Does nothing with a C library that has no `malloc_trim`, as musl or macOS's.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    return bool(trim(ctypes.c_size_t(0)))
