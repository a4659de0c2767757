# SPDX-License-Identifier: Apache-2.0
"""Signals after engines have come and gone."""

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
def test_signals_are_handled_whichever_openvino_engine_goes_first(order: tuple[str, ...]) -> None:
    """As when both are timed and a third engine is chosen: Ctrl-C ended the node by SIGSEGV."""
    for module in ('onnxruntime', 'openvino'):
        # In processes of their own, also where this one must not load OpenVINO.
        if subprocess.run([sys.executable, '-c', f'import {module}'], check=False).returncode:
            pytest.skip(f'{module} is not installed')
    done = subprocess.run(
        [sys.executable, '-c', LOADED_AND_GONE, ','.join(order)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, 'handled\nhandled\n'), done.stderr
