# SPDX-License-Identifier: Apache-2.0
"""Recorder of the topics while a target is followed."""

from __future__ import annotations

import bisect
import math
import os
import tempfile
import time
from typing import NamedTuple

import numpy as np
from follow_pictures import Moment
from geometry_msgs.msg import TwistStamped, Vector3Stamped
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2D

from hcat_ros.following import Command
from hcat_ros.message_data import best_class, box_of, nanoseconds
from hcat_ros.simulation import Pinhole, Pose, SceneTruth, SimFrame, TrueBearing
from hcat_ros.simulation.closed_loop import Sample
from hcat_ros.tracking import TargetState, Track

NOWHERE = Track(box_of(Detection2D()), 0.0, TargetState.LOST)
"""Placeholder before the first track."""
LINE_EVERY = 2.0
"""Time between two lines of output, s."""


class Pictures:
    """Pictures by stamp, in a file, because half a minute of pictures may not fit into memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, closed with this object
        self._places: dict[int, tuple[int, int, int]] = {}
        """Offset in the file, height and width of each image, by stamp."""

    def __contains__(self, stamp: int) -> bool:
        return stamp in self._places

    def add(self, message: Image) -> None:
        """Store a bgr8 image."""
        place = (self._file.seek(0, os.SEEK_END), message.height, message.width)
        self._file.write(message.data)
        self._places[nanoseconds(message.header.stamp)] = place

    def get(self, stamp: int) -> NDArray[np.uint8] | None:
        """Return the picture with a stamp, BGR, None if there is none."""
        if stamp not in self._places:
            return None
        offset, height, width = self._places[stamp]
        self._file.seek(offset)
        pixels = np.frombuffer(self._file.read(height * width * 3), np.uint8)
        return pixels.reshape(height, width, 3)


class Viewer(Node):
    """Records the messages on the topics, by stamp [ns]."""

    def __init__(self) -> None:
        super().__init__('demo_viewer')
        self.views, self.above = Pictures(), Pictures()
        self.tracks: dict[int, Track] = {}
        self.arrivals: dict[int, int] = {}
        """Time of arrival of each track, by stamp."""
        self.commands: dict[int, Command] = {}
        self.bearings: dict[int, TrueBearing] = {}
        self.truths: dict[int, Detection2D] = {}
        self._told = time.monotonic()
        for kind, topic, callback in (
            (Image, 'image', self.views.add),
            (Image, 'top_view', self.above.add),
            (Detection2D, 'track', self._on_track),
            (TwistStamped, 'cmd_vel', self._on_command),
            (Detection2D, 'truth', self._on_truth),
            (Vector3Stamped, 'truth_bearing', self._on_bearing),
        ):
            self.create_subscription(kind, topic, callback, QoSProfile(depth=20))

    def _on_track(self, message: Detection2D) -> None:
        stamp = nanoseconds(message.header.stamp)
        self.arrivals[stamp] = self.get_clock().now().nanoseconds
        state = TargetState.TRACKING if message.results else TargetState.LOST
        self.tracks[stamp] = Track(box_of(message), best_class(message)[1], state)

    def _on_command(self, message: TwistStamped) -> None:
        linear, angular = message.twist.linear, message.twist.angular
        self.commands[nanoseconds(message.header.stamp)] = Command(
            linear.x, linear.y, linear.z, angular.z, angular.y
        )

    def _on_truth(self, message: Detection2D) -> None:
        self.truths[nanoseconds(message.header.stamp)] = message

    def _on_bearing(self, message: Vector3Stamped) -> None:
        vector = message.vector
        bearing = TrueBearing(vector.x, vector.y, vector.z)
        self.bearings[nanoseconds(message.header.stamp)] = bearing
        if time.monotonic() - self._told > LINE_EVERY and self.tracks:
            self._told = time.monotonic()
            seconds = (max(self.bearings) - min(self.bearings)) / 1e9
            track = self.tracks[max(self.tracks)]
            said = 'lost' if track.state is TargetState.LOST else f'score {track.score:.2f}'
            print(
                f'{seconds:5.1f} s  target {math.degrees(bearing.azimuth):+6.1f} deg off, '
                f'{bearing.range:5.1f} m away  {said}',
                flush=True,
            )


class Recording(NamedTuple):
    """A recorded run, frame by frame."""

    stamps: list[int]
    samples: list[Sample]
    moments: list[Moment]
    latencies: NDArray[np.float64]
    """Times from the stamp of a frame to the first command after its track, s."""

    @property
    def fps(self) -> float:
        """Measured frames per second."""
        span = (self.stamps[-1] - self.stamps[0]) / 1e9
        return max(1.0, (len(self.stamps) - 1) / span) if span > 0 else 1.0


def in_frame(bearing: TrueBearing, lens: Pinhole) -> bool:
    """Return whether a direction is in the camera's field of view."""
    across, up = math.tan(bearing.azimuth), math.tan(bearing.elevation) / math.cos(bearing.azimuth)
    limits = lens.width / 2 / lens.focal, lens.height / 2 / lens.focal
    ahead = math.cos(bearing.azimuth) > 0
    return ahead and abs(across) <= limits[0] and abs(up) <= limits[1]


def recording(viewer: Viewer, lens: Pinhole) -> Recording:
    """Return the run that the viewer has recorded, in order."""
    stamps = sorted(set(viewer.truths) & set(viewer.bearings))
    tracked, commanded = sorted(viewer.tracks), sorted(viewer.commands)

    def last(times: list[int], stamp: int) -> int | None:
        place = bisect.bisect_right(times, stamp)
        return times[place - 1] if place else None

    samples, moments = [], []
    for stamp in stamps:
        of_track, of_command = last(tracked, stamp), last(commanded, stamp)
        track = None if of_track is None else viewer.tracks[of_track]
        command = None if of_command is None else viewer.commands[of_command]
        truth, bearing = viewer.truths[stamp], viewer.bearings[stamp]
        box = box_of(truth) if truth.results else None
        in_view = box is not None or in_frame(bearing, lens)
        shown = best_class(truth)[1] if truth.results else 0.0
        seconds = (stamp - stamps[0]) / 1e9
        so = SceneTruth(box, bearing, in_view, box is None and in_view, shown, Pose(*[0.0] * 5),
                   (0.0, 0.0, 0.0))  # fmt: skip
        empty = np.empty((0, 0, 3), np.uint8)
        samples.append(Sample(SimFrame(empty, so, seconds), track or NOWHERE, command or Command()))
        moments.append(Moment(seconds, track, command, bearing, box is not None, in_view))
    latencies = []
    for stamp, arrival in viewer.arrivals.items():
        place = bisect.bisect_left(commanded, arrival)
        if place < len(commanded):
            latencies.append((commanded[place] - stamp) / 1e9)
    return Recording(stamps, samples, moments, np.array(latencies))
