# SPDX-License-Identifier: Apache-2.0
"""Publishers of the tracker: tracks, the size of the images, and images with drawn tracks."""

from __future__ import annotations

from copy import copy
from typing import Any

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, Image
from vision_msgs.msg import Detection2D, Detection2DArray

from hcat_ros.drawing import draw_track
from hcat_ros.nodes.detections import track_message
from hcat_ros.nodes.images import image_message
from hcat_ros.nodes.qos import DRAWN_QOS, LATCHED_QOS, RELIABLE_QOS, overridable
from hcat_ros.tracking.encodings import to_bgr
from hcat_ros.tracking.session import TrackedFrame
from hcat_ros.tracking.stream import CameraView


def view_topic(node: Any) -> str:
    """Return the topic of the images' size: a node's `track`, after remapping, and `_view`."""
    return f'{node.resolve_topic_name("track")}_view'


class TrackerOutput:
    """The publishers of a configured tracker node; they are silent unless it is active."""

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        options = overridable()
        self._tracks = node.create_lifecycle_publisher(
            Detection2D, 'track', copy(RELIABLE_QOS), qos_overriding_options=options
        )
        self._all = node.create_lifecycle_publisher(
            Detection2DArray, 'tracks', copy(RELIABLE_QOS), qos_overriding_options=options
        )
        self._pictures = node.create_lifecycle_publisher(
            Image, 'track_image', copy(DRAWN_QOS), qos_overriding_options=options
        )
        # vision_msgs has no field for the size of the image that a box is in.
        self._views = node.create_lifecycle_publisher(
            CameraInfo, view_topic(node), copy(LATCHED_QOS)
        )
        self._view: CameraView | None = None

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in (self._tracks, self._all, self._pictures, self._views):
            self._node.destroy_lifecycle_publisher(publisher)

    def view(self, view: CameraView | None, header: Any) -> None:
        """Publish the size and the frame of the images if they have changed."""
        if view is not None and view != self._view:
            self._views.publish(CameraInfo(header=header, height=view.height, width=view.width))
        self._view = view

    def track(self, tracked: TrackedFrame) -> None:
        """Publish a track, and the image with the track if it has subscribers."""
        frame, track, target_id, class_id, others, _ = tracked
        primary = track_message(frame.header, track, target_id, class_id)
        self._tracks.publish(primary)
        if self._all.get_subscription_count():
            named = [
                track_message(frame.header, one.track, one.target_id, one.class_id)
                for one in others
            ]
            detections = [primary, *named] if track is not None else []
            self._all.publish(Detection2DArray(header=frame.header, detections=detections))
        if not self._pictures.get_subscription_count():
            return
        picture = to_bgr(frame.image, frame.encoding)
        if track is not None:
            if picture is frame.image:
                picture = picture.copy()
            for other in others:
                draw_track(picture, other.track, name=other.target_id)
            draw_track(picture, track, name=target_id if others else '')
        drawn = image_message(picture, 'bgr8')
        drawn.header = frame.header
        self._pictures.publish(drawn)
