# SPDX-License-Identifier: Apache-2.0
"""A follower's commands as MAVLink: rates for a gimbal manager, or velocities for an autopilot."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hcat_ros.mavlink.dialect import mavlink

ZERO_FOR = 1.0
"""Seconds for which zero is sent when commands stop or are on hold; then nothing is sent."""
ZERO_PERIOD = 0.05
"""Seconds between two of these zero commands."""
ASK_PERIOD = 1.0
"""Seconds after which control of the gimbal is requested again, until there is an answer."""
LEVEL = mavlink.GIMBAL_MANAGER_FLAGS_ROLL_LOCK | mavlink.GIMBAL_MANAGER_FLAGS_PITCH_LOCK
"""Roll and pitch relative to the horizon, yaw to the vehicle."""
VELOCITY_AND_YAW_RATE = (
    mavlink.POSITION_TARGET_TYPEMASK_X_IGNORE
    | mavlink.POSITION_TARGET_TYPEMASK_Y_IGNORE
    | mavlink.POSITION_TARGET_TYPEMASK_Z_IGNORE
    | mavlink.POSITION_TARGET_TYPEMASK_AX_IGNORE
    | mavlink.POSITION_TARGET_TYPEMASK_AY_IGNORE
    | mavlink.POSITION_TARGET_TYPEMASK_AZ_IGNORE
    | mavlink.POSITION_TARGET_TYPEMASK_YAW_IGNORE
)
"""Mask of the fields that the autopilot ignores: all but velocity and yaw rate."""
RELEASE_CONTROL = -3.0
"""System id in MAV_CMD_DO_GIMBAL_MANAGER_CONFIGURE that gives up control, if we have it."""


class Rates(NamedTuple):
    """A command in the axes of ROS (REP-103: x forward, y left, z up): m/s and rad/s."""

    forward: float = 0.0
    left: float = 0.0
    up: float = 0.0
    yaw: float = 0.0
    """Yaw rate, positive to the left."""
    pitch: float = 0.0
    """Pitch rate, positive DOWN: a rotation about y."""


@dataclass(frozen=True)
class MotionSettings:
    """Receiver and limits of the commands."""

    mode: str = 'gimbal'
    """'gimbal' or 'velocity'."""
    target: tuple[int, int] = (1, mavlink.MAV_COMP_ID_AUTOPILOT1)
    """System and component id of the gimbal manager or the autopilot."""
    source: tuple[int, int] = (1, mavlink.MAV_COMP_ID_CAMERA)
    """System and component id that a gimbal manager gives control to."""
    timeout: float = 0.5
    """Seconds without a command after which zero is sent."""
    max_speed: float = 2.0
    """m/s, in each direction."""
    max_rate: float = 1.0
    """rad/s, about each axis."""


def gimbal_message(rates: Rates, target: tuple[int, int]) -> Any:
    """Return GIMBAL_MANAGER_SET_PITCHYAW, whose rates are positive for pitch up and yaw right."""
    return mavlink.MAVLink_gimbal_manager_set_pitchyaw_message(
        *target, LEVEL, 0, math.nan, math.nan, -rates.pitch, -rates.yaw
    )


def velocity_message(rates: Rates, target: tuple[int, int], milliseconds: int) -> Any:
    """Return SET_POSITION_TARGET_LOCAL_NED with velocity (forward, right, down) and yaw rate."""
    velocity = (rates.forward, -rates.left, -rates.up)
    nothing = (0.0, 0.0, 0.0)
    return mavlink.MAVLink_set_position_target_local_ned_message(
        milliseconds & 0xFFFFFFFF,
        *target,
        mavlink.MAV_FRAME_BODY_NED,
        VELOCITY_AND_YAW_RATE,
        *nothing,
        *velocity,
        *nothing,
        0.0,
        -rates.yaw,
    )


@dataclass
class MotionOutput:
    """Forwards commands. On hold or without commands it sends zero for a second, then nothing.

    It begins on hold. Times are seconds of a monotonic clock; methods may be called on any thread.
    """

    settings: MotionSettings
    send: Callable[[Any], None]
    log: Callable[[str], None] = lambda line: None
    is_held: bool = True
    _commanded: float = -math.inf
    _sent: float = -math.inf
    _zero_until: float = -math.inf
    _moves: bool = False
    """Whether the last message was a command, not zero."""
    _asked: float = -math.inf
    """Time at which control of the gimbal was last requested."""
    _requests: int = 0
    """Number of requests for control that have no answer yet; 0: no request is repeated."""
    _lock: Any = field(default_factory=threading.RLock)

    def hold(self, held: bool, now: float) -> None:
        """Stop forwarding commands, or resume with the next command."""
        with self._lock:
            if held == self.is_held:
                return
            self.is_held = held
            self._commanded = -math.inf  # earlier commands no longer count
            if held:
                self._stop(now)
            if held:
                self._release_control()
            else:
                self.renew_control(now)

    def renew_control(self, now: float) -> None:
        """Request control of the gimbal again unless on hold: its manager may have restarted."""
        with self._lock:
            if self.settings.mode == 'gimbal' and not self.is_held:
                self._requests = 0
                self._request_control(now)

    def command(self, rates: Rates, now: float, waited: float = 0.0) -> None:
        """Send a command at once, within the limits. A non-finite command counts as a stop.

        waited: seconds between the arrival of the command and `now`; they count towards its age,
        and a command older than `timeout` is ignored.
        """
        with self._lock:
            if self.is_held or waited > self.settings.timeout:
                return
            if not all(map(math.isfinite, rates)):
                self._commanded = -math.inf
                self._stop(now)
                self._tell(f'command {tuple(rates)} is not finite: stop')
                return
            self._commanded, self._moves = now - waited, True
            self._send(self._limit(rates), now)

    def advance(self, now: float) -> None:
        """Send zero if commands have stopped; repeat a request for control that has no answer."""
        with self._lock:
            if self._requests and now - self._asked >= ASK_PERIOD:
                self._request_control(now)
            if self._moves and now - self._commanded > self.settings.timeout:
                self._stop(now)
                self._tell(f'no command for {self.settings.timeout:g} s: stop')
            elif now < self._zero_until and now - self._sent >= ZERO_PERIOD and not self._moves:
                self._send(Rates(), now)

    def receive(self, message: Any) -> None:
        """Process a gimbal manager's answer to a request for control."""
        if (
            message.get_type() != 'COMMAND_ACK'
            or message.command != mavlink.MAV_CMD_DO_GIMBAL_MANAGER_CONFIGURE
            or message.result == mavlink.MAV_RESULT_IN_PROGRESS
        ):
            return
        # The ids are 0 if the answer does not name its receiver, as in MAVLink 1.
        asker = message.target_system, message.target_component
        if any(one not in (0, own) for one, own in zip(asker, self.settings.source)):
            return
        with self._lock:
            self._requests = 0
        if message.result != mavlink.MAV_RESULT_ACCEPTED:
            result = mavlink.enums['MAV_RESULT'].get(message.result)
            told = result.name if result is not None else message.result
            self._tell(f'the gimbal manager refuses control: {told}')

    def _tell(self, line: str) -> None:
        """Log a line. A logger that raises is ignored: no stop may depend on it."""
        with suppress(Exception):
            self.log(line)

    def _limit(self, rates: Rates) -> Rates:
        speed, rate = self.settings.max_speed, self.settings.max_rate
        limits = (speed, speed, speed, rate, rate)
        return Rates(*(min(max(v, -most), most) for v, most in zip(rates, limits)))

    def _stop(self, now: float) -> None:
        self._moves, self._zero_until = False, now + ZERO_FOR
        self._send(Rates(), now)

    def _send(self, rates: Rates, now: float) -> None:
        self._sent = now
        target = self.settings.target
        if self.settings.mode == 'gimbal':
            self.send(gimbal_message(rates, target))
        else:
            self.send(velocity_message(rates, target, int(now * 1e3)))

    def _request_control(self, now: float) -> None:
        self._asked = now
        self._configure(*self.settings.source, confirmation=min(self._requests, 255))
        self._requests += 1

    def _release_control(self) -> None:
        self._requests = 0
        if self.settings.mode == 'gimbal':
            self._configure(RELEASE_CONTROL, RELEASE_CONTROL)

    def _configure(self, system: float, component: float, confirmation: int = 0) -> None:
        """Set which component has primary control of the gimbal."""
        unchanged = (-1.0, -1.0)  # the component with secondary control
        command = mavlink.MAV_CMD_DO_GIMBAL_MANAGER_CONFIGURE
        self.send(
            mavlink.MAVLink_command_long_message(
                *self.settings.target,
                command,
                confirmation,
                system,
                component,
                *unchanged,
                0,
                0,
                0,
            )
        )
