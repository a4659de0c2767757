# SPDX-License-Identifier: Apache-2.0
"""Keeps a thread's alternate signal stack over libraries that exchange it."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator


class _Stack(ctypes.Structure):
    """stack_t of signal.h."""

    _fields_ = [('sp', ctypes.c_void_p), ('flags', ctypes.c_int), ('size', ctypes.c_size_t)]


@contextlib.contextmanager
def kept_signal_stack() -> Iterator[None]:
    """Put the calling thread's alternate signal stack back afterwards, sigaltstack(2).

    OpenVINO's plugin for the CPU sets one for each Core that it is loaded in, and puts the one
    before it back when that Core ends. Of two Cores that end in the order in which they were made
    the second puts back that of the first, whose memory is gone. Python handles signals on that
    stack: the next Ctrl-C then ends the process with SIGSEGV.
    """
    libc, before = ctypes.CDLL(None), _Stack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)
