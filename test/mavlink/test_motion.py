# SPDX-License-Identifier: Apache-2.0
"""Signs, masks and times of motion commands; the numbers are from MAVLink's documentation."""

from __future__ import annotations

import math
from typing import Any

import pytest

pytest.importorskip('pymavlink', reason="needs pymavlink (pip install 'hcat_ros[mavlink]')")

from hcat_ros.mavlink.dialect import mavlink
from hcat_ros.mavlink.motion import MotionOutput, MotionSettings, Rates


class Vehicle:
    """Parses the packed messages that the output sends."""

    def __init__(self, mode: str, **settings: Any) -> None:
        self.got: list[Any] = []
        self.lines: list[str] = []
        self.output = MotionOutput(MotionSettings(mode, **settings), self._sent, self.lines.append)
        self._wire, self._ears = mavlink.MAVLink(None), mavlink.MAVLink(None)

    def _sent(self, message: Any) -> None:
        self.got += self._ears.parse_buffer(message.pack(self._wire))


def test_velocity_is_sent_as_forward_right_and_down() -> None:
    vehicle = Vehicle('velocity')
    vehicle.output.hold(False, 0.0)
    vehicle.output.command(Rates(forward=1.5, left=0.5, up=0.25, yaw=0.75), 10.0)
    (message,) = vehicle.got
    assert message.get_type() == 'SET_POSITION_TARGET_LOCAL_NED'
    assert (message.target_system, message.target_component) == (1, 1)
    assert message.coordinate_frame == 8  # MAV_FRAME_BODY_NED
    # Velocities and yaw rate are used: 0b010111000111.
    assert message.type_mask == 1479
    assert (message.vx, message.vy, message.vz) == (1.5, -0.5, -0.25)
    assert message.yaw_rate == -0.75
    assert message.time_boot_ms == 10_000


def test_gimbal_rates_are_sent_as_up_and_right() -> None:
    vehicle = Vehicle('gimbal', target=(1, 154))
    vehicle.output.hold(False, 0.0)
    (control,) = vehicle.got
    assert (control.get_type(), control.command) == ('COMMAND_LONG', 1001)
    assert (control.param1, control.param2, control.param3, control.param4) == (1, 100, -1, -1)
    vehicle.output.command(Rates(yaw=0.5, pitch=0.25), 1.0)
    message = vehicle.got[-1]
    assert message.get_type() == 'GIMBAL_MANAGER_SET_PITCHYAW'
    assert message.target_component == 154
    assert message.flags == 4 + 8  # roll and pitch to the horizon
    assert math.isnan(message.pitch)
    assert math.isnan(message.yaw)
    assert (message.pitch_rate, message.yaw_rate) == (-0.25, -0.5)
    vehicle.output.hold(True, 2.0)
    release = vehicle.got[-1]
    assert (release.command, release.param1) == (1001, -3)


def test_denied_gimbal_control_is_logged() -> None:
    vehicle = Vehicle('gimbal')
    vehicle.output.receive(mavlink.MAVLink_command_ack_message(1001, 0))
    assert vehicle.lines == []
    vehicle.output.receive(mavlink.MAVLink_command_ack_message(1001, 2))
    assert vehicle.lines == ['the gimbal manager refuses control: MAV_RESULT_DENIED']


def requests(vehicle: Vehicle) -> list[Any]:
    """Requests for control of the gimbal so far."""
    return [m for m in vehicle.got if getattr(m, 'command', 0) == 1001 and m.param1 > 0]


def test_gimbal_control_is_requested_until_it_is_answered() -> None:
    """As https://mavlink.io/en/services/command.html requires: `confirmation` counts up."""
    vehicle = Vehicle('gimbal')
    vehicle.output.hold(False, 10.0)
    for step in range(1, 176):
        vehicle.output.advance(10.0 + step * 0.02)  # to 13.5 s
    assert [m.confirmation for m in requests(vehicle)] == [0, 1, 2, 3]
    assert {(m.param1, m.param2) for m in requests(vehicle)} == {(1, 100)}
    for other in ((5, 255, 190), (0, 255, 190), (5, 1, 100)):  # in progress, or another station's
        result, system, component = other
        answer = mavlink.MAVLink_command_ack_message(1001, result, 0, 0, system, component)
        vehicle.output.receive(answer)
    vehicle.output.advance(14.0)
    assert len(requests(vehicle)) == 5
    vehicle.output.receive(mavlink.MAVLink_command_ack_message(1001, 0, 0, 0, 1, 100))
    for second in range(15, 30):
        vehicle.output.advance(float(second))
    assert len(requests(vehicle)) == 5


def test_refused_gimbal_control_is_not_requested_again() -> None:
    vehicle = Vehicle('gimbal')
    vehicle.output.hold(False, 10.0)
    vehicle.output.receive(mavlink.MAVLink_command_ack_message(1001, 4, 0, 0, 1, 100))
    vehicle.output.advance(20.0)
    assert len(requests(vehicle)) == 1
    assert vehicle.lines == ['the gimbal manager refuses control: MAV_RESULT_FAILED']


