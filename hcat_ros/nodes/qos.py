# SPDX-License-Identifier: Apache-2.0
"""Quality of service of the tracker node's topics."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

IMAGE_QOS = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
"""Keeps one image, so that a slow machine always works on the newest."""
RELIABLE_QOS = QoSProfile(depth=10)
LATCHED_QOS = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
"""Subscribers that join later also get the last message."""
DRAWN_QOS = QoSProfile(depth=1)


def overridable() -> QoSOverridingOptions:
    """Return options that let parameters like `qos_overrides./topic.subscription.depth` set QoS."""
    return QoSOverridingOptions(
        [
            QoSPolicyKind.HISTORY,
            QoSPolicyKind.DEPTH,
            QoSPolicyKind.RELIABILITY,
            QoSPolicyKind.DURABILITY,
        ]
    )
