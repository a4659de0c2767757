# SPDX-License-Identifier: Apache-2.0
"""Progress messages of a TensorRT build, and how Ctrl-C ends it."""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Any

import pytest

pytest.importorskip('onnx', reason='needs onnx')
pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

from tensorrt_double import POLYGRAPHY, Make

from hcat_ros.engines.tensorrt_builder import progress_monitor
from hcat_ros.engines.tensorrt_engine import TensorRtEngine
from hcat_ros.models import TEMPLATE_FILE, Model


@pytest.mark.parametrize('make', POLYGRAPHY, indirect=True)
def test_ctrl_c_ends_a_build_at_its_next_step(make: Make, model: Model) -> None:
    """A real signal; an exception in a function that TensorRT calls would end the process."""
    machine, begun = make(), []

    def on_step(step: int, monitor: Any) -> None:
        begun.append(step)
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)
            end = time.monotonic() + 20
            while not monitor.interrupted and time.monotonic() < end:
                time.sleep(0.01)

    machine.on_step = on_step
    with pytest.raises(KeyboardInterrupt):
        TensorRtEngine(model)
    assert not machine.builds
    assert begun == [0, 1]


def test_build_progress_is_logged(
    make: Make, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    make()
    caplog.set_level(logging.INFO)
    TensorRtEngine(model)
    lines = caplog.messages
    assert lines[0].startswith(f'building {model.folder / TEMPLATE_FILE} in fp16 with TensorRT 10')
    assert lines[1:5] == ['Building Engine', *(f'Building Engine: {n} %' for n in (25, 50, 75))]
    assert lines[6].startswith('built template.onnx in ')


def test_tensorrt_8_logs_only_the_start_and_the_end_of_a_build(
    make: Make, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    make(version='8.6.2')
    caplog.set_level(logging.INFO)
    TensorRtEngine(model)
    assert [line.split()[0] for line in caplog.messages] == ['building', 'built'] * 2 + ['TensorRT']


def test_progress_of_many_steps_is_logged_every_ten_percent(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    make()
    caplog.set_level(logging.INFO)
    monitor = progress_monitor()
    monitor.phase_start('Timing', None, 3000)
    for step in range(3000):
        assert monitor.step_complete('Timing', step)
    monitor.phase_finish('Timing')
    told = [f'Timing: {percent} %' for percent in range(10, 101, 10)]
    assert caplog.messages == ['Timing', *told]
