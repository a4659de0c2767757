# SPDX-License-Identifier: Apache-2.0
"""Quality of service of the tracker node's topics."""

from __future__ import annotations

from rcl_interfaces.msg import SetParametersResult
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

IMAGE_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Keeps one image, so that a slow machine always works on the newest."""
RELIABLE_QOS = QoSProfile(depth=10)
LATCHED_QOS = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""Subscribers that join later also get the last message."""
DRAWN_QOS = QoSProfile(depth=1)
MOST_KEPT = 1_000_000
"""Largest depth: number of messages that a publisher or subscription keeps."""


def overridable() -> QoSOverridingOptions:
    """Return options that let parameters like `qos_overrides./topic.subscription.depth` set QoS."""
    return QoSOverridingOptions(
        [
            QoSPolicyKind.HISTORY,
            QoSPolicyKind.DEPTH,
            QoSPolicyKind.RELIABILITY,
            QoSPolicyKind.DURABILITY,
        ],
        callback=_check_depth,
    )


def _check_depth(qos: QoSProfile) -> SetParametersResult:
    """Refuse a depth for which ROS has no error of its own that names it."""
    good = qos.history == HistoryPolicy.KEEP_ALL or 0 <= qos.depth <= MOST_KEPT
    reason = '' if good else f'depth {qos.depth}: expected 0 (default) to {MOST_KEPT}'
    return SetParametersResult(successful=good, reason=reason)