def test_released_gimbal_control_is_not_requested_again() -> None:
    vehicle = Vehicle('gimbal')
    vehicle.output.hold(False, 10.0)
    vehicle.output.hold(True, 10.5)
    vehicle.output.renew_control(10.6)
    vehicle.output.advance(20.0)
    assert len(requests(vehicle)) == 1
    vehicle.output.hold(False, 21.0)
    assert [m.confirmation for m in requests(vehicle)] == [0, 0]


def test_gimbal_control_is_requested_again_from_a_restarted_manager() -> None:
    vehicle = Vehicle('gimbal')
    vehicle.output.hold(False, 10.0)
    vehicle.output.receive(mavlink.MAVLink_command_ack_message(1001, 0))
    vehicle.output.renew_control(15.0)
    vehicle.output.advance(16.0)
    assert [m.confirmation for m in requests(vehicle)] == [0, 0, 1]
    assert Vehicle('velocity').output.renew_control(1.0) is None


@pytest.mark.parametrize('mode', ['gimbal', 'velocity'])
def test_nothing_is_sent_on_hold(mode: str) -> None:
    vehicle = Vehicle(mode)
    for step in range(100):
        vehicle.output.command(Rates(1, 1, 1, 1, 1), step / 30)
        vehicle.output.advance(step / 30)
    assert vehicle.got == []


def moves(message: Any) -> bool:
    names = ('vx', 'vy', 'vz', 'yaw_rate', 'pitch_rate')
    return any(abs(getattr(message, name, 0.0)) > 0 for name in names)


def test_missing_commands_cause_a_stop_and_then_silence() -> None:
    vehicle = Vehicle('velocity', timeout=0.5)
    vehicle.output.hold(False, 0.0)
    vehicle.output.command(Rates(forward=1), 10.0)
    stopped = None
    for step in range(1, 200):
        before, now = len(vehicle.got), 10.0 + step * 0.02
        vehicle.output.advance(now)
        if len(vehicle.got) > before:
            assert not moves(vehicle.got[-1])
            stopped, last = stopped or now, now
    assert stopped == pytest.approx(10.52, abs=0.021)
    assert last - stopped == pytest.approx(1.0, abs=0.1)
    assert 'no command for 0.5 s: stop' in vehicle.lines[-1]


def test_time_in_the_queue_counts_towards_the_age_of_a_command() -> None:
    vehicle = Vehicle('velocity', timeout=0.5)
    vehicle.output.hold(False, 0.0)
    vehicle.output.command(Rates(forward=1), 10.0, waited=0.6)
    assert not any(moves(message) for message in vehicle.got)
    vehicle.output.command(Rates(forward=1), 10.0, waited=0.4)
    vehicle.output.advance(10.05)
    assert moves(vehicle.got[-1])
    vehicle.output.advance(10.15)
    assert not moves(vehicle.got[-1])


def test_hold_stops_the_vehicle_at_once() -> None:
    vehicle = Vehicle('velocity')
    vehicle.output.hold(False, 0.0)
    vehicle.output.command(Rates(forward=1), 1.0)
    vehicle.output.hold(True, 1.01)
    assert not moves(vehicle.got[-1])
    vehicle.output.command(Rates(forward=1), 1.02)
    assert not moves(vehicle.got[-1])
    # After the release it waits for a new command.
    vehicle.output.hold(False, 1.5)
    vehicle.output.advance(1.52)
    assert not any(moves(message) for message in vehicle.got[1:])


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_non_finite_command_stops_the_vehicle(value: float) -> None:
    vehicle = Vehicle('velocity')
    vehicle.output.hold(False, 0.0)
    vehicle.output.command(Rates(forward=1), 1.0)
    vehicle.output.command(Rates(forward=1, yaw=value), 1.1)
    assert not moves(vehicle.got[-1])


def test_stop_is_sent_although_the_logger_raises() -> None:
    vehicle = Vehicle('velocity', timeout=0.5)
    seen: list[bool] = []

    def fail(line: str) -> None:
        seen.append(moves(vehicle.got[-1]))
        raise ValueError('Logger severity cannot be changed between calls.')

    vehicle.output.log = fail
    vehicle.output.hold(False, 0.0)
    vehicle.output.command(Rates(forward=1), 1.0)
    vehicle.output.advance(1.6)
    assert not moves(vehicle.got[-1])
    vehicle.output.command(Rates(forward=1), 2.0)
    vehicle.output.command(Rates(forward=math.nan), 2.1)
    assert not moves(vehicle.got[-1])
    assert seen == [False, False], 'each stop was sent before its line was logged'


def test_speeds_and_rates_are_limited() -> None:
    vehicle = Vehicle('velocity', max_speed=2.0, max_rate=0.5)
    vehicle.output.hold(False, 0.0)
    vehicle.output.command(Rates(9, -9, 9, 9, 9), 1.0)
    message = vehicle.got[-1]
    assert (message.vx, message.vy, message.vz, message.yaw_rate) == (2, 2, -2, -0.5)
