# SPDX-License-Identifier: Apache-2.0
"""Publish one Detection2D and receive it over DDS; run by install.py in the new environment."""

import sys
import time

import rclpy
from vision_msgs.msg import Detection2D

TIMEOUT = 20.0


def main() -> int:
    """Return 0 once a detection came back unchanged, 1 if none did in time."""
    rclpy.init()
    node = rclpy.create_node('ros_from_pip_check')
    received: list[Detection2D] = []
    node.create_subscription(Detection2D, 'ros_from_pip_check', received.append, 1)
    publisher = node.create_publisher(Detection2D, 'ros_from_pip_check', 1)
    sent = Detection2D(id='check')
    sent.bbox.center.position.x = 320.5
    sent.bbox.size_y = 240.0
    deadline = time.monotonic() + TIMEOUT
    # Publishes repeatedly, because a message sent before discovery ends is not received.
    while not received and time.monotonic() < deadline:
        publisher.publish(sent)
        rclpy.spin_once(node, timeout_sec=0.05)
    node.destroy_node()
    rclpy.shutdown()
    if not received:
        print(f'no message came back over DDS within {TIMEOUT:.0f} s')
        return 1
    if received[0] != sent:
        print(f'sent {sent}, received {received[0]}')
        return 1
    print('one Detection2D published and received')
    return 0


if __name__ == '__main__':
    sys.exit(main())
