# SPDX-License-Identifier: Apache-2.0
"""`hcat target` in a separate process, connected to a tracker over real DDS."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')
pytest.importorskip('onnxruntime', reason='the nodes run an engine')

from talker import TARGET, Talker, scene, stamp

from hcat_ros.nodes.images import image_message

WITHOUT_SERVICE = "import sys; sys.modules['hcat_ros_interfaces'] = None; "
CLIENT = 'import sys; from hcat_ros.nodes.tools.target_client import main; sys.exit(main())'
BOX = ['-p', f'box:={[*map(float, TARGET)]}']


@pytest.fixture
def talker(talk: Callable[..., Talker]) -> Iterator[Talker]:
    """An active tracker that has received an image."""
    talker = talk(diagnostics_period=0.2)
    talker.start()
    talker.send(0)
    return talker


def run(talker: Talker | None, *words: str, code: str = CLIENT) -> tuple[int, str, str]:
    """Run the client while a tracker spins; return exit code, output and errors."""
    process = subprocess.Popen(
        [sys.executable, '-c', code, '--ros-args', *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        if talker is not None:
            while process.poll() is None:
                talker.number += 1
                message = image_message(scene(talker.number % 20), 'bgr8')
                message.header.stamp, message.header.frame_id = stamp(talker.number), 'front'
                talker.images.publish(message)
                talker.spin_for(0.05)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, output, errors


@pytest.mark.parametrize('code', [CLIENT, WITHOUT_SERVICE + CLIENT], ids=['service', 'topic'])
def test_client_sets_a_target_and_prints_its_id(talker: Talker, code: str) -> None:
    exit_code, output, errors = run(talker, *BOX, code=code)
    assert (exit_code, errors) == (0, '')
    assert output == f'target {talker.tracker.session.target_id} is followed by /hcat_tracker\n'
    assert talker.tracker.session.target.box == TARGET


@pytest.mark.parametrize('code', [CLIENT, WITHOUT_SERVICE + CLIENT], ids=['service', 'topic'])
def test_refusal_is_printed_with_the_reason(talker: Talker, code: str) -> None:
    words = ['-p', 'box:=[9000.0, 1.0, 20.0, 20.0]']
    exit_code, output, errors = run(talker, *words, code=code)
    assert (exit_code, output) == (1, '')
    assert 'refused by /hcat_tracker' in errors
    assert 'lies outside of the 320x240 frame' in errors


def test_reset_drops_the_target(talker: Talker) -> None:
    talker.name_target(TARGET)
    assert run(talker, '-p', 'reset:=true')[:2] == (0, 'target dropped\n')
    assert not talker.tracker.session.has_target


@pytest.mark.parametrize('code', [CLIENT, WITHOUT_SERVICE + CLIENT], ids=['service', 'topic'])
def test_client_adds_selects_and_drops_one_of_several_targets(
    talk: Callable[..., Talker], code: str
) -> None:
    talker = talk(diagnostics_period=0.2, max_targets=3)
    talker.start()
    talker.send(0)
    assert run(talker, *BOX, code=code)[0] == 0
    exit_code, output, errors = run(talker, '-p', 'box:=[4.0, 4.0, 40.0, 40.0]', code=code)
    assert (exit_code, errors) == (0, '')
    session = talker.tracker.session
    talker.spin(lambda: len(session.targets) == 2, 'both targets')
    first, second = (target.id for target in session.targets)
    assert second in output
    if code == CLIENT:
        words = ['-p', f"primary:='{second}'"]
        assert run(talker, *words) == (0, 'done by /hcat_tracker\n', '')
        assert session.target_id == second
        assert run(talker, '-p', f"drop:='{second}'")[0] == 0
        assert [target.id for target in session.targets] == [first]
        exit_code, output, errors = run(talker, '-p', f"drop:='{second}'")
        assert exit_code == 1
        assert f"no target '{second}' is followed; followed targets: {first}" in errors
    else:
        exit_code, _, errors = run(talker, '-p', f"drop:='{second}'", code=code)
        assert exit_code == 1
        assert 'need the package hcat_ros_interfaces' in errors


def test_missing_tracker_error_lists_the_running_trackers(talker: Talker) -> None:
    exit_code, _, errors = run(talker, *BOX, '-p', 'timeout:=4.0', '-r', '__ns:=/front')
    assert exit_code == 1
    assert 'no tracker /front/hcat_tracker is running; running: /hcat_tracker' in errors


@pytest.mark.usefixtures('ros_domain')
def test_full_disk_does_not_keep_the_client_from_ending() -> None:
    command = [sys.executable, '-m', 'hcat_ros.executables', 'target_client', '--ros-args', *BOX]
    with open('/dev/full', 'w', encoding='utf-8') as full:
        done = subprocess.run(
            [*command, '-p', 'timeout:=0.5'], stdout=full, stderr=full, timeout=60, check=False
        )
    assert done.returncode == 1


def test_outcome_that_cannot_be_printed_is_a_failure(talker: Talker) -> None:
    code = "import sys; sys.stdout = open('/dev/full', 'w'); "
    code += 'from hcat_ros.executables import target_client; target_client()'
    exit_code, _, errors = run(talker, '-p', 'reset:=true', code=code)
    assert exit_code == 1
    assert 'cannot print the outcome, ' in errors
    assert 'No space left on device' in errors


def test_signal_ends_the_client(ros: None) -> None:
    process = subprocess.Popen(
        [sys.executable, '-m', 'hcat_ros.executables', 'target_client', '--ros-args', *BOX],
        stderr=subprocess.PIPE,
        text=True,
    )
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(3)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ''
    assert process.returncode == 130
