# SPDX-License-Identifier: Apache-2.0
"""Finds out why a node receives nothing and reports it in the log and the diagnostics."""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import copy
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, QoSProfile, qos_check_compatible

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

from hcat_ros.nodes.diagnostics import without_numbers
from hcat_ros.nodes.message_info import InfoCallback, with_info
from hcat_ros.nodes.qos import overridable
from hcat_ros.tracking.session import TrackingSession

PARAMETERS = 'parameters'
"""Subject of parameter problems, which survive changes of the lifecycle state."""
CLOCK = '/clock'
SILENCE = 2.0
"""Seconds without an image before a problem is reported."""


class InputWatch:
    """Creates a node's subscriptions and reports why nothing arrives on them.

    It also records the node's other problems (`tell`, `settle`). A problem is logged once, and
    again if its text changes apart from numbers. A warning stays in `warnings` until it is settled.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._told: dict[str, str] = {}
        self._warned: dict[str, str] = {}
        self._subscriptions: list[Any] = []
        self._one_publisher: set[str] = set()
        """Topics that must not have more than one publisher."""
        self._image_time = self._since = time.monotonic()
        self._has_image = False
        """Whether an image has come since `begin`."""
        self._ros_time = -1

    @property
    def warnings(self) -> list[str]:
        """Descriptions of the current problems."""
        return list(self._warned.values())

    @property
    def silent_for(self) -> float:
        """Seconds since the last image, the last `begin` or the last standstill of /clock."""
        return time.monotonic() - self._image_time

    def begin(self) -> None:
        """Drop all problems except those of parameters: the node has changed its state."""
        self._image_time = self._since = time.monotonic()
        self._has_image = False
        for about in list(self._told):
            if about != PARAMETERS:
                self.settle(about)
        self._subscriptions.clear()
        self._one_publisher.clear()

    def record_image(self) -> None:
        """Record the arrival of an image."""
        self._image_time = time.monotonic()
        self._has_image = True

    def subscribe(
        self,
        kind: Any,
        topic: str,
        callback: InfoCallback,
        qos: QoSProfile,
        one_publisher: bool = False,
    ) -> Any:
        """Return a subscription whose QoS can be overridden by parameters `qos_overrides.TOPIC...`.

        one_publisher: warn if more than one node publishes the topic.
        """
        name = self._node.resolve_topic_name(topic)
        profile = copy(qos)  # rclpy writes the overrides into it

        def incompatible(event: Any) -> None:
            reason = self._incompatible(name, profile) or f'QoS policy {event.last_policy_kind}'
            self.tell(f'qos of {name}', f'{name}: no messages arrive from a publisher: {reason}')

        subscription = self._node.create_subscription(
            kind,
            topic,
            with_info(callback),
            profile,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=incompatible),
            qos_overriding_options=overridable(),
        )
        self._subscriptions.append(subscription)
        if one_publisher:
            self._one_publisher.add(subscription.topic_name)
        return subscription

    def drop(self, subscription: Any) -> None:
        """Destroy a subscription and settle its problems."""
        topic = subscription.topic_name
        self._subscriptions.remove(subscription)
        self._one_publisher.discard(topic)
        for about in (f'qos of {topic}', f'type of {topic}', f'publishers of {topic}'):
            self.settle(about)
        self._node.destroy_subscription(subscription)

    def check_publishers(self) -> None:
        """Report publishers of an unexpected type, and several where one must be alone."""
        for subscription in self._subscriptions:
            topic, wanted = subscription.topic_name, _type_name(subscription.msg_type)
            publishers = self._publishers(topic)
            others = [info for info in publishers if info.topic_type != wanted]
            names = ', '.join(sorted({_node_name(info) for info in others}))
            if others:
                types = ', '.join(sorted({info.topic_type for info in others}))
                text = f'{topic} is published by {names} as {types}, expected {wanted}'
                self.tell(f'type of {topic}', f'{text}: its messages do not arrive')
            else:
                self.settle(f'type of {topic}')
            if topic not in self._one_publisher:
                continue
            fitting = [info for info in publishers if info.topic_type == wanted]
            self._check_only_one(
                topic, fitting, 'only one of them is used; give each publisher its own topic'
            )
        if self._node.get_parameter('use_sim_time').value is True:
            self._check_only_one(
                CLOCK, self._publishers(CLOCK), 'time jumps from one to the other; stop one of them'
            )

    def _check_only_one(self, topic: str, publishers: Sequence[Any], effect: str) -> None:
        about = f'publishers of {topic}'
        if len(publishers) > 1:
            names = ', '.join(sorted(map(_node_name, publishers)))
            self.tell(about, f'{topic} has {len(publishers)} publishers, {names}: {effect}')
        else:
            self.settle(about)

    def check_inactive(self, topic: str, state: str, failure: str) -> None:
        """Report images that are published while the node is not active.

        failure: why the last transition failed, empty if none did.
        """
        names = self._other_publishers(topic)
        step = {'unconfigured': 'configure', 'inactive': 'activate'}.get(state)
        if not names or step is None:
            self.settle('inactive')
        elif time.monotonic() - self._since > SILENCE:
            node = self._node.get_fully_qualified_name()
            remedy = f'ros2 lifecycle set {node} {step} (or autostart:=true)'
            reason = failure or remedy
            text = f'{topic} is published by {names}, but this node is {state}: {reason}'
            self.tell('inactive', text)

    def check_active(self, subscription: Any, session: TrackingSession, init_mode: str) -> None:
        """Report why no images arrive or, at level info, that a target is missing."""
        topic = subscription.topic_name
        ros_time = self._node.get_clock().now().nanoseconds
        if ros_time == self._ros_time:  # simulated time stands still, for example in a paused bag
            self._image_time = time.monotonic()
            self.tell('clock', 'use_sim_time is set, but /clock stands still or is not published')
            return
        self._ros_time = ros_time
        self.settle('clock')
        if self.silent_for > SILENCE:
            self.tell('images', f'{topic}: no image for {SILENCE:g} s: {self._why(subscription)}')
            return
        if self.settle('images'):
            self._node.get_logger().info(f'{topic}: images arrive again')
        named = session.has_target or session.requests.waiting is not None
        if named or not self._has_image:
            self.settle('target')
        elif time.monotonic() - self._since > SILENCE:
            waits_for = 'init_box' if init_mode == 'manual' else 'detections'
            source = self._node.resolve_topic_name(waits_for)
            text = f'{topic}: images arrive; no target has been named on {source} yet'
            text += ' (hcat target X Y W H names one)' if init_mode == 'manual' else ''
            self.tell('target', text, warn=False)

    def tell(self, about: str, text: str, warn: bool = True) -> None:
        """Log a text about a subject unless only its numbers have changed since the last one."""
        if warn:
            self._warned[about] = text
        previous, self._told[about] = self._told.get(about, ''), text
        if without_numbers(previous) == without_numbers(text):
            return
        # Two calls: rclpy forbids one line of the source to log at different levels.
        if warn:
            self._node.get_logger().warning(text)
        else:
            self._node.get_logger().info(text)

    def tell_all(self, about: str, texts: Sequence[str]) -> None:
        """Report all problems of a subject, or settle it if there are none."""
        if texts:
            self.tell(about, '; '.join(texts))
        else:
            self.settle(about)

    def settle(self, about: str) -> bool:
        """Clear a subject's problem; return whether one had been reported."""
        self._warned.pop(about, None)
        return self._told.pop(about, None) is not None

    def _publishers(self, topic: str) -> list[Any]:
        return list(self._node.get_publishers_info_by_topic(topic))

    def _other_publishers(self, topic: str) -> str:
        """Return the names of other nodes that publish the topic."""
        names = {_node_name(info) for info in self._publishers(topic)}
        return ', '.join(sorted(names - {self._node.get_fully_qualified_name()}))

    def _incompatible(self, topic: str, qos: QoSProfile) -> str:
        """Return the publishers whose QoS does not fit, with reasons; empty if all fit."""
        reasons = []
        for info in self._publishers(topic):
            compatibility, reason = qos_check_compatible(info.qos_profile, qos)
            if compatibility == QoSCompatibility.ERROR:
                reason = reason.replace('ERROR: ', '').rstrip('; ')
                reasons.append(f'{_node_name(info)}: {reason}')
        if not reasons:
            return ''
        remedy = f"change its QoS or this node's, parameter qos_overrides.{topic}.subscription"
        return f'{", ".join(sorted(reasons))}; {remedy}'

    def _other_transport(self, topic: str) -> str:
        """Return a hint if the images are published with the other image_transport."""
        raw = topic.removesuffix('/compressed')
        other, remedy = (f'{topic}/compressed', 'compressed') if raw == topic else (raw, 'raw')
        who = self._other_publishers(other)
        return f', but {who} publishes {other}: image_transport:={remedy}' if who else ''

    def _why(self, subscription: Any) -> str:
        """Return why no images arrive, as far as this node can tell."""
        topic, wanted = subscription.topic_name, _type_name(subscription.msg_type)
        publishers = self._publishers(topic)
        if not publishers:
            others = [
                name
                for name, types in self._node.get_topic_names_and_types()
                # track_image comes from a tracker, not from a camera.
                if wanted in types
                and self._other_publishers(name)
                and not name.endswith('/track_image')
            ]
            found = f'; {wanted} is on {", ".join(sorted(others)[:5])}' if others else ''
            return f'nobody publishes it{self._other_transport(topic)}{found}'
        types = sorted({info.topic_type for info in publishers} - {wanted})
        if types and all(info.topic_type != wanted for info in publishers):
            return f'it is published as {", ".join(types)}, expected {wanted} (see image_transport)'
        reason = self._incompatible(topic, subscription.qos_profile)
        return reason or (
            f'{self._other_publishers(topic)} sends no images, or they are lost on the way '
            '(Fast DDS: see config/fastdds_large_images.xml)'
        )


def _node_name(info: Any) -> str:
    return f'{info.node_namespace.rstrip("/")}/{info.node_name}'


def _type_name(kind: Any) -> str:
    """Return a message type's name as 'sensor_msgs/msg/Image'."""
    return f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'
