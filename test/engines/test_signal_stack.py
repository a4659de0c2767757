# SPDX-License-Identifier: Apache-2.0
"""Signals are still handled after engines were loaded and deleted."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

LOADED_AND_GONE = """
import gc, os, signal, sys
from hcat_ros.engines import load_engine
signal.signal(signal.SIGINT, lambda number, frame: print('handled'))
engines = {
    name: load_engine('hcat_base', *name.split(), 1)
    for name in ('openvino int8', 'openvino fp32', 'onnxruntime int8')
}
for name in sys.argv[1].split(','):
    del engines[name]
    gc.collect()
    os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.parametrize(
    'order', itertools.permutations(('openvino int8', 'openvino fp32')), ids=', '.join
)
def test_signals_are_handled_whichever_openvino_engine_is_deleted_first(
    order: tuple[str, ...],
) -> None:
    """This happens when both are timed and a third engine is chosen: Ctrl-C caused a SIGSEGV."""
    for module in ('onnxruntime', 'openvino'):
        # Checked in separate processes, because this one may have to avoid loading OpenVINO.
        if subprocess.run([sys.executable, '-c', f'import {module}'], check=False).returncode:
            pytest.skip(f'{module} is not installed')
    done = subprocess.run(
        [sys.executable, '-c', LOADED_AND_GONE, ','.join(order)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, 'handled\nhandled\n'), done.stderr
