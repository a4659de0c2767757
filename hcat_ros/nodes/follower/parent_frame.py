# SPDX-License-Identifier: Apache-2.0
"""Poses in a frame that navigation plans in, by tf2, each where the frames were at its stamp."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from geometry_msgs.msg import PoseStamped, Quaternion, TransformStamped
from numpy.typing import NDArray
from rclpy.time import Time

from hcat_ros.nodes.lifecycle import GuardedLifecycleNode

MOST_WAITING = 64
"""Poses that wait at most; the oldest one goes."""
LOOK_PERIOD = 0.01
"""Seconds between two looks for transforms."""


class _Waiting(NamedTuple):
    pose: PoseStamped
    until: float
    """Monotonic."""


class ParentFrame:
    """Transforms poses into one frame, each by where the frames were at its stamp.

    A pose whose transform is not there yet waits; poses come out in their order. One that has
    waited in vain is refused with tf2's own reason.
    """

    def __init__(
        self,
        node: GuardedLifecycleNode,
        frame: str,
        timeout: float,
        publish: Callable[[PoseStamped], None],
        refuse: Callable[[str], None],
    ) -> None:
        """Listen to /tf and /tf_static.

        Args:
            node: subscribes, and looks for transforms in its executor.
            frame: that poses are wanted in, as odom.
            timeout: seconds that a pose waits.
            publish: takes each pose in that frame.
            refuse: takes the reason why a pose has none.

        Raises:
            ValueError: where tf2_ros is not installed, naming the package.

        """
        try:
            import tf2_ros
        except ImportError as error:
            raise ValueError(
                f'target_frame_parent {frame}: looking up transforms needs tf2_ros ({error}): '
                'apt install ros-$ROS_DISTRO-tf2-ros-py, or leave it empty'
            ) from None
        self._frame, self._timeout = frame.strip('/'), timeout
        self._publish, self._refuse = publish, refuse
        self._no_transform = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer(node=node)
        self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)
        self._waiting: deque[_Waiting] = deque(maxlen=MOST_WAITING)
        self._node = node
        self._timer = node.steady_timer(LOOK_PERIOD, self.look)

    def add(self, pose: PoseStamped) -> None:
        """Take a pose in the camera's frame."""
        self._waiting.append(_Waiting(pose, time.monotonic() + self._timeout))
        self.look()

    def look(self) -> None:
        """Publish the poses whose transforms are there, refuse those that have waited in vain."""
        while self._waiting:
            pose, until = self._waiting[0]
            try:
                transform = self._buffer.lookup_transform(
                    self._frame, pose.header.frame_id, Time.from_msg(pose.header.stamp)
                )
            except self._no_transform as error:
                if time.monotonic() < until:
                    return
                self._waiting.popleft()
                self._refuse(f'no transform within {self._timeout:g} s: {error}')
                continue
            self._waiting.popleft()
            self._publish(transform_pose(pose, transform))

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

    def destroy(self) -> None:
        """Listen no more.

        tf2's buffer stays on the node for good otherwise: it has no end of its own for its service
        tf2_frames and, since Jazzy, for its callback for jumps of the clock.
        """
        self.clear()
        self._node.destroy_timer(self._timer)
        self._listener.unregister()
        if (service := getattr(self._buffer, 'srv', None)) is not None:
            self._node.destroy_service(service)
        if (handle := getattr(self._buffer, 'jump_handle', None)) is not None:
            handle.unregister()


def transform_pose(pose: PoseStamped, transform: TransformStamped) -> PoseStamped:
    """Return a pose in the frame of the transform's header, at its own stamp."""
    result = PoseStamped(header=transform.header)
    result.header.stamp = pose.header.stamp
    turn = _numbers(transform.transform.rotation)
    place, shift = pose.pose.position, transform.transform.translation
    x, y, z = _rotate(turn, np.array((place.x, place.y, place.z))).tolist()
    target = result.pose.position
    target.x, target.y, target.z = x + shift.x, y + shift.y, z + shift.z
    x, y, z, w = _product(turn, _numbers(pose.pose.orientation)).tolist()
    result.pose.orientation = Quaternion(x=x, y=y, z=z, w=w)
    return result


def _numbers(quaternion: Quaternion) -> NDArray[np.float64]:
    return np.array((quaternion.x, quaternion.y, quaternion.z, quaternion.w))


def _rotate(q: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    axis, w = q[:3], q[3]
    return np.asarray(v + 2 * np.cross(axis, np.cross(axis, v) + w * v))


def _product(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Hamilton's product of two quaternions (x, y, z, w)."""
    axis = a[3] * b[:3] + b[3] * a[:3] + np.cross(a[:3], b[:3])
    return np.append(axis, a[3] * b[3] - a[:3] @ b[:3])
