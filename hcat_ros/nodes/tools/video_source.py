# SPDX-License-Identifier: Apache-2.0
"""Publishes a video file, an image folder or a camera as images at its real rate."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from vision_msgs.msg import Detection2D

from hcat_ros.boxes import Box
from hcat_ros.executables import INCOMPLETE
from hcat_ros.following.camera import NARROWEST_FOV, WIDEST_FOV
from hcat_ros.frames import Frame, FrameSource
from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.images import compressed_message, image_message
from hcat_ros.nodes.lifecycle import run_node
from hcat_ros.nodes.message_bounds import LONGEST_NAME
from hcat_ros.nodes.parameter_overrides import warn_of_useless_overrides
from hcat_ros.nodes.parameters import Setting, Settings
from hcat_ros.nodes.tools.calibration import camera_info_of, read_calibration
from hcat_ros.simulation.camera import Pinhole

SETTINGS = (
    Setting('source', str, '', 'Video file, image folder, camera number or device.'),
    Setting('fps', float, 0.0, "Frames per second; 0: the source's own rate.", 0, 1000),
    Setting('start', int, 0, 'First frame to publish of a file or folder.', 0, 10_000_000),
    Setting('count', int, 0, 'Number of frames to publish; 0: all.', 0, 10_000_000),
    Setting('loop', bool, False, 'Start again at the end of a file or folder.'),
    Setting(
        'image_transport', str, 'raw', 'Type of the image topic.', choices=('raw', 'compressed')
    ),
    Setting('encoding', str, 'bgr8', 'Encoding of raw images.', choices=('bgr8', 'rgb8', 'mono8')),
    Setting('jpeg_quality', int, 90, 'JPEG quality of compressed images.', 1, 100),
    Setting('frame_id', str, 'camera', 'Frame id in the headers.', longest=LONGEST_NAME),
    Setting(
        'horizontal_fov',
        float,
        0.0,
        'Field of view of the camera from side to side [rad], published as camera_info; 0: none.',
        0,
        WIDEST_FOV,
        least=NARROWEST_FOV,
    ),
    Setting(
        'calibration',
        str,
        '',
        'Calibration file of camera_calibration, published as camera_info.',
    ),
    Setting('init_box', list, None, 'Box to send to init_box with the first frame: x, y, w, h.'),
    Setting('subscribers', int, 1, 'Number of image subscribers to wait for.', 0, 100),
    Setting(
        'wait',
        float,
        30.0,
        'Seconds to wait for subscribers before the first frame; 0: do not wait.',
        0,
        3600,
    ),
)
SETTLE = 0.5
"""Seconds between discovering the subscribers and the first frame: they discover us later."""
_FROM_BGR = {'rgb8': cv2.COLOR_BGR2RGB, 'mono8': cv2.COLOR_BGR2GRAY}


class VideoSource(Node):
    """Publishes `image` (or `image/compressed`) and once `init_box`; ends with the source.

    With a calibration or a field of view it publishes `camera_info` with each image.

    Stamps are the time of publication. `exit_code` is 1 if the source fails before its end, and 3
    (`INCOMPLETE`) if frames could not be read.

    Raises ValueError or OSError if the source cannot be opened.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('video_source', **kwargs)
        self._values = values = Settings(self, SETTINGS).values()
        self.exit_code = 0
        warn_of_useless_overrides(self)
        if not values['source']:
            raise ValueError('parameter source is empty: name a video file, image folder or camera')
        self._box: Box | None = None
        if values['init_box']:
            if len(values['init_box']) != 4:
                raise ValueError(f'init_box {values["init_box"]}: expected x, y, w, h in pixels')
            self._box = Box(*values['init_box'])
        self._source = FrameSource(
            values['source'], values['fps'], values['start'], values['count']
        )
        compressed = values['image_transport'] == 'compressed'
        self._images = self.create_publisher(
            CompressedImage if compressed else Image,
            self.resolve_topic_name('image') + ('/compressed' if compressed else ''),
            # Reliable publishers serve reliable and best-effort subscribers.
            QoSProfile(depth=2),
        )
        self._info: CameraInfo | None = None
        if values['calibration']:
            self._info = read_calibration(Path(values['calibration']).expanduser())
        self._infos: Any = None
        if values['calibration'] or values['horizontal_fov']:
            self._infos = self.create_publisher(CameraInfo, 'camera_info', QoSProfile(depth=2))
        self._init_boxes = self.create_publisher(Detection2D, 'init_box', QoSProfile(depth=1))
        self._frames: Iterator[Frame] = iter(self._source)
        # Read before the clock starts, because seeking a late first frame takes a while.
        self._next = next(self._frames, None)
        self._published = 0
        self._told: set[str] = set()
        self._shift = 0.0
        """Duration of the rounds that a looping source has completed, s."""
        self._began = self._subscribed = time.monotonic()
        # Timers on the system clock would pause after that clock is set back.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(0.05, self._wait, clock=self._steady)

    def _wait(self) -> None:
        """Start to publish once the subscribers are there, or the wait is over."""
        now = time.monotonic()
        limit = self._values['wait']
        listening = self._images.get_subscription_count() >= self._values['subscribers'] and (
            self._box is None or self._init_boxes.get_subscription_count() > 0
        )
        if not listening:
            self._subscribed = now
            if now - self._began < limit:
                return
        elif limit > 0 and now - self._subscribed < SETTLE:
            return
        if not listening and limit > 0:
            self.get_logger().warning(
                f'only {self._images.get_subscription_count()} subscribers of images within '
                f'{limit:g} s; publishing anyway'
            )
        self._timer.cancel()
        self.destroy_timer(self._timer)
        self._began = now
        # A camera sets the pace itself: read again as soon as it has answered.
        self._timer = self.create_timer(0.0, self._publish, clock=self._steady)

    def _publish(self) -> None:
        frame = self._next
        if frame is None:
            self._finish()
            return
        image = frame.image
        if self._values['image_transport'] == 'compressed':
            message: Any = compressed_message(image, self._values['jpeg_quality'])
        else:
            encoding = self._values['encoding']
            if encoding in _FROM_BGR:
                image = np.asarray(cv2.cvtColor(image, _FROM_BGR[encoding]), np.uint8)
            message = image_message(image, encoding)
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = self._values['frame_id']
        self._images.publish(message)
        if self._infos is not None:
            self._publish_info(message.header, frame.image)
        if self._published == 0 and self._box is not None:
            self._init_boxes.publish(detection_message(message.header, self._box))
        self._published += 1
        try:
            self._next = self._read(frame)
        except (OSError, ValueError) as error:
            self._fail(f'{self._values["source"]} cannot be read again: {error}')
        if self._next is not None and not self._source.is_camera:
            # Each frame has its own time, because the rate may vary.
            wait = self._began + self._shift + self._next.time - time.monotonic()
            self._timer.timer_period_ns = max(1, round(1e9 * wait))
            self._timer.reset()

    def _read(self, frame: Frame) -> Frame | None:
        """Return the frame after this one; None at the end of a source that does not loop."""
        following = next(self._frames, None)
        if following is None and self._values['loop']:
            self._tell_remarks()
            self._shift += frame.time + 1.0 / self._source.fps
            self._frames = iter(self._source)
            following = next(self._frames, None)
        return following

    def _publish_info(self, header: Any, image: NDArray[np.uint8]) -> None:
        height, width = image.shape[:2]
        if self._info is None:
            self._info = camera_info_of(Pinhole(width, height, self._values['horizontal_fov']))
        if (self._info.width, self._info.height) != (width, height) and self._published == 0:
            self.get_logger().warning(
                f'{self._values["calibration"]} is for images of {self._info.width}x'
                f'{self._info.height}, these are {width}x{height}'
            )
        self._info.header = header
        self._infos.publish(self._info)

    def _finish(self) -> None:
        seconds = time.monotonic() - self._began
        self._tell_remarks()
        if self._source.is_camera and not 0 < self._values['count'] <= self._published:
            self._fail(f'camera {self._values["source"]} sends no more images')
        self.get_logger().info(
            f'{self._published} frames in {seconds:.1f} s, '
            f'{self._published / max(seconds, 1e-9):.1f} a second'
        )
        self._timer.cancel()
        self._source.close()
        # Reliable subscribers may still be fetching the last frame.
        time.sleep(SETTLE)
        self.context.try_shutdown()

    def _tell_remarks(self) -> None:
        """Log the frames that the last round could not read, unless the round before said so."""
        for remark in self._source.remarks:
            if remark not in self._told:
                self._told.add(remark)
                self.get_logger().warning(f'{self._values["source"]}: {remark}')
            self.exit_code = max(self.exit_code, INCOMPLETE)

    def _fail(self, reason: str) -> None:
        """Log why the source failed, and end with the exit code 1."""
        self.get_logger().error(reason)
        self._next, self.exit_code = None, 1


def main(args: Sequence[str] | None = None) -> int:
    """Run the source, the executable `video_source`.

    Returns 1 if it cannot be opened, otherwise the `exit_code` of the node.
    """
    return run_node(VideoSource, args)


if __name__ == '__main__':
    sys.exit(main())
