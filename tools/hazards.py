# SPDX-License-Identifier: Apache-2.0
"""Test of hazards, faults of cameras, clocks and topics, with the real nodes in a closed loop.

A simulated camera on a platform, the tracker and the follower run in their own processes over
DDS. Once the platform follows its target, the tool injects one hazard. The table shows the largest
command later than `stale_timeout` + 0.1 s after the fault, the time to the last command that was
not zero, the final position of the target, and the messages of the nodes. Exits with 1 if a
platform moved that should have stood still.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rclpy
from demo import ROOT
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TwistStamped, Vector3Stamped
from hazard_cases import HAZARDS, Hazard
from lifecycle_msgs.srv import ChangeState
from node_processes import NodeProcesses
from rclpy.node import Node
from rclpy.qos import QoSProfile
from ros_domain import stay_on_this_machine, take_domain
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2D, Detection2DArray

from hcat_ros.markdown import table_head, table_row
from hcat_ros.nodes.tools.simulated_following import follower_parameters
from hcat_ros.simulation import Scenario

FOLLOWED, AFTER, AT_THE_END = 4.0, 6.0, 2.0
"""Time of following before a hazard, time after it, and the last part of the latter, s."""
LIMIT = 0.5 + 0.1
"""Time in which the command must become zero, s: stale_timeout and one more command."""
ON_TARGET = math.radians(6)
"""Largest mean angle off the axis at which a target counts as followed, rad."""
QOS = QoSProfile(depth=20)
PAGE = """# When the picture of the world is false

Tracker, follower and a simulated camera on a ground robot, each a process of its own over DDS;
the target walks in zigzag. Once the robot has followed it for a while, something goes wrong, and
is watched for {after:g} s. Speeds are the greatest commanded later than {limit:g} s after the
fault (`stale_timeout` and 0.1 s). Safe is: the last command that is not zero comes before that,
or, where the target can still be told from what there is, the robot goes on with the target
within 6 degrees of the axis. `make hazards` writes this page anew.

