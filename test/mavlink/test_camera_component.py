# SPDX-License-Identifier: Apache-2.0
"""The camera's side of the camera protocol. Every message is packed and parsed again."""

from __future__ import annotations

import math
from concurrent.futures import Future
from typing import Any

import pytest

pytest.importorskip('pymavlink', reason="needs pymavlink (pip install 'hcat_ros[mavlink]')")

from hcat_ros.boxes import Box
from hcat_ros.mavlink.camera import ANSWER_LIMIT, IDLE_STATUSES, CameraComponent
from hcat_ros.mavlink.dialect import mavlink
from hcat_ros.mavlink.messages import CameraIdentity
from hcat_ros.mavlink.requests import ImageSize

STATUS = mavlink.MAVLINK_MSG_ID_CAMERA_TRACKING_IMAGE_STATUS
IMAGES = ImageSize(640, 480)
RECTANGLE = (0.25, 0.5, 0.5, 0.75)
BOX = Box(160, 240, 160, 120)
"""`RECTANGLE` in pixels of `IMAGES`."""


class Tracker:
    """Records its requests; the test sets the answer to each."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answers: list[Future[str]] = []

    def name_target(self, box: Box) -> Future[str]:
        return self._note(box)

    def drop_targets(self) -> Future[str]:
        return self._note('drop')

    def _note(self, what: Any) -> Future[str]:
        self.asked.append(what)
        self.answers.append(Future())
        self.answers[-1].set_running_or_notify_cancel()
        return self.answers[-1]


class Station:
    """A ground station with a camera at the other end of the wire."""

    def __init__(self, size: ImageSize | None = IMAGES, **identity: Any) -> None:
        self.tracker = Tracker()
        self.now = 100.0
        self.got: list[Any] = []
        self.lines: list[str] = []
        values = {'video_uri': 'rtsp://robot/cam', 'model': 'HCAT', 'version': (1, 2, 3)}
        self.camera = CameraComponent(
            CameraIdentity(**{**values, **identity}),
            self.tracker,
            self._sent,
            self.lines.append,
            self.now,
        )
        self.camera.add_link('link')
        if size is not None:
            self.camera.set_size(size)
        self._up = mavlink.MAVLink(None, srcSystem=255, srcComponent=190)
        self._down = mavlink.MAVLink(None, srcSystem=1, srcComponent=100)
        self._ears, self._camera_ears = mavlink.MAVLink(None), mavlink.MAVLink(None)

    def _sent(self, link: Any, message: Any) -> None:
        assert link in (None, 'link')
        self.got += self._ears.parse_buffer(message.pack(self._down))

    def send(self, message: Any, component: int = 190) -> list[Any]:
        """Send a message, and return the immediate answers."""
        self.got.clear()
        self._up.srcComponent = component
        for one in self._camera_ears.parse_buffer(message.pack(self._up)):
            self.camera.receive('link', one, self.now)
        return self.got

    def command(
        self, number: int, *parameters: float, to: tuple[int, int] = (1, 100), component: int = 190
    ) -> list[Any]:
        values = [*parameters, *(0.0,) * (7 - len(parameters))]
        message = mavlink.MAVLink_command_long_message(*to, number, 0, *values)
        return self.send(message, component)

    def wait(self, seconds: float, step: float = 0.05) -> list[Any]:
        """Advance the time, and return the messages that are sent meanwhile."""
        self.got.clear()
        for _ in range(round(seconds / step)):
            self.now += step
            self.camera.advance(self.now)
        return self.got

    def of(self, kind: str) -> list[Any]:
        return [message for message in self.got if message.get_type() == kind]

    def result(self) -> int:
        """Return the result of the last command."""
        return int(self.of('COMMAND_ACK')[-1].result)

    def texts(self) -> str:
        return ''.join(message.text for message in self.of('STATUSTEXT'))


@pytest.fixture
def station() -> Station:
    return Station()


def test_heartbeat_is_that_of_a_camera(station: Station) -> None:
    beats = [m for m in station.wait(5.0) if m.get_type() == 'HEARTBEAT']
    assert 5 <= len(beats) <= 6
    assert (beats[0].get_srcSystem(), beats[0].get_srcComponent()) == (1, 100)
    assert beats[0].type == mavlink.MAV_TYPE_CAMERA
    assert beats[0].autopilot == mavlink.MAV_AUTOPILOT_INVALID
    assert beats[0].system_status == mavlink.MAV_STATE_ACTIVE


@pytest.mark.parametrize('old', [False, True], ids=['request_message', 'older command'])
def test_camera_information_is_sent_for_both_request_commands(station: Station, old: bool) -> None:
    station.now += 2.5
    if old:
        station.command(mavlink.MAV_CMD_REQUEST_CAMERA_INFORMATION, 1)
    else:
        station.command(mavlink.MAV_CMD_REQUEST_MESSAGE, mavlink.MAVLINK_MSG_ID_CAMERA_INFORMATION)
    assert station.result() == mavlink.MAV_RESULT_ACCEPTED
    (found,) = station.of('CAMERA_INFORMATION')
    assert bytes(found.vendor_name).rstrip(b'\0') == b'hcat_ros'
    assert bytes(found.model_name).rstrip(b'\0') == b'HCAT'
    assert found.firmware_version == 0x030201
    assert (found.resolution_h, found.resolution_v) == (640, 480)
    assert found.time_boot_ms == 2500
    assert found.flags == 512 | 1024 | 256  # point, rectangle, video stream


@pytest.mark.parametrize(
    ('number', 'kind'),
    [
        (260, 'CAMERA_SETTINGS'),
        (261, 'STORAGE_INFORMATION'),
        (262, 'CAMERA_CAPTURE_STATUS'),
        (269, 'VIDEO_STREAM_INFORMATION'),
        (270, 'VIDEO_STREAM_STATUS'),
        (275, 'CAMERA_TRACKING_IMAGE_STATUS'),
    ],
)
def test_messages_that_ground_stations_request_are_sent(
    station: Station, number: int, kind: str
) -> None:
    station.command(mavlink.MAV_CMD_REQUEST_MESSAGE, number)
    assert [m.get_type() for m in station.got] == ['COMMAND_ACK', kind]
    if kind == 'VIDEO_STREAM_INFORMATION':
        assert (station.got[1].uri, station.got[1].type) == ('rtsp://robot/cam', 0)


@pytest.mark.parametrize('number', [269, 270])
def test_field_of_view_in_radians_is_sent_in_degrees(number: int) -> None:
    station = Station(horizontal_fov=math.pi / 3)
    station.command(mavlink.MAV_CMD_REQUEST_MESSAGE, number)
    assert station.got[-1].hfov == 60


def test_no_video_stream_is_reported_without_a_video_uri() -> None:
    station = Station(video_uri='')
    station.command(mavlink.MAV_CMD_REQUEST_MESSAGE, 269)
    assert station.result() == mavlink.MAV_RESULT_UNSUPPORTED
    station.command(mavlink.MAV_CMD_REQUEST_MESSAGE, 259)
    assert not station.of('CAMERA_INFORMATION')[0].flags & mavlink.CAMERA_CAP_FLAGS_HAS_VIDEO_STREAM


def test_rectangle_is_acknowledged_when_the_tracker_answers(station: Station) -> None:
    assert station.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *RECTANGLE) == []
    assert station.tracker.asked == [BOX]
    station.wait(0.3)
    assert station.of('COMMAND_ACK') == []
    station.wait(0.2)
    assert station.result() == mavlink.MAV_RESULT_IN_PROGRESS
    # A repetition while the command is pending starts no second target.
    station.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *RECTANGLE)
    assert station.result() == mavlink.MAV_RESULT_IN_PROGRESS
    assert station.tracker.asked == [BOX]
    station.tracker.answers[0].set_result('target 7')
    station.wait(0.05)
    assert station.result() == mavlink.MAV_RESULT_ACCEPTED
    (acknowledgement,) = station.of('COMMAND_ACK')
    assert acknowledgement.command == 2005
    assert (acknowledgement.target_system, acknowledgement.target_component) == (255, 190)
    assert 'target 7' in station.lines[-1]
    assert not [m for m in station.wait(3.0) if m.get_type() == 'COMMAND_ACK']


CORRECTED = (0.5, 0.5, 0.75, 0.75)
CORRECTED_BOX = Box(320, 240, 160, 120)


def test_corrected_rectangle_replaces_the_pending_one(station: Station) -> None:
    station.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *RECTANGLE)
    station.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *CORRECTED)
    assert station.tracker.asked == [BOX, CORRECTED_BOX]
    # The old one is answered once. 6 is MAV_RESULT_CANCELLED, which not every dialect has.
    expected = 6 if hasattr(mavlink, 'MAV_RESULT_CANCELLED') else 1
    assert [m.result for m in station.of('COMMAND_ACK')] == [expected]
    assert station.texts() == ''
    station.tracker.answers[0].set_result('target 7')  # too late: it is answered already
    station.wait(0.3)
    assert station.of('COMMAND_ACK') == []
    station.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *CORRECTED)  # a repetition
    assert station.result() == mavlink.MAV_RESULT_IN_PROGRESS
    assert len(station.tracker.asked) == 2
    station.tracker.answers[1].set_result('target 8')
    station.wait(0.05)
    assert [m.result for m in station.of('COMMAND_ACK')] == [mavlink.MAV_RESULT_ACCEPTED]
    assert 'target 8' in station.lines[-1]
    assert not [m for m in station.wait(ANSWER_LIMIT + 1) if m.get_type() == 'COMMAND_ACK']


def test_finished_rectangle_is_answered_before_the_next_one(station: Station) -> None:
    station.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *RECTANGLE)
    station.tracker.answers[0].set_result('target 7')
    station.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *CORRECTED)
    assert [m.result for m in station.of('COMMAND_ACK')] == [mavlink.MAV_RESULT_ACCEPTED]
    assert station.tracker.asked == [BOX, CORRECTED_BOX]


def test_correction_is_accepted_at_the_limit_of_pending_commands(station: Station) -> None:
    for component in range(1, 9):
        station.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *RECTANGLE, component=component)
    station.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *CORRECTED, component=3)
    assert station.tracker.asked == [BOX] * 8 + [CORRECTED_BOX]


def test_nan_in_unused_parameters_still_counts_as_a_repetition(station: Station) -> None:
    for _ in range(2):
        unused = (math.nan,) * 3
        station.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *RECTANGLE, *unused)
    assert station.result() == mavlink.MAV_RESULT_IN_PROGRESS
    assert station.tracker.asked == [BOX]


def test_refusal_fails_with_the_reason_as_status_text(station: Station) -> None:
    station.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *RECTANGLE)
    reason = 'the box is on an image that is not kept any more: ' + 'x' * 60 + ' lengthen buffer_mb'
    station.tracker.answers[0].set_exception(ValueError(reason))
    station.wait(0.05)
    assert station.result() == mavlink.MAV_RESULT_FAILED
    assert station.texts() == f'tracking: {reason}'
    chunks = station.of('STATUSTEXT')
    assert [chunk.chunk_seq for chunk in chunks] == list(range(len(chunks)))
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].id != 0


def test_acknowledgement_is_sent_although_the_logger_raises(station: Station) -> None:
    acknowledged: list[int] = []

    def fail(line: str) -> None:
        acknowledged.append(station.result())
        raise ValueError('Logger severity cannot be changed between calls.')

    station.camera.log = fail
    station.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *RECTANGLE)
    station.tracker.answers[0].set_result('target 7')
    station.wait(0.05)
    assert [m.result for m in station.of('COMMAND_ACK')] == [mavlink.MAV_RESULT_ACCEPTED]
    station.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, 0.2, 0.2, 0.2, 0.9)
    assert [m.result for m in station.of('COMMAND_ACK')] == [mavlink.MAV_RESULT_DENIED]
    assert 'tracking: ' in station.texts()
    assert acknowledged == [mavlink.MAV_RESULT_ACCEPTED, mavlink.MAV_RESULT_DENIED]


def test_command_fails_if_the_tracker_never_answers(station: Station) -> None:
    station.command(mavlink.MAV_CMD_CAMERA_STOP_TRACKING)
    station.wait(ANSWER_LIMIT + 0.2)
    assert station.result() == mavlink.MAV_RESULT_FAILED
    assert 'within 10 s' in station.texts()
    station.command(mavlink.MAV_CMD_CAMERA_STOP_TRACKING)
    assert station.tracker.asked == ['drop', 'drop']


@pytest.mark.parametrize(
    ('number', 'parameters'),
    [
        (2005, (0.2, 0.2, 0.2, 0.9)),
        (2005, (math.nan, 0.2, 0.2, 0.9)),
        (2005, (*RECTANGLE, 101)),
        (2004, (0.5, 1.5)),
        (2004, (0.5, 0.5, 0, 3)),
        (2010, (104,)),
    ],
)
def test_invalid_tracking_command_is_denied(
    station: Station, number: int, parameters: tuple[float, ...]
) -> None:
    station.command(number, *parameters)
    assert station.result() == mavlink.MAV_RESULT_DENIED
    assert station.texts().startswith('tracking: ')
    assert station.tracker.asked == []


def test_command_before_the_first_image_is_temporarily_rejected() -> None:
    station = Station(size=None)
    station.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *RECTANGLE)
    assert station.result() == mavlink.MAV_RESULT_TEMPORARILY_REJECTED
    station.wait(1.0)
    assert station.of('HEARTBEAT')[0].system_status == mavlink.MAV_STATE_STANDBY


def test_point_selects_a_recent_detection(station: Station) -> None:
    seen = Box(300, 200, 60, 100)
    station.camera.set_detections([seen], station.now)
    station.command(mavlink.MAV_CMD_CAMERA_TRACK_POINT, 0.5, 0.5)
    station.tracker.answers[0].set_result('')
    station.wait(2.0)
    station.command(mavlink.MAV_CMD_CAMERA_TRACK_POINT, 0.5, 0.5)
    assert station.tracker.asked == [seen, Box(296, 216, 48, 48)]


def test_rectangle_is_accepted_as_command_int(station: Station) -> None:
    station.send(
        mavlink.MAVLink_command_int_message(1, 100, 0, 2005, 0, 0, *RECTANGLE, 100, 0, 0.0)
    )
    assert station.tracker.asked == [BOX]


def test_commands_for_other_components_are_ignored(station: Station) -> None:
    for to in ((2, 100), (1, 101), (1, 1)):
        assert station.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *RECTANGLE, to=to) == []
    assert station.tracker.asked == []
    # Broadcast to all components: known commands are executed, others ignored.
    station.command(mavlink.MAV_CMD_REQUEST_CAMERA_INFORMATION, 1, to=(1, 0))
    assert station.of('CAMERA_INFORMATION')
    assert station.command(mavlink.MAV_CMD_COMPONENT_ARM_DISARM, 1, to=(1, 0)) == []
    assert station.command(mavlink.MAV_CMD_COMPONENT_ARM_DISARM, 1)[0].result == 3  # UNSUPPORTED


def test_tracking_status_is_sent_at_the_requested_rate(station: Station) -> None:
    station.camera.set_target(BOX)

    def count(seconds: float = 4.0) -> int:
        return len([m for m in station.wait(seconds, 0.01) if m.msgname == STATUS_NAME])

    STATUS_NAME = 'CAMERA_TRACKING_IMAGE_STATUS'
    assert count() == pytest.approx(20, abs=1)  # 5 a second
    for microseconds, expected in ((500_000, 8), (100_000, 40), (-1, 0), (0, 20), (1, 200)):
        station.command(mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, STATUS, microseconds)
        assert station.result() == mavlink.MAV_RESULT_ACCEPTED
        assert count() == pytest.approx(expected, rel=0.1, abs=1)
    station.command(mavlink.MAV_CMD_GET_MESSAGE_INTERVAL, STATUS)
    assert station.of('MESSAGE_INTERVAL')[0].interval_us == 20_000
    station.command(mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, 30, 100_000)  # ATTITUDE
    assert station.result() == mavlink.MAV_RESULT_UNSUPPORTED


def test_tracking_status_has_the_target_box_or_says_it_is_lost(station: Station) -> None:
    def status() -> Any:
        station.command(mavlink.MAV_CMD_REQUEST_MESSAGE, STATUS)
        return station.of('CAMERA_TRACKING_IMAGE_STATUS')[0]

    idle = status()
    assert (idle.tracking_status, idle.tracking_mode) == (0, 0)
    assert math.isnan(idle.rec_top_x)
    station.camera.set_target(BOX)
    found = status()
    assert (found.tracking_status, found.tracking_mode, found.target_data) == (1, 2, 4)
    corners = (found.rec_top_x, found.rec_top_y, found.rec_bottom_x, found.rec_bottom_y)
    assert corners == RECTANGLE
    assert math.isnan(found.point_x)
    station.camera.set_target(BOX, is_lost=True)
    lost = status()
    assert lost.tracking_status == 8  # COASTING
    assert math.isnan(lost.rec_top_x)


def test_idle_status_is_sent_a_few_times_after_the_target_is_dropped(station: Station) -> None:
    assert not [m for m in station.wait(3.0) if m.msgname.startswith('CAMERA_TRACKING')]
    station.camera.set_target(BOX)
    station.wait(1.0)
    station.camera.set_target(None)
    told = [m for m in station.wait(5.0) if m.msgname.startswith('CAMERA_TRACKING')]
    assert [m.tracking_status for m in told] == [0] * IDLE_STATUSES


def test_number_of_pending_commands_is_limited(station: Station) -> None:
    for component in range(1, 40):
        station.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *RECTANGLE, component=component)
    assert station.result() == mavlink.MAV_RESULT_TEMPORARILY_REJECTED
    assert len(station.tracker.asked) == 8


@pytest.mark.parametrize(
    ('values', 'reason'),
    [
        ({'video_uri': 'file:///etc/passwd'}, "video_uri 'file:"),
        ({'video_uri': 'rtsp://' + 'x' * 200}, 'video_uri has 207 bytes: expected at most 160'),
        ({'video_uri': 'rtsp://' + 'é' * 80}, 'video_uri has 167 bytes: expected at most 160'),
    ],
)
def test_invalid_video_uri_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        CameraIdentity(**values)
