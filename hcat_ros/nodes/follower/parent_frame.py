# SPDX-License-Identifier: Apache-2.0
"""Transforms target poses with tf2 into a frame that navigation plans in, such as odom."""

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
"""Maximum number of waiting poses; the oldest is dropped first."""
LOOK_PERIOD = 0.01
"""Seconds between two lookups of transforms."""


class _Waiting(NamedTuple):
    pose: PoseStamped
    until: float
    """Time on a monotonic clock after which the pose is refused, seconds."""


class ParentFrame:
    """Transforms poses into one frame, each with the transform at its stamp.

    A pose waits until its transform is available; the order of poses is kept. A pose that has
    waited for longer than the timeout is refused with tf2's own reason.
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
            node: node that subscribes and whose executor runs the lookups.
            frame: frame to transform poses into, such as odom.
            timeout: seconds that a pose waits.
            publish: takes each transformed pose.
            refuse: takes the reason why a pose has no transform.

        Raises:
            ValueError: if tf2_ros is not installed; names the package.

        """
        try:
            import tf2_ros
        except ImportError as error:
            raise ValueError(
                f'target_frame_parent {frame}: looking up transforms needs tf2_ros ({error}): '
                'apt install ros-$ROS_DISTRO-tf2-ros-py, or leave target_frame_parent empty'
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
        """Publish the poses that have a transform; refuse the poses that have waited too long."""
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
            with np.errstate(over='ignore', invalid='ignore'):
                result = transform_pose(pose, transform)
            if _is_finite(result):
                self._publish(result)
            else:  # tf2 itself refuses NaN only
                self._refuse(f'the transform to {self._frame} is not finite')

    def clear(self) -> None:
        """Drop the waiting poses."""
        self._waiting.clear()

    def destroy(self) -> None:
        """Stop listening.

        tf2's buffer would otherwise stay on the node: it has no method that removes its service
        tf2_frames and, since Jazzy, its callback for clock jumps.
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


def _is_finite(pose: PoseStamped) -> bool:
    """Return whether all numbers of a pose are finite."""
    place = pose.pose.position
    numbers = (place.x, place.y, place.z, *_numbers(pose.pose.orientation))
    return bool(np.isfinite(numbers).all())


def _numbers(quaternion: Quaternion) -> NDArray[np.float64]:
    return np.array((quaternion.x, quaternion.y, quaternion.z, quaternion.w))


def _rotate(q: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    axis, w = q[:3], q[3]
    return np.asarray(v + 2 * np.cross(axis, np.cross(axis, v) + w * v))


def _product(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Hamilton's product of two quaternions (x, y, z, w)."""
    axis = a[3] * b[:3] + b[3] * a[:3] + np.cross(a[:3], b[:3])
    return np.append(axis, a[3] * b[3] - a[:3] @ b[:3])