{table}
"""


class Rig(Node):
    """Forwards all messages between the simulated camera and the nodes, and injects the hazard."""

    def __init__(self, hazard: Hazard) -> None:
        super().__init__('rig')
        self.hazard = hazard
        self.began: float | None = None
        """Time at which the hazard began, by the monotonic clock."""
        self.commands: list[tuple[float, float, float]] = []
        """Time, yaw rate and forward speed of each command."""
        self.azimuths: list[tuple[float, float]] = []
        self.said: dict[str, str] = {}
        """Last warning of each node."""
        self.newest: Image | None = None
        self.images = self.create_publisher(Image, 'image', QOS)
        self.infos = self.create_publisher(CameraInfo, 'camera_info', QOS)
        self.boxes = self.create_publisher(Detection2D, 'init_box', QOS)
        self.detections = self.create_publisher(Detection2DArray, 'detections', QOS)
        self._drive = self.create_publisher(TwistStamped, '/sim/cmd_vel', QOS)
        self.reset = self.create_client(Trigger, 'hcat_tracker/reset')
        self.change_state = self.create_client(ChangeState, 'hcat_tracker/change_state')
        self.truth = Detection2D()
        for kind, topic, callback in (
            (Image, '/sim/image', self._on_image),
            (CameraInfo, '/sim/camera_info', self._on_info),
            (Detection2D, '/sim/init_box', self.boxes.publish),
            (Detection2D, '/sim/truth', self._on_truth),
            (Vector3Stamped, '/sim/truth_bearing', self._on_bearing),
            (TwistStamped, 'cmd_vel', self._on_command),
            (DiagnosticArray, '/diagnostics', self._on_diagnostics),
        ):
            self.create_subscription(kind, topic, callback, QOS)

    def _on_image(self, message: Image) -> None:
        self.newest = message
        hazardous = self.began is not None
        for image in self.hazard.images(self, message) if hazardous else [message]:
            self.images.publish(image)

    def _on_info(self, message: CameraInfo) -> None:
        hazardous = self.began is not None
        for info in self.hazard.infos(self, message) if hazardous else [message]:
            self.infos.publish(info)

    def _on_truth(self, message: Detection2D) -> None:
        self.truth = message

    def _on_bearing(self, message: Vector3Stamped) -> None:
        self.azimuths.append((time.monotonic(), message.vector.x))

    def _on_command(self, message: TwistStamped) -> None:
        self._drive.publish(message)
        twist = message.twist
        self.commands.append((time.monotonic(), twist.angular.z, twist.linear.x))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if self.began is not None and status.level != b'\0':
                self.said[status.name.rpartition(': ')[2]] = status.message

    @property
    def moves(self) -> bool:
        """Whether the platform is moving now."""
        return bool(self.commands) and (self.commands[-1][1:] != (0.0, 0.0))


class Outcome(NamedTuple):
    """Result of a hazard."""

    yaw: float
    """Largest yaw rate later than `LIMIT` after the fault, rad/s."""
    forward: float
    """Largest forward speed later than `LIMIT` after the fault, m/s."""
    zero_after: float | None
    """Time to the last command that was not zero, s; None if the commands never become zero."""
    off: float
    """Mean angle of the target off the axis at the end, rad."""
    said: str


def outcome(rig: Rig, end: float) -> Outcome:
    """Evaluate the recorded commands."""
    assert rig.began is not None
    late = [command for command in rig.commands if command[0] > rig.began + LIMIT]
    moving = [at for at, yaw, forward in rig.commands if at > rig.began and (yaw or forward)]
    last = max(moving, default=rig.began)
    off = [abs(azimuth) for at, azimuth in rig.azimuths if at > end - AT_THE_END]
    return Outcome(
        max((abs(yaw) for _, yaw, _ in late), default=0.0),
        max((abs(forward) for _, _, forward in late), default=0.0),
        last - rig.began if last < end - AT_THE_END else None,
        float(np.mean(off)) if off else math.nan,
        '; '.join(f'{node}: {said}' for node, said in sorted(rig.said.items())),
    )


def safe(hazard: Hazard, found: Outcome) -> bool:
    """Return whether the outcome is safe: the robot stood still, or followed as it should."""
    if found.zero_after is not None:
        return found.zero_after <= LIMIT
    return hazard.may_move and found.off <= ON_TARGET


def run(hazard: Hazard, seed: int) -> Outcome:
    """Start the nodes, inject the hazard and return the outcome."""
    take_domain()
    rclpy.init()
    rig = Rig(hazard)
    processes = NodeProcesses()
    log = subprocess.DEVNULL if not os.environ.get('HAZARDS_LOG') else None

    def spin(seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if until():
                return True
            rclpy.spin_once(rig, timeout_sec=0.02)
        return False

    scenario = Scenario('zigzag', 'ground', seed, 0.4, fps=30.0)
    own = {'autostart': True, 'diagnostics_period': 0.2}
    following = follower_parameters(scenario) | own | hazard.follower
    try:
        rig.tracker = processes.start('tracker_node', own | hazard.tracker, stderr=log)
        processes.start('follower_node', {'platform': 'ground'} | following, stderr=log)
        ready = spin(60, lambda: rig.boxes.get_subscription_count() > 0)
        assert ready, f'{hazard.title}: the tracker has not come up'
        simulated = {'path': 'zigzag', 'seed': seed, 'speed': 0.4, 'init_box': True, 'fps': 30.0}
        processes.start('camera_sim', simulated, '-r', '__ns:=/sim', stderr=log)
        followed = spin(60, lambda: rig.moves or (hazard.stands and rig.newest is not None))
        assert followed, f'{hazard.title}: the platform was never moved'
        spin(FOLLOWED)
        rig.began = time.monotonic()
        started = hazard.begin(rig)
        if started is not None:
            processes.append(started)
        spin(AFTER)
        return outcome(rig, time.monotonic())
    finally:
        processes.end()
        rig.destroy_node()
        rclpy.shutdown()


def row(hazard: Hazard, found: Outcome) -> str:
    """Return a line of the table."""
    return table_row(
        (
            hazard.title,
            f'{found.yaw:.2f}',
            f'{found.forward:.2f}',
            'moves on' if found.zero_after is None else f'{found.zero_after:.2f} s',
            f'{math.degrees(found.off):.1f}',
            'safe' if safe(hazard, found) else '**not safe**',
            found.said,
        )
    )


def main() -> int:
    """Run all hazards, or those whose titles contain one of the words, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--only', nargs='+', default=[], metavar='WORD')
    parser.add_argument('--seed', type=int, default=3)
    parser.add_argument('--out', type=Path, help='file for the table')
    arguments = parser.parse_args()
    os.environ.update(stay_on_this_machine())
    profile = ROOT / 'config' / 'fastdds_large_images.xml'
    os.environ['FASTRTPS_DEFAULT_PROFILES_FILE'] = str(profile)
    titles = (
        'hazard',
        'yaw [rad/s]',
        'forward [m/s]',
        'zero after',
        'target off [deg]',
        '',
        'said',
    )
    lines = [table_head(titles, 'lrrrrll')]
    print(lines[0], flush=True)
    good = True
    for hazard in HAZARDS:
        if arguments.only and not any(word in hazard.title for word in arguments.only):
            continue
        found = run(hazard, arguments.seed)
        good &= safe(hazard, found)
        lines.append(row(hazard, found))
        print(lines[-1], flush=True)
    if arguments.out:
        page = PAGE.format(limit=LIMIT, after=AFTER, table='\n'.join(lines))
        arguments.out.write_text(page, encoding='utf-8')
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
