# SPDX-License-Identifier: Apache-2.0
"""A MAVLink camera that tracks: camera protocol v2, https://mavlink.io/en/services/camera.html.

A ground station finds it by its heartbeat, asks what it can do, draws a rectangle or taps on the
video, and receives the target's position in the image.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from hcat_ros.boxes import Box
from hcat_ros.mavlink import messages
from hcat_ros.mavlink.dialect import mavlink
from hcat_ros.mavlink.messages import IMAGE_STATUS, CameraIdentity
from hcat_ros.mavlink.requests import ImageSize, box_of_point, box_of_rectangle

Send = Callable[[Any, Any], None]
"""Sends a message on a link, or on all links for None."""

HEARTBEAT_PERIOD = 1.0
"""Seconds between heartbeats, as the protocol requires."""
FASTEST = 0.02
"""Shortest period of the image status, s, whatever a station asks for."""
IN_PROGRESS_AFTER = 0.4
"""Seconds between IN_PROGRESS acknowledgements of a command that is not done yet."""
ANSWER_LIMIT = 10.0
"""Seconds after which a command fails if the tracker has not answered."""
MOST_PENDING = 8
"""Most commands waiting for the tracker; further ones are temporarily rejected."""
IDLE_STATUSES = 3
"""Number of statuses without a target after it has gone; messages can get lost."""
CANCELLED: int = getattr(mavlink, 'MAV_RESULT_CANCELLED', mavlink.MAV_RESULT_TEMPORARILY_REJECTED)
"""Result of a command that a newer one replaces; pymavlink's common dialect lacks CANCELLED."""
LONGEST_TEXT = 200
"""Most characters of a reason that is sent to a ground station."""
DETECTIONS_LAST = 1.0
"""Seconds for which a detector's boxes are used for a tapped point."""

OLD_REQUESTS = {
    mavlink.MAV_CMD_REQUEST_CAMERA_INFORMATION: mavlink.MAVLINK_MSG_ID_CAMERA_INFORMATION,
    mavlink.MAV_CMD_REQUEST_CAMERA_SETTINGS: mavlink.MAVLINK_MSG_ID_CAMERA_SETTINGS,
    mavlink.MAV_CMD_REQUEST_STORAGE_INFORMATION: mavlink.MAVLINK_MSG_ID_STORAGE_INFORMATION,
    mavlink.MAV_CMD_REQUEST_CAMERA_CAPTURE_STATUS: mavlink.MAVLINK_MSG_ID_CAMERA_CAPTURE_STATUS,
    mavlink.MAV_CMD_REQUEST_VIDEO_STREAM_INFORMATION: (
        mavlink.MAVLINK_MSG_ID_VIDEO_STREAM_INFORMATION
    ),
    mavlink.MAV_CMD_REQUEST_VIDEO_STREAM_STATUS: mavlink.MAVLINK_MSG_ID_VIDEO_STREAM_STATUS,
}
"""Message ids by the commands that requested them before MAV_CMD_REQUEST_MESSAGE."""


class TargetControl(Protocol):
    """Requests to the tracker. A future holds a line for the log, or the reason as ValueError."""

    def name_target(self, box: Box) -> Future[str]:
        """Start on a box of the image that the operator saw, pixels."""

    def drop_targets(self) -> Future[str]:
        """Drop all targets."""


class CommandError(Exception):
    """A command that is not carried out: its MAV_RESULT and the reason for the operator."""

    def __init__(self, result: int, reason: str = '') -> None:
        super().__init__(reason)
        self.result = result


@dataclass(frozen=True)
class ReceivedCommand:
    """A command as it was received."""

    link: Any
    number: int
    parameters: tuple[float, ...]
    """param1 to param7."""
    sender: tuple[int, int]
    """System and component id."""
    for_all: bool
    """Whether the command is for every component; it is then not answered if unsupported."""


@dataclass
class _Pending:
    command: ReceivedCommand
    answer: Future[str]
    began: float
    told: float


@dataclass
class _Seen:
    """What the tracker sees."""

    size: ImageSize | None = None
    target: Box | None = None
    """Box of the primary target's last track, pixels; not valid while the target is lost."""
    is_lost: bool = False
    detections: Sequence[Box] = ()
    detections_time: float = -math.inf


@dataclass
class _Statuses:
    """Schedule of the image statuses on one link."""

    period: float
    """Seconds between two statuses; infinite: none are sent."""
    last: float = -math.inf
    idle_left: int = 0
    """Statuses without a target that are still to be sent."""


