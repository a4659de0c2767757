# SPDX-License-Identifier: Apache-2.0
"""Converts the tracker node's images to frames and decides which of them are tracked."""

from __future__ import annotations

import time

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from hcat_ros.message_data import decoded_image, image_view, nanoseconds
from hcat_ros.nodes.input_watch import InputWatch
from hcat_ros.nodes.message_bounds import check_image
from hcat_ros.nodes.parameters import Settings
from hcat_ros.tracking.frame_buffer import StampedFrame
from hcat_ros.tracking.frozen import FrozenImages
from hcat_ros.tracking.session import Refuse
from hcat_ros.tracking.stream import CameraView, ImageStream, Turn


class ImageInput:
    """The images of one activation; `refuse` gets the reason why an image is not tracked."""

    def __init__(self, node: Node, settings: Settings, refuse: Refuse, watch: InputWatch) -> None:
        self._node = node
        self._settings = settings
        self._refuse = refuse
        self._watch = watch
        self._stream = ImageStream()
        self._frozen = FrozenImages()
        self.frozen_for = 0.0
        """Seconds for which the images have been the same, 0 if shorter than frozen_timeout."""
        self.type = CompressedImage if _compressed(settings) else Image
        self.topic = image_topic(node, settings)

    @property
    def view(self) -> CameraView | None:
        """Size and frame of the tracked images, None before the first image."""
        return self._stream.view

    def age(self, frame: StampedFrame) -> float:
        """Return the seconds since the frame's stamp, in simulated time if the node uses it."""
        return float(self._node.get_clock().now().nanoseconds - frame.stamp) / 1e9

    def frame(self, message: Image | CompressedImage) -> StampedFrame | None:
        """Return a message as a frame, None if it cannot be read."""
        try:
            check_image(message)
            if isinstance(message, CompressedImage):
                pixels, encoding = decoded_image(message, self._settings['max_image_pixels'])
            else:
                pixels, encoding = image_view(message, self._settings['mono16_bits'])
        except ValueError as error:
            self._refuse('refused images', f'image refused: {error}')
            return None
        return StampedFrame(nanoseconds(message.header.stamp), message.header, pixels, encoding)

    def turn(self, frame: StampedFrame) -> Turn:
        """Return how to handle the next frame; report the reason unless tracking just goes on."""
        limit = self._settings['max_age']
        if 0 < limit < self.age(frame):
            reason = f'image not tracked: older on arrival than max_age, {limit:g} s'
            self._refuse('old images', reason)
            return Turn.LATE
        now = time.monotonic()
        turn, reason = self._stream.turn(frame, now)
        if turn.is_passed_over:
            kind = 'late images' if turn is Turn.LATE else 'images of another view'
            self._refuse(kind, reason)
            return turn
        if turn is not Turn.GOES_ON:
            then = 'starting anew without a target' if turn is Turn.BEGINS else 'tracking goes on'
            self._refuse('new beginnings', f'{self.topic}: {reason}; {then}')
        limit, seconds = self._settings['frozen_timeout'], self._frozen.seconds(frame.image, now)
        self.frozen_for = seconds if 0 < limit <= seconds else 0.0
        self._report_frozen()
        return turn

    def _report_frozen(self) -> None:
        if self.frozen_for:
            self._watch.tell(
                'frozen',
                f'{self.topic}: the same image for {self.frozen_for:.1f} s: is the camera frozen? '
                '(set frozen_timeout to 0 for a source that stands still)',
            )
        elif self._watch.settle('frozen'):
            self._node.get_logger().info(f'{self.topic}: the images change again')


def image_topic(node: Node, settings: Settings) -> str:
    """Return the full name of the node's image topic."""
    topic = str(node.resolve_topic_name('image'))
    return f'{topic}/compressed' if _compressed(settings) else topic


def _compressed(settings: Settings) -> bool:
    return bool(settings['image_transport'] == 'compressed')
