# SPDX-License-Identifier: Apache-2.0
"""Sends an operator's requests to a tracker: to name, select and drop targets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from copy import copy
from typing import Any

from rclpy.node import Node
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2D

try:
    from hcat_ros_interfaces.srv import NamedTarget, SetTarget
except ImportError:  # a separate package, which is optional
    NamedTarget = SetTarget = None

from hcat_ros.boxes import Box
from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.qos import RELIABLE_QOS, overridable


class TrackerRequests:
    """Calls the services of a tracker; without `~/set_target` a box goes to `init_box`.

    The methods may be called on any thread. The node's executor completes their futures with a
    line for the operator, or with a ValueError that has the reason if the request fails.
    """

    def __init__(self, node: Node, tracker: str) -> None:
        """Create the clients. tracker: name of its node, in this namespace or full."""
        self._node = node
        self.tracker = node.resolve_service_name(f'{tracker}/reset').removesuffix('/reset')
        """Full name of the tracker's node."""
        self._reset = node.create_client(Trigger, f'{self.tracker}/reset')
        self._set_target: Any = None
        self._by_id: dict[str, Any] = {}
        if SetTarget is not None:
            self._set_target = node.create_client(SetTarget, f'{self.tracker}/set_target')
            self._by_id = {
                name: node.create_client(NamedTarget, f'{self.tracker}/{name}')
                for name in ('select_primary', 'drop')
            }
        self._init_boxes = node.create_publisher(
            Detection2D, 'init_box', copy(RELIABLE_QOS), qos_overriding_options=overridable()
        )
        self._waiting: deque[Callable[[], None]] = deque()
        self._wake = node.create_guard_condition(self._run_waiting)

    @property
    def is_there(self) -> bool:
        """Whether the tracker is in ROS's graph."""
        return bool(self._reset.service_is_ready())

    @property
    def has_listener(self) -> bool:
        """Whether anybody listens on `init_box`."""
        return self._init_boxes.get_subscription_count() > 0

    def name_target(self, stamp: int, box: Box) -> Future[str]:
        """Name a target by its box, in pixels.

        stamp: stamp of the image that the box was drawn on, ns; 0 for the newest image.
        """
        return self._later(lambda answer: self._send_box(stamp, box, answer))

    def reset(self) -> Future[str]:
        """Drop all targets."""

        def call(answer: Future[str]) -> None:
            self._call(self._reset, Trigger.Request(), answer, lambda response: response.message)

        return self._later(call)

    def select_primary(self, target_id: str) -> Future[str]:
        """Make the target with this id the primary one."""
        done = f'target {target_id} is the primary one now'
        return self._call_by_id('select_primary', target_id, done)

    def drop(self, target_id: str) -> Future[str]:
        """Drop the target with this id; the tracker keeps the others."""
        return self._call_by_id('drop', target_id, f'target {target_id} dropped')

    def run(self, action: Callable[[], None]) -> None:
        """Run an action on the executor's thread; its errors are logged."""
        self._later(lambda answer: action())

    def _later(self, action: Callable[[Future[str]], None]) -> Future[str]:
        answer: Future[str] = Future()

        def act() -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    action(answer)
                except ValueError as error:
                    answer.set_exception(error)
                except Exception as error:
                    self._node.get_logger().error(f'error in a request to the tracker: {error}')
                    answer.set_exception(ValueError(str(error)))

        self._waiting.append(act)
        self._wake.trigger()
        return answer

    def _run_waiting(self) -> None:
        while self._waiting:
            self._waiting.popleft()()

    # On the executor's thread

    def _send_box(self, stamp: int, box: Box, answer: Future[str]) -> None:
        message = detection_message(Detection2D().header, box)
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        where = 'x={:.0f} y={:.0f} w={:.0f} h={:.0f}'.format(*box)
        self._node.get_logger().info(f'target at {where}, stamp {stamp / 1e9:.3f}')
        if self._set_target is not None and self._set_target.service_is_ready():
            request = SetTarget.Request(target=message)
            self._call(
                self._set_target, request, answer, lambda named: f'target {named.id} at {where}'
            )
        elif self.has_listener:
            self._init_boxes.publish(message)
            answer.set_result(f'box sent: {where}')
        else:
            topic = self._init_boxes.topic_name
            raise ValueError(f'nobody listens on {topic}: is the tracker active?')

    def _call_by_id(self, service: str, target_id: str, done: str) -> Future[str]:
        def call(answer: Future[str]) -> None:
            if service not in self._by_id:
                raise ValueError(
                    'requests by target id need the package hcat_ros_interfaces: build it'
                )
            request = NamedTarget.Request(id=target_id)
            self._call(self._by_id[service], request, answer, lambda response: done)

        return self._later(call)

    def _call(
        self, client: Any, request: Any, answer: Future[str], text: Callable[[Any], str]
    ) -> None:
        """Call a service; `text` turns its response into the line for the operator."""
        if not client.service_is_ready():
            raise ValueError(f'no tracker: nobody serves {client.srv_name}')

        def done(future: Any) -> None:
            response = future.result()
            if answer.done():
                return
            if response.success or client is self._reset:  # at worst there was nothing to drop
                answer.set_result(text(response) or 'done')
            else:
                answer.set_exception(ValueError(response.message))

        client.call_async(request).add_done_callback(done)