@dataclass
class CameraComponent:
    """The camera's side of the protocol, without sockets or a clock of its own.

    Messages come in through `receive` and go out through `send`; `advance` sends what is due. Times
    are seconds of a monotonic clock. All methods may be called on any thread.
    """

    identity: CameraIdentity
    control: TargetControl
    send: Send
    log: Callable[[str], None] = lambda line: None
    """Takes a line for each tracking command done and each command refused with a reason."""
    began: float = 0.0
    """Time at which the camera was switched on."""
    _seen: _Seen = field(default_factory=_Seen)
    _pending: list[_Pending] = field(default_factory=list)
    _statuses: dict[Any, _Statuses] = field(default_factory=dict)
    _heartbeat: float = -math.inf
    _texts: int = 0
    _lock: Any = field(default_factory=threading.RLock)

    # What the tracker sees

    def set_size(self, size: ImageSize) -> None:
        """Set the size of the images."""
        with self._lock:
            self._seen.size = size

    def set_target(self, box: Box | None, is_lost: bool = False) -> None:
        """Set the box of the primary target's last track; None: there is no target."""
        with self._lock:
            if self._seen.target is not None and box is None:
                for statuses in self._statuses.values():
                    statuses.idle_left = IDLE_STATUSES
            self._seen.target, self._seen.is_lost = box, is_lost

    def set_detections(self, boxes: Sequence[Box], now: float) -> None:
        """Set the boxes of the last detections."""
        with self._lock:
            self._seen.detections, self._seen.detections_time = boxes, now

    # What is due

    def add_link(self, link: Any) -> None:
        """Begin to send on a link."""
        with self._lock:
            rate = self.identity.status_rate
            self._statuses[link] = _Statuses(1 / rate if rate > 0 else math.inf)

    def advance(self, now: float) -> None:
        """Send what is due: heartbeat, statuses, answers that the tracker has given."""
        with self._lock:
            if now - self._heartbeat >= HEARTBEAT_PERIOD:
                self._heartbeat = now
                self.send(None, messages.heartbeat(self._seen.size is not None))
            for pending in self._pending[:]:
                self._answer_if_due(pending, now)
            for link, statuses in self._statuses.items():
                if now - statuses.last < statuses.period:
                    continue
                if self._seen.target is not None or statuses.idle_left:
                    statuses.last = now
                    statuses.idle_left = max(0, statuses.idle_left - 1)
                    self.send(link, self._image_status())

    def receive(self, link: Any, message: Any, now: float) -> None:
        """Carry out COMMAND_LONG and COMMAND_INT for this camera; other messages are ignored."""
        kind = message.get_type()
        if kind not in ('COMMAND_LONG', 'COMMAND_INT'):
            return
        system, component = self.identity.system, self.identity.component
        if message.target_system not in (0, system):
            return
        if message.target_component not in (0, component):
            return
        last = (5, 6, 7) if kind == 'COMMAND_LONG' else ()
        parameters = [float(getattr(message, f'param{n}')) for n in (1, 2, 3, 4, *last)]
        if not last:
            parameters += [float(message.x), float(message.y), float(message.z)]
        sender = message.get_srcSystem(), message.get_srcComponent()
        for_all = message.target_component == 0
        command = ReceivedCommand(link, message.command, tuple(parameters), sender, for_all)
        with self._lock:
            self._execute(command, now)

    # Commands

    def _execute(self, command: ReceivedCommand, now: float) -> None:
        actions: dict[int, Callable[[ReceivedCommand, float], None]] = {
            mavlink.MAV_CMD_CAMERA_TRACK_POINT: self._track_point,
            mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE: self._track_rectangle,
            mavlink.MAV_CMD_CAMERA_STOP_TRACKING: self._stop_tracking,
            mavlink.MAV_CMD_REQUEST_MESSAGE: self._request_message,
            mavlink.MAV_CMD_SET_MESSAGE_INTERVAL: self._set_interval,
            mavlink.MAV_CMD_GET_MESSAGE_INTERVAL: self._get_interval,
            **dict.fromkeys(OLD_REQUESTS, self._old_request),
        }
        action = actions.get(command.number)
        try:
            if action is None:
                raise CommandError(mavlink.MAV_RESULT_UNSUPPORTED)
            action(command, now)
        except CommandError as refusal:
            if refusal.result != mavlink.MAV_RESULT_UNSUPPORTED or not command.for_all:
                self._acknowledge(command, refusal.result, str(refusal))
        except ValueError as error:
            self._acknowledge(command, mavlink.MAV_RESULT_DENIED, str(error))

    def _track_rectangle(self, command: ReceivedCommand, now: float) -> None:
        self._check_camera(command.parameters[4])
        box = box_of_rectangle(command.parameters[:4], self._known_size())
        self._start(command, lambda: self.control.name_target(box), now)

    def _track_point(self, command: ReceivedCommand, now: float) -> None:
        self._check_camera(command.parameters[3])
        size = self._known_size()
        fresh = now - self._seen.detections_time <= DETECTIONS_LAST
        detections = self._seen.detections if fresh else ()
        point, radius = command.parameters[:2], command.parameters[2]
        box = box_of_point(point, radius, size, detections, self.identity.point_size)
        self._start(command, lambda: self.control.name_target(box), now)

    def _stop_tracking(self, command: ReceivedCommand, now: float) -> None:
        self._check_camera(command.parameters[0])
        self._start(command, self.control.drop_targets, now)

    def _check_camera(self, number: float) -> None:
        """Raise CommandError if a command is for another camera of the same component."""
        if math.isfinite(number) and number not in (0, self.identity.component):
            reason = f'no camera {number:g} here: send to {self.identity.component} or to 0'
            raise CommandError(mavlink.MAV_RESULT_DENIED, reason)

    def _known_size(self) -> ImageSize:
        if self._seen.size is None:
            reason = 'the tracker has not received an image yet'
            raise CommandError(mavlink.MAV_RESULT_TEMPORARILY_REJECTED, reason)
        return self._seen.size

    def _start(
        self, command: ReceivedCommand, action: Callable[[], Future[str]], now: float
    ) -> None:
        """Send a request to the tracker; the command is answered when the tracker has done it."""
        for pending in self._pending[:]:
            before = pending.command
            if (before.number, before.sender) != (command.number, command.sender):
                continue
            # Stations repeat a command that is not answered in time, with the same parameters. With
            # other parameters, such as a corrected box, it is a new request that replaces the
            # pending one.
            if _are_same(before.parameters, command.parameters):
                self._acknowledge(command, mavlink.MAV_RESULT_IN_PROGRESS)
                return
            self._give_way(pending, now)
        if len(self._pending) >= MOST_PENDING:
            reason = f'{MOST_PENDING} commands already wait for the tracker: try again'
            raise CommandError(mavlink.MAV_RESULT_TEMPORARILY_REJECTED, reason)
        pending = _Pending(command, action(), now, now)
        self._pending.append(pending)
        self._answer_if_due(pending, now)

    def _give_way(self, pending: _Pending, now: float) -> None:
        """End a command that a newer one replaces, with its result or with CANCELLED."""
        if pending.answer.done():
            self._answer_if_due(pending, now)
            return
        self._pending.remove(pending)
        pending.answer.cancel()
        self._acknowledge(pending.command, CANCELLED)
        self._tell(f'{_name(pending.command.number)} from {pending.command.sender} replaced')

    def _answer_if_due(self, pending: _Pending, now: float) -> None:
        """Send the result of a command if there is one, or IN_PROGRESS if it takes long."""
        command, answer = pending.command, pending.answer
        if answer.done():
            self._pending.remove(pending)
            error = None if answer.cancelled() else answer.exception()
            if error is None and not answer.cancelled():
                self._acknowledge(command, mavlink.MAV_RESULT_ACCEPTED)
                self._tell(f'{_name(command.number)} from {command.sender}: {answer.result()}')
            else:
                self._acknowledge(command, mavlink.MAV_RESULT_FAILED, str(error or 'cancelled'))
        elif now - pending.began > ANSWER_LIMIT:
            self._pending.remove(pending)
            answer.cancel()
            reason = f'no answer from the tracker within {ANSWER_LIMIT:g} s'
            self._acknowledge(command, mavlink.MAV_RESULT_FAILED, reason)
        elif now - pending.told > IN_PROGRESS_AFTER:
            pending.told = now
            self._acknowledge(command, mavlink.MAV_RESULT_IN_PROGRESS)

    def _acknowledge(self, command: ReceivedCommand, result: int, reason: str = '') -> None:
        progress = 255 if result == mavlink.MAV_RESULT_IN_PROGRESS else 0  # 255: unknown
        system, component = command.sender
        acknowledgement = mavlink.MAVLink_command_ack_message(
            command.number, result, progress, 0, system, component
        )
        self.send(command.link, acknowledgement)
        if reason:
            self._send_text(command.link, f'tracking: {reason}')
            self._tell(f'{_name(command.number)} from {command.sender} not done: {reason}')

    def _tell(self, line: str) -> None:
        """Log a line. A logger that raises is ignored: no acknowledgement may depend on it."""
        with suppress(Exception):
            self.log(line)

    def _send_text(self, link: Any, text: str) -> None:
        self._texts = self._texts % 65535 + 1
        for part in messages.texts(text[:LONGEST_TEXT], self._texts):
            self.send(link, part)

    # Requested messages

    def _request_message(self, command: ReceivedCommand, now: float) -> None:
        message = self._message(int_of(command.parameters[0]), now, command.parameters[1])
        self._acknowledge(command, mavlink.MAV_RESULT_ACCEPTED)
        self.send(command.link, message)

    def _old_request(self, command: ReceivedCommand, now: float) -> None:
        message = self._message(OLD_REQUESTS[command.number], now)
        self._acknowledge(command, mavlink.MAV_RESULT_ACCEPTED)
        self.send(command.link, message)

    def _set_interval(self, command: ReceivedCommand, now: float) -> None:
        number, microseconds = int_of(command.parameters[0]), command.parameters[1]
        if number != IMAGE_STATUS or command.link not in self._statuses:
            raise CommandError(mavlink.MAV_RESULT_UNSUPPORTED)
        if not math.isfinite(microseconds):
            raise ValueError(
                f'interval {microseconds}: expected microseconds, 0 (default) or -1 (off)'
            )
        rate = self.identity.status_rate
        period = math.inf
        if microseconds > 0:
            period = max(microseconds / 1e6, FASTEST)
        elif microseconds == 0 and rate > 0:
            period = 1 / rate
        self._statuses[command.link].period = period
        self._acknowledge(command, mavlink.MAV_RESULT_ACCEPTED)

    def _get_interval(self, command: ReceivedCommand, now: float) -> None:
        number = int_of(command.parameters[0])
        period = math.nan
        if number == mavlink.MAVLINK_MSG_ID_HEARTBEAT:
            period = HEARTBEAT_PERIOD
        elif number == IMAGE_STATUS and command.link in self._statuses:
            period = self._statuses[command.link].period
        # 0: unknown, -1: disabled.
        microseconds = (
            0 if math.isnan(period) else -1 if period == math.inf else round(period * 1e6)
        )
        self._acknowledge(command, mavlink.MAV_RESULT_ACCEPTED)
        self.send(
            command.link,
            mavlink.MAVLink_message_interval_message(min(max(number, 0), 65535), microseconds),
        )

    def _message(self, number: int, now: float, index: float = 0.0) -> Any:
        """Return the message with this id. Raises CommandError for one that is not supported."""
        identity, size = self.identity, self._seen.size or ImageSize(0, 0)
        milliseconds = int(max(now - self.began, 0.0) * 1e3) & 0xFFFFFFFF
        if number in messages.OF_THE_STREAM and identity.video_uri:
            if math.isfinite(index) and index not in (0, 1):
                raise CommandError(mavlink.MAV_RESULT_DENIED, f'no stream {index:g}, only stream 1')
            return messages.OF_THE_STREAM[number](identity, size)
        if number in messages.OF_THE_CAMERA:
            return messages.OF_THE_CAMERA[number](identity, size, milliseconds)
        if number == mavlink.MAVLINK_MSG_ID_HEARTBEAT:
            return messages.heartbeat(self._seen.size is not None)
        if number == IMAGE_STATUS:
            return self._image_status()
        raise CommandError(mavlink.MAV_RESULT_UNSUPPORTED)

    def _image_status(self) -> Any:
        return messages.image_status(self._seen.target, self._seen.is_lost, self._seen.size)


def int_of(value: float) -> int:
    """Return a message id that came as a float, -1 if it is not a valid id."""
    return int(value) if math.isfinite(value) and 0 <= value < 2**24 else -1


def _are_same(some: Sequence[float], others: Sequence[float]) -> bool:
    """Whether parameters are the same; NaN, an unset parameter, counts as equal to NaN."""
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(some, others))


def _name(command: int) -> str:
    entry = mavlink.enums['MAV_CMD'].get(command)
    return str(entry.name) if entry is not None else f'command {command}'
