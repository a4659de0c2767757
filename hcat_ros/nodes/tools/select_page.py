# SPDX-License-Identifier: Apache-2.0
"""The page on which an operator names the target, as a node beside the tracker."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from copy import copy
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2D, Detection2DArray

try:
    from hcat_ros_interfaces.srv import NamedTarget, SetTarget
except ImportError:  # a package of its own, which not everybody builds
    NamedTarget = SetTarget = None

from hcat_ros.boxes import Box
from hcat_ros.files.pictures import MAX_IMAGE_PIXELS
from hcat_ros.message_data import best_class, box_of, decoded_image, image_view, nanoseconds
from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.diagnostics import Refusals
from hcat_ros.nodes.lifecycle import run_node
from hcat_ros.nodes.message_bounds import check_detection
from hcat_ros.nodes.parameter_overrides import warn_of_useless_overrides
from hcat_ros.nodes.parameters import Setting, Settings
from hcat_ros.nodes.qos import IMAGE_QOS, RELIABLE_QOS, overridable
from hcat_ros.nodes.tools.paired_frames import PairedFrame, PairedFrames
from hcat_ros.nodes.tools.tracker_health import TrackerHealth
from hcat_ros.select_page.view import ShownTrack, Status, View
from hcat_ros.tracking.encodings import Image as Pixels
from hcat_ros.tracking.frame_buffer import StampedFrame

SETTINGS = (
    Setting('tracker', str, 'hcat_tracker', 'Name of the tracker node, in this namespace or full.'),
    Setting(
        'image_transport', str, 'raw', 'Type of the image topic.', choices=('raw', 'compressed')
    ),
    Setting(
        'mono16_bits',
        int,
        16,
        'Bits of a mono16 pixel that the sensor fills, as of the tracker.',
        8,
        16,
    ),
    Setting(
        'max_image_pixels',
        int,
        MAX_IMAGE_PIXELS,
        'Pixels of a compressed image, by its header, above which it is refused.',
        1,
        10**9,
    ),
    Setting('host', str, '127.0.0.1', 'Address to serve on; 0.0.0.0 is every interface.'),
    Setting('port', int, 8321, 'TCP port to serve on, 0 for any free one.', 0, 65535),
    Setting('max_width', int, 960, 'Pixels across of the pictures sent at most.', 16, 8192),
    Setting('jpeg_quality', int, 70, 'Of the pictures sent.', 1, 100),
    Setting('rate', float, 15.0, 'Pictures a second that each client gets at most.', 0.1, 120),
)
TOKEN_VARIABLE = 'HCAT_SELECT_TOKEN'
"""Environment variable with the token: everybody on the network can read parameters."""
BUFFER_BYTES = 24 * 1024 * 1024
"""For the frames that wait for their tracks: 4 of 1920x1080."""
MOST_OTHERS = 64
"""Targets beside the primary one that are shown."""
SEVERAL = 1.0
"""Seconds for which a picture waits for the tracks of all targets, after the last ones came."""
STATUS_PERIOD = 0.2
"""Seconds between two looks at how the tracker is."""


class SelectPage(Node):
    """Shows `image`, `track` and `tracks` on a web page; names, selects and drops targets.

    A target is named by the tracker's service or, where that is missing, by `init_box`.

    Images are subscribed only while somebody looks. Raises ValueError, OSError or RuntimeError
    for a page that cannot be served.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('select_page', **kwargs)
        values = Settings(self, SETTINGS).values()
        warn_of_useless_overrides(self)
        self._compressed = values['image_transport'] == 'compressed'
        self._mono16_bits = values['mono16_bits']
        self._max_image_pixels = values['max_image_pixels']
        self._refusals = Refusals(self.get_logger().warning)
        self._frames = PairedFrames(BUFFER_BYTES)
        self._images: Any = None
        self._waiting: deque[Callable[[], None]] = deque()
        self._wake = self.create_guard_condition(self._run_waiting)
        tracker = self.resolve_service_name(f'{values["tracker"]}/reset').removesuffix('/reset')
        self._health = TrackerHealth(tracker)
        self._reset = self.create_client(Trigger, f'{tracker}/reset')
        self._several_until = 0.0
        """Until when the tracks of all targets are waited for, monotonic."""
        self._set_target: Any = None
        self._by_id: dict[str, Any] = {}
        if SetTarget is not None:
            self._set_target = self.create_client(SetTarget, f'{tracker}/set_target')
            self._by_id = {
                name: self.create_client(NamedTarget, f'{tracker}/{name}')
                for name in ('select_primary', 'drop')
            }
        self._init_boxes = self.create_publisher(
            Detection2D, 'init_box', copy(RELIABLE_QOS), qos_overriding_options=overridable()
        )
        for kind, topic, callback in (
            (Detection2D, 'track', self._on_track),
            (Detection2DArray, 'tracks', self._on_tracks),
        ):
            options = overridable()
            self.create_subscription(
                kind, topic, callback, copy(RELIABLE_QOS), qos_overriding_options=options
            )
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        # Of the machine's own time: simulated time may stand still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(STATUS_PERIOD, self._look, clock=steady)
        self.server = self._serve(tracker, values)
        # Not by the logger, whose lines go to /rosout and so to everybody on the network.
        print(f'select_page: open {self.server.url}', flush=True)

    def _serve(self, tracker: str, values: dict[str, Any]) -> Any:
        try:
            from hcat_ros.select_page.server import PageServer, PageSettings
        except ImportError as error:
            raise RuntimeError(
                f'the page needs aiohttp ({error}): apt install python3-aiohttp, or '
                "pip install 'aiohttp>=3.8'"
            ) from error
        settings = PageSettings(
            token=os.environ.get(TOKEN_VARIABLE, ''),
            title=f'{tracker} on {self._image_topic}',
            **{
                name: values[name] for name in ('host', 'port', 'max_width', 'jpeg_quality', 'rate')
            },
        )
        server = PageServer(self, settings)
        server.start()
        return server

    def destroy_node(self) -> None:
        """Let the clients go, too."""
        server = getattr(self, 'server', None)
        if server is not None:
            server.close()
        super().destroy_node()

    @property
    def _image_topic(self) -> str:
        return str(self.resolve_topic_name('image')) + ('/compressed' if self._compressed else '')

    # What the page asks, on its server's thread

    def name_target(self, stamp: int, box: Box) -> Future[str]:
        """Name a target by its box, with the stamp of the frame that it was drawn on."""
        answer: Future[str] = Future()
        self._later(answer, lambda: self._send_box(stamp, box, answer))
        return answer

    def reset(self) -> Future[str]:
        """Call the tracker's reset."""
        answer: Future[str] = Future()
        self._later(answer, lambda: self._call_reset(answer))
        return answer

    def select_primary(self, target_id: str) -> Future[str]:
        """Call the tracker's select_primary."""
        answer: Future[str] = Future()
        self._later(answer, lambda: self._call_by_id('select_primary', target_id, answer))
        return answer

    def drop(self, target_id: str) -> Future[str]:
        """Call the tracker's drop."""
        answer: Future[str] = Future()
        self._later(answer, lambda: self._call_by_id('drop', target_id, answer))
        return answer

    def watch(self, watched: bool) -> None:
        """Subscribe the images, or no more."""
        self._later(Future(), lambda: self._subscribe(watched))

    def _later(self, answer: Future[str], action: Callable[[], None]) -> None:
        """Have the executor's thread do something; what fails is the answer."""

        def act() -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    action()
                except ValueError as error:
                    answer.set_exception(error)
                except Exception as error:
                    self.get_logger().error(f'error in a request of the page: {error}')
                    answer.set_exception(ValueError(str(error)))

        self._waiting.append(act)
        self._wake.trigger()

    def _run_waiting(self) -> None:
        while self._waiting:
            self._waiting.popleft()()

    # The same on the executor's thread

    def _send_box(self, stamp: int, box: Box, answer: Future[str]) -> None:
        """Name the target by the tracker's service, by the topic where it has none."""
        message = detection_message(Detection2D().header, box)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        self._health.forget_problem()
        where = 'x={:.0f} y={:.0f} w={:.0f} h={:.0f}'.format(*box)
        if self._set_target is not None and self._set_target.service_is_ready():

            def done(future: Any) -> None:
                result = future.result()
                if answer.done():
                    return
                if result.success:
                    answer.set_result(f'target {result.id} at {where}')
                else:
                    answer.set_exception(ValueError(result.message))

            self._set_target.call_async(SetTarget.Request(target=message)).add_done_callback(done)
        elif self._init_boxes.get_subscription_count():
            self._init_boxes.publish(message)
            answer.set_result(f'box sent: {where}')
        else:
            topic = self._init_boxes.topic_name
            raise ValueError(f'nobody listens on {topic}: is the tracker active?')
        self.get_logger().info(f'target at {where}, stamp {stamp / 1e9:.3f}')

    def _call_reset(self, answer: Future[str]) -> None:
        if not self._reset.service_is_ready():
            raise ValueError(f'no tracker: nobody serves {self._reset.srv_name}')

        def done(future: Any) -> None:
            self._frames.forget_track()
            self._health.forget_track()
            if not answer.done():
                answer.set_result(str(future.result().message) or 'done')

        self._health.forget_problem()
        self._reset.call_async(Trigger.Request()).add_done_callback(done)

    def _call_by_id(self, service: str, target_id: str, answer: Future[str]) -> None:
        client = self._by_id.get(service)
        if client is None:
            raise ValueError('selecting a target needs the package hcat_ros_interfaces: build it')
        if not client.service_is_ready():
            raise ValueError(f'no tracker: nobody serves {client.srv_name}')

        def done(future: Any) -> None:
            result = future.result()
            if answer.done():
                return
            if result.success:
                done_to = 'is followed first' if service == 'select_primary' else 'dropped'
                answer.set_result(result.message or f'target {target_id} {done_to}')
            else:
                answer.set_exception(ValueError(result.message))

        client.call_async(NamedTarget.Request(id=target_id)).add_done_callback(done)

    def _subscribe(self, watched: bool) -> None:
        if watched == (self._images is not None):
            return
        if watched:
            self._health.expect_images(time.monotonic())
            self._images = self.create_subscription(
                CompressedImage if self._compressed else Image,
                self._image_topic,
                self._on_image,
                copy(IMAGE_QOS),
                qos_overriding_options=overridable(),
            )
        else:
            self.destroy_subscription(self._images)
            self._images = None
            self._frames.clear()
            self._health.expect_images(None)
            self.server.feed.show(None)

    # What comes over ROS

    def _on_image(self, message: Image | CompressedImage) -> None:
        now = time.monotonic()
        self._health.record_image(now)
        # Decoded when somebody wants the picture; until then its bytes stand for it.
        frame = StampedFrame(
            nanoseconds(message.header.stamp),
            message,
            np.frombuffer(message.data, np.uint8),
            '',
        )
        self._show(self._frames.add_frame(frame, now))

    def _on_track(self, message: Detection2D) -> None:
        now = time.monotonic()
        try:
            track = shown_track(message)
        except ValueError as error:
            self._refusals.add('refused tracks', f'track refused: {error}')
            return
        self._health.record_track(track.score is not None, now)
        if now >= self._several_until:
            self._show(self._frames.add_track(nanoseconds(message.header.stamp), track, now))

    def _on_tracks(self, message: Detection2DArray) -> None:
        """Show the tracks of all targets; that of a single one is shown as it comes."""
        now = time.monotonic()
        waited, self._several_until = now < self._several_until, 0.0
        if not message.detections or (len(message.detections) == 1 and not waited):
            return
        try:
            track, *others = map(shown_track, message.detections[: MOST_OTHERS + 1])
        except ValueError as error:
            self._refusals.add('refused tracks', f'tracks refused: {error}')
            return
        if others:
            self._several_until = now + SEVERAL
        stamp = nanoseconds(message.header.stamp)
        self._show(self._frames.add_track(stamp, track, now, tuple(others)))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            self._health.record_report(status.name, status.message, values)

    def _show(self, paired: PairedFrame | None) -> None:
        if paired is None or self._images is None:
            return
        read = partial(self._read, paired.frame.header)
        self.server.feed.show(View(paired.frame.stamp, read, paired.track, paired.others))

    def _read(self, message: Image | CompressedImage) -> tuple[Pixels, str]:
        if isinstance(message, CompressedImage):
            return decoded_image(message, self._max_image_pixels)
        return image_view(message, self._mono16_bits)

    def _look(self) -> None:
        state, detail = self._health.state(
            time.monotonic(),
            self._reset.service_is_ready(),
            self._image_topic,
            self.count_publishers(self._image_topic) > 0,
        )
        self.server.feed.tell(Status(state, detail, self._health.problem))


def shown_track(message: Detection2D) -> ShownTrack:
    """Return a track as the page draws it. Raises ValueError for what cannot be drawn."""
    check_detection(message)
    box, stamp = box_of(message), nanoseconds(message.header.stamp)
    if not all(map(math.isfinite, box)) or stamp < 0:
        raise ValueError(f'box {tuple(box)} at stamp {stamp}: expected finite numbers')
    class_id, score = best_class(message)
    score = score if math.isfinite(score) else 0.0
    return ShownTrack(box, message.id, class_id, score if message.results else None)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node, the executable `select_page`. Returns 1 if the page cannot be served."""
    try:
        return run_node(SelectPage, args)
    except (ValueError, OSError, RuntimeError) as error:
        print(f'select_page: {error}', file=sys.stderr)
        return 1


if __name__ == '__main__':
    sys.exit(main())
