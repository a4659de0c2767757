# SPDX-License-Identifier: Apache-2.0
"""Returns freed memory to the operating system."""

from __future__ import annotations

import ctypes


def return_freed_memory() -> bool:
    """Return freed memory to the operating system; return whether there was any.

    glibc keeps freed memory for later allocations, and loading a model frees several megabytes
    (the files' bytes, graphs before they are optimised) that are not needed again.
    Does nothing with a C library without `malloc_trim`, such as musl or that of macOS.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    return bool(trim(ctypes.c_size_t(0)))
