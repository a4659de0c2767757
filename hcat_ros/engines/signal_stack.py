# SPDX-License-Identifier: Apache-2.0
"""Restores a thread's alternate signal stack after a library has replaced it."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator


class _Stack(ctypes.Structure):
    """The C struct stack_t of signal.h."""

    _fields_ = [('sp', ctypes.c_void_p), ('flags', ctypes.c_int), ('size', ctypes.c_size_t)]


@contextlib.contextmanager
def keep_signal_stack() -> Iterator[None]:
    """Restore the calling thread's alternate signal stack on exit, see sigaltstack(2).

    OpenVINO's CPU plugin installs a signal stack for each Core and restores the previous stack when
    that Core is destroyed. If two Cores are destroyed in the order of their creation, the second
    restores the stack of the first, whose memory has been freed. Python handles signals on that
    stack, so the next Ctrl-C would end the process with SIGSEGV.
    """
    libc, before = ctypes.CDLL(None), _Stack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)
