# SPDX-License-Identifier: Apache-2.0
"""The MAVLink demo: a ground station draws a rectangle on the video and receives the track.

Tracker, MAVLink camera and video source run in their own processes; the station uses pymavlink over
UDP on loopback. Prints the messages, and writes the video as the station shows it to
demo/mavlink.mp4 and demo/mavlink.png. Exits with 1 if the target was not followed.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from demo_video import Scene, demo_scene
from node_processes import NodeProcesses
from rclpy.qos import QoSProfile
from ros_domain import take_domain
from sensor_msgs.msg import Image

from hcat_ros.files.pictures import write_picture
from hcat_ros.files.videos import whole_video
from hcat_ros.mavlink.dialect import mavlink, mavutil
from hcat_ros.message_data import image_view

ROOT = Path(__file__).resolve().parents[1]
SHEET = 12
"""Number of pictures on the contact sheet."""
LINE_EVERY = 10
"""Number of statuses between two lines of output."""
STATES = {0: 'idle', 1: 'tracking', 8: 'lost, looking for it'}
COLOUR = (60, 220, 80)


class Station:
    """A ground station that draws once, requests statuses and shows them on the images."""

    def __init__(self, port: int, scene: Scene) -> None:
        self._link = mavutil.mavlink_connection(
            f'udpout:127.0.0.1:{port}', source_system=255, source_component=190
        )
        self._scene = scene
        self._began = time.monotonic()
        self._heartbeat = self._drew = 0.0
        self._size = (0, 0)
        self.is_known = self.is_tracking = False
        self.first_status = float('nan')
        """Time from the rectangle to the first status, s."""
        self.status: Any = None
        self.states: Counter[str] = Counter()
        self.pictures: list[np.ndarray] = []

    def _say(self, what: str) -> None:
        print(f'{time.monotonic() - self._began:6.2f} s  {what}', flush=True)

    def command(self, number: int, *parameters: float) -> None:
        """Send a command to the camera."""
        values = [*parameters, *(0.0,) * (7 - len(parameters))]
        self._say(
            f'-> {mavlink.enums["MAV_CMD"][number].name} {" ".join(f"{v:g}" for v in values)}'
        )
        self._link.mav.command_long_send(1, mavlink.MAV_COMP_ID_CAMERA, number, 0, *values)

    def step(self) -> None:
        """Send the messages that are due, and process those received."""
        now = time.monotonic()
        if now - self._heartbeat > 1:
            self._heartbeat = now
            self._link.mav.heartbeat_send(
                mavlink.MAV_TYPE_GCS, mavlink.MAV_AUTOPILOT_INVALID, 0, 0, 0
            )
        while (message := self._link.recv_msg()) is not None:
            getattr(self, f'_on_{message.get_type().lower()}', lambda message: None)(message)

    def show(self, message: Image) -> None:
        """Process an image: name the target on the first one, and show the status on each."""
        picture = np.ascontiguousarray(image_view(message)[0]).copy()
        height, width = picture.shape[:2]
        self._size = (width, height)
        if self.is_known and not self.is_tracking and not self._drew:
            self._draw()
        status = self.status
        if status is not None and status.tracking_status == 1:
            x0, x1 = (round(v * width) for v in (status.rec_top_x, status.rec_bottom_x))
            y0, y1 = (round(v * height) for v in (status.rec_top_y, status.rec_bottom_y))
            cv2.rectangle(picture, (x0, y0), (x1, y1), COLOUR, 2)
        state = STATES.get(status.tracking_status, '?') if status is not None else 'no status yet'
        cv2.putText(picture, state, (12, 32), cv2.FONT_HERSHEY_SIMPLEX, 1.0, COLOUR, 2)
        self.pictures.append(picture)

    def _draw(self) -> None:
        width, height = self._size
        x, y, w, h = self._scene.box
        self._drew = time.monotonic()
        corners = (x / width, y / height, (x + w) / width, (y + h) / height)
        self.command(mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE, *corners)

    def _on_heartbeat(self, message: Any) -> None:
        if not self.is_known and message.type == mavlink.MAV_TYPE_CAMERA:
            self._say(f'<- HEARTBEAT of camera {message.get_srcComponent()}')
            self.command(mavlink.MAV_CMD_REQUEST_MESSAGE, mavlink.MAVLINK_MSG_ID_CAMERA_INFORMATION)

    def _on_camera_information(self, message: Any) -> None:
        model = bytes(message.model_name).rstrip(b'\0').decode()
        can = [
            name
            for name in ('POINT', 'RECTANGLE')
            if message.flags & getattr(mavlink, f'CAMERA_CAP_FLAGS_HAS_TRACKING_{name}')
        ]
        self._say(f'<- CAMERA_INFORMATION {model}: tracking by {" and ".join(can).lower()}')
        if not self.is_known:
            self.is_known = True
            status = mavlink.MAVLINK_MSG_ID_CAMERA_TRACKING_IMAGE_STATUS
            self.command(mavlink.MAV_CMD_SET_MESSAGE_INTERVAL, status, 100_000)

    def _on_command_ack(self, message: Any) -> None:
        name = mavlink.enums['MAV_CMD'][message.command].name
        result = mavlink.enums['MAV_RESULT'][message.result].name.removeprefix('MAV_RESULT_')
        self._say(f'<- COMMAND_ACK {name}: {result}')
        if message.command == mavlink.MAV_CMD_CAMERA_TRACK_RECTANGLE:
            self.is_tracking = message.result == mavlink.MAV_RESULT_ACCEPTED
            if message.result == mavlink.MAV_RESULT_TEMPORARILY_REJECTED:
                self._drew = 0.0  # draw again, on the next image

    def _on_statustext(self, message: Any) -> None:
        self._say(f'<- STATUSTEXT {message.text}')

    def _on_camera_tracking_image_status(self, message: Any) -> None:
        state = STATES.get(message.tracking_status, '?')
        if not self.states:
            self.first_status = time.monotonic() - self._drew
        new = self.status is None or self.status.tracking_status != message.tracking_status
        if new or sum(self.states.values()) % LINE_EVERY == 0:
            place = (
                message.rec_top_x,
                message.rec_top_y,
                message.rec_bottom_x,
                message.rec_bottom_y,
            )
            numbers = ' '.join(f'{value:.3f}' for value in place)
            self._say(f'<- CAMERA_TRACKING_IMAGE_STATUS {state}: {numbers}')
        self.status = message
        self.states[state] += 1


def run_demo(video: Path, scene: Scene, out: Path) -> int:
    """Run the demo and return the exit code."""
    take_domain()
    profile = ROOT / 'config' / 'fastdds_large_images.xml'
    os.environ['FASTRTPS_DEFAULT_PROFILES_FILE'] = str(profile)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    rclpy.init()
    node = rclpy.create_node('demo_station')
    station = Station(port, scene)
    node.create_subscription(Image, 'image', station.show, QoSProfile(depth=20))
    processes = NodeProcesses()

    def spin(seconds: float, until: Any = lambda: False) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not until():
            rclpy.spin_once(node, timeout_sec=0.01)
            station.step()

    try:
        tracker = processes.start('tracker_node', {'autostart': 'true'})
        processes.start('mavlink_camera', {'connections': f'udpin:127.0.0.1:{port}'})
        spin(30, lambda: node.count_publishers('track') > 0 or tracker.poll() is not None)
        spin(30, lambda: station.is_known)
        source = processes.start(
            'video_source',
            {'source': video, 'start': scene.start, 'count': scene.count, 'subscribers': 2},
        )
        spin(90, lambda: source.poll() is not None)
        station.command(mavlink.MAV_CMD_CAMERA_STOP_TRACKING)
        spin(1.0)
    finally:
        processes.end()
        node.destroy_node()
        rclpy.try_shutdown()
    told = ', '.join(f'{count} {state}' for state, count in station.states.items())
    print(
        f'statuses: {told or "none"}; the first one {1e3 * station.first_status:.0f} ms after '
        'the rectangle'
    )
    if not station.states['tracking']:
        print('demo: the target was not followed; the lines above say why', file=sys.stderr)
        return 1
    write_pictures(station.pictures, out)
    return 0


def write_pictures(pictures: list[np.ndarray], out: Path) -> None:
    """Write mavlink.mp4 and the contact sheet mavlink.png."""
    out.mkdir(exist_ok=True)
    with whole_video(out / 'mavlink.mp4', 10.0) as video:
        for picture in pictures:
            video.write(picture)
    chosen = np.linspace(0, len(pictures) - 1, SHEET).round().astype(int)
    tiles = [cv2.resize(pictures[number], None, fx=0.5, fy=0.5) for number in chosen]
    rows = [np.hstack(tiles[start : start + 4]) for start in range(0, SHEET, 4)]
    write_picture(out / 'mavlink.png', np.vstack(rows))
    print(f'wrote {out / "mavlink.mp4"} ({len(pictures)} frames) and {out / "mavlink.png"}')


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=ROOT / 'demo')
    arguments = parser.parse_args()
    try:
        scene, video = demo_scene(arguments.out)
    except RuntimeError as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1
    return run_demo(video, scene, arguments.out)


if __name__ == '__main__':
    sys.exit(main())
