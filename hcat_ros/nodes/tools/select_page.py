# SPDX-License-Identifier: Apache-2.0
"""Node that serves the web page on which an operator names the target."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from copy import copy
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2D, Detection2DArray

from hcat_ros.boxes import Box
from hcat_ros.files.pictures import MAX_IMAGE_PIXELS
from hcat_ros.message_data import best_class, box_of, decoded_image, image_view, nanoseconds
from hcat_ros.nodes.diagnostics import Refusals
from hcat_ros.nodes.lifecycle import run_node
from hcat_ros.nodes.message_bounds import check_detection, check_image
from hcat_ros.nodes.parameter_overrides import warn_of_useless_overrides
from hcat_ros.nodes.parameters import Setting, Settings
from hcat_ros.nodes.qos import IMAGE_QOS, RELIABLE_QOS, overridable
from hcat_ros.nodes.tools.paired_frames import PairedFrame, PairedFrames
from hcat_ros.nodes.tools.tracker_health import TrackerHealth
from hcat_ros.nodes.tools.tracker_requests import TrackerRequests
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
        "Bits of a mono16 pixel that the sensor fills, as in the tracker's mono16_bits.",
        8,
        16,
    ),
    Setting(
        'max_image_pixels',
        int,
        MAX_IMAGE_PIXELS,
        'Largest compressed image that is decoded, in pixels by its header.',
        1,
        10**9,
    ),
    Setting('host', str, '127.0.0.1', 'Address to serve on; 0.0.0.0 is every interface.'),
    Setting('port', int, 8321, 'TCP port to serve on, 0 for any free one.', 0, 65535),
    Setting('max_width', int, 960, 'Largest width of the pictures sent, pixels.', 16, 8192),
    Setting('jpeg_quality', int, 70, 'JPEG quality of the pictures sent.', 1, 100),
    Setting('rate', float, 15.0, 'Most pictures per second for each client.', 0.1, 120),
)
TOKEN_VARIABLE = 'HCAT_SELECT_TOKEN'
"""Environment variable with the token; a parameter could be read by everybody on the network."""
BUFFER_BYTES = 24 * 1024 * 1024
"""Bytes for the frames that wait for their tracks: 4 of 1920x1080."""
MOST_OTHERS = 64
"""Most targets that are shown besides the primary one."""
SEVERAL = 1.0
"""Seconds after a `tracks` message with several targets for which `track` is not shown alone."""
STATUS_PERIOD = 0.2
"""Seconds between two updates of the status that the page shows."""


class SelectPage(Node):
    """Shows `image`, `track` and `tracks` on a web page; names, selects and drops targets.

    Targets are named with the tracker's service ~/set_target, or on `init_box` if it is missing.

    The node subscribes to images only while a client is connected. Raises ValueError, OSError or
    RuntimeError if the page cannot be served.
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
        self._requests = TrackerRequests(self, values['tracker'])
        self._health = TrackerHealth(self._requests.tracker)
        self._several_until = 0.0
        """Monotonic time until which `track` is not shown alone, because `tracks` has it too."""
        for kind, topic, callback in (
            (Detection2D, 'track', self._on_track),
            (Detection2DArray, 'tracks', self._on_tracks),
        ):
            options = overridable()
            self.create_subscription(
                kind, topic, callback, copy(RELIABLE_QOS), qos_overriding_options=options
            )
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        # A steady clock, because simulated time may stand still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(STATUS_PERIOD, self._update_status, clock=steady)
        self.server = self._serve(self._requests.tracker, values)
        # Printed, not logged: /rosout would send the token to everybody on the network.
        try:
            print(f'select_page: open {self.server.url}', flush=True)
        except OSError as error:  # stdout is closed or its disk is full
            self.get_logger().warning(f'cannot print the address of the page: {error}')

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
        """Disconnect the clients, then destroy the node."""
        server = getattr(self, 'server', None)
        if server is not None:
            server.close()
        super().destroy_node()

    @property
    def _image_topic(self) -> str:
        return str(self.resolve_topic_name('image')) + ('/compressed' if self._compressed else '')

    # Requests of the page, on the server's thread

    def name_target(self, stamp: int, box: Box) -> Future[str]:
        """Name the target in a box that was drawn on the frame with this stamp."""
        self._health.forget_problem()
        return self._requests.name_target(stamp, box)

    def reset(self) -> Future[str]:
        """Drop all targets with the tracker's service ~/reset."""
        self._health.forget_problem()
        answer = self._requests.reset()
        answer.add_done_callback(self._forget_track)
        return answer

    def _forget_track(self, answer: Future[str]) -> None:
        if not answer.cancelled() and answer.exception() is None:
            self._frames.forget_track()
            self._health.forget_track()

    def select_primary(self, target_id: str) -> Future[str]:
        """Make the target with this id the primary one."""
        return self._requests.select_primary(target_id)

    def drop(self, target_id: str) -> Future[str]:
        """Drop the target with this id."""
        return self._requests.drop(target_id)

    def watch(self, watched: bool) -> None:
        """Subscribe to the images while somebody watches, unsubscribe otherwise."""
        self._requests.run(lambda: self._subscribe(watched))

    # On the executor's thread

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

    # ROS callbacks

    def _on_image(self, message: Image | CompressedImage) -> None:
        now = time.monotonic()
        try:
            check_image(message)
        except ValueError as error:
            self._refusals.add('refused images', f'image refused: {error}')
            return
        self._health.record_image(now)
        # The message is decoded when a client asks; the buffer needs only the size of its bytes.
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
        """Show several tracks. `_on_track` shows a single one, unless others have just ended."""
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

    def _update_status(self) -> None:
        state, detail = self._health.state(
            time.monotonic(),
            self._requests.is_there,
            self._image_topic,
            self.count_publishers(self._image_topic) > 0,
        )
        self.server.feed.tell(Status(state, detail, self._health.problem))


def shown_track(message: Detection2D) -> ShownTrack:
    """Return a track as the page draws it. Raises ValueError if it cannot be drawn."""
    check_detection(message)
    box, stamp = box_of(message), nanoseconds(message.header.stamp)
    if not all(map(math.isfinite, box)) or stamp < 0:
        raise ValueError(
            f'box {tuple(box)} at stamp {stamp} ns: expected finite numbers and a stamp from 0 up'
        )
    class_id, score = best_class(message)
    score = score if math.isfinite(score) else 0.0
    return ShownTrack(box, message.id, class_id, score if message.results else None)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node, the executable `select_page`. Returns 1 if the page cannot be served."""
    return run_node(SelectPage, args)


if __name__ == '__main__':
    sys.exit(main())
