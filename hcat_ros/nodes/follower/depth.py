# SPDX-License-Identifier: Apache-2.0
"""Measures the target's distance in depth images, each matched with the track of its image."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from sensor_msgs.msg import CompressedImage, Image

from hcat_ros.boxes import Box
from hcat_ros.following import CameraModel, box_in_depth, depth_in_box
from hcat_ros.message_data import decoded_depth, depth_view, nanoseconds
from hcat_ros.nodes.message_bounds import check_image

MOST_TRACKS = 60
"""Number of recent tracks that a late depth image may belong to: two seconds at 30 fps."""
MOST_BYTES = 64 << 20
"""Maximum size in bytes of all depth images that wait for their track."""
SILENCE = 2.0
"""Seconds without a matching depth image before a problem is reported."""


class DepthTrack(NamedTuple):
    """The data of a track that are needed to measure its depth."""

    stamp: float
    """Seconds."""
    box: Box
    camera: CameraModel


class DepthInput:
    """Measures the target's distance where a depth image and a track have the same stamp.

    Either may arrive first. Waiting depth images stay undecoded, within `MOST_BYTES`.
    """

    def __init__(
        self,
        tolerance: float,
        on_distance: Callable[[float, float, float], None],
        refuse: Callable[[str, str], Any],
    ) -> None:
        """tolerance: seconds by which the stamps may differ.

        on_distance: called with stamp (s), distance and its deviation (m).
        """
        self.tolerance = tolerance
        self._on_distance = on_distance
        self._refuse = refuse
        self._images: deque[Image | CompressedImage] = deque()
        self._tracks: deque[DepthTrack] = deque(maxlen=MOST_TRACKS)
        self._nearest_miss = math.inf
        """Smallest difference of two stamps that did not match since the last match, seconds."""
        self._matched = time.monotonic()
        self._tracked = -math.inf
        """Time of the last track on a monotonic clock, seconds."""
        self._came = False
        self._refused = ''

    def add_image(self, message: Image | CompressedImage) -> None:
        """Take a depth image; measure the distance if its track has already arrived."""
        self._came = True
        try:
            check_image(message)
        except ValueError as error:
            self._refuse_image(error)
            return
        stamp = nanoseconds(message.header.stamp) / 1e9
        track = min(self._tracks, key=lambda one: abs(one.stamp - stamp), default=None)
        if track is not None and self._fits(track.stamp, stamp):
            self._tracks.remove(track)
            self._measure(message, track)
            return
        size = len(message.data)
        if size > MOST_BYTES:
            self._refuse_image(f'{size} bytes, at most {MOST_BYTES}')
            return
        self._images.append(message)
        while sum(len(image.data) for image in self._images) > MOST_BYTES:
            self._images.popleft()
        while len(self._images) > MOST_TRACKS:
            self._images.popleft()

    def add_track(self, track: DepthTrack) -> None:
        """Take a track; measure the distance if its depth image has already arrived."""
        self._tracked = time.monotonic()
        stamps = [nanoseconds(image.header.stamp) / 1e9 for image in self._images]
        nearest = min(range(len(stamps)), key=lambda n: abs(stamps[n] - track.stamp), default=None)
        if nearest is None or not self._fits(stamps[nearest], track.stamp):
            self._tracks.append(track)
            return
        image = self._images[nearest]
        for _ in range(nearest + 1):  # older images cannot match a later track
            self._images.popleft()
        self._measure(image, track)

    def problems(self, topic: str) -> list[str]:
        """Return why depth images give no distance, in words; empty while they give one."""
        now = time.monotonic()
        # Without tracks, the missing depth is not the problem.
        if now - self._matched < SILENCE or now - self._tracked > SILENCE / 2:
            return []
        if not self._came:
            return [f'{topic}: no depth image for {SILENCE:g} s']
        if self._refused:
            return [f'{topic}: {self._refused}']
        nearest = self._nearest_miss
        apart = f' (the nearest misses by {nearest:.3f} s)' if math.isfinite(nearest) else ''
        return [
            f"{topic}: no depth image has the stamp of a track's image{apart}: configure the "
            'camera to give both the same stamp, or raise depth_tolerance'
        ]

    def _fits(self, one: float, other: float) -> bool:
        difference = abs(one - other)
        fits = difference <= self.tolerance
        self._nearest_miss = math.inf if fits else min(self._nearest_miss, difference)
        return fits

    def _measure(self, message: Image | CompressedImage, track: DepthTrack) -> None:
        box, camera = track.box, track.camera
        try:
            compressed = isinstance(message, CompressedImage)
            view = decoded_depth(message) if compressed else depth_view(message)
            height, width = view.pixels.shape
            place = box_in_depth(box, (camera.width, camera.height), (width, height))
            found = depth_in_box(view.pixels, place, view.metres)
        except ValueError as error:
            self._refuse_image(error)
            return
        self._refused, self._matched = '', time.monotonic()
        # Depth is measured along the optical axis; a target beside the axis is farther away.
        scale = camera.distance(box.cx, box.cy, 1.0)
        self._on_distance(track.stamp, scale * found.depth, scale * found.deviation)

    def _refuse_image(self, reason: object) -> None:
        self._refused = str(reason)
        self._refuse('refused depths', f'depth refused: {reason}')
