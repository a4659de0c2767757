# SPDX-License-Identifier: Apache-2.0
"""The demo: runs the tracker node and a video source in their own processes, and watches over DDS.

Prints a few lines while it runs and writes demo/track.mp4 and demo/track.png. Exits with 1 if
no detection arrived.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rclpy
from demo_video import Scene, demo_scene
from node_processes import NodeProcesses
from rclpy.node import Node
from rclpy.qos import QoSProfile
from ros_domain import take_domain
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2D

from hcat_ros.boxes import Box
from hcat_ros.drawing import draw_track
from hcat_ros.files.pictures import write_picture
from hcat_ros.files.videos import whole_video
from hcat_ros.frames import FrameSource
from hcat_ros.message_data import best_class, box_of, image_view, nanoseconds
from hcat_ros.tracking import TargetState, Track

ROOT = Path(__file__).resolve().parents[1]
LINE_EVERY = 25
"""Number of frames between two lines of output."""
SHEET = 12
"""Number of pictures on the contact sheet."""


class Viewer(Node):
    """Pairs the images with the detections of the same stamp."""

    def __init__(self) -> None:
        super().__init__('demo_viewer')
        self.images: dict[int, np.ndarray] = {}
        self.tracks: dict[int, tuple[Track, float]] = {}
        """Track and its latency in seconds, by stamp."""
        qos = QoSProfile(depth=20)
        self.create_subscription(Image, 'image', self._on_image, qos)
        self.create_subscription(Detection2D, 'track', self._on_track, qos)

    def _on_image(self, message: Image) -> None:
        stamp = nanoseconds(message.header.stamp)
        self.images[stamp] = image_view(message)[0]

    def _on_track(self, message: Detection2D) -> None:
        now = self.get_clock().now().nanoseconds
        stamp = nanoseconds(message.header.stamp)
        state = TargetState.TRACKING if message.results else TargetState.LOST
        track = Track(box_of(message), best_class(message)[1], state)
        latency = (now - stamp) / 1e9
        self.tracks[stamp] = (track, latency)
        if len(self.tracks) % LINE_EVERY == 1:
            recent = sorted(self.tracks)[-LINE_EVERY:]
            span = (recent[-1] - recent[0]) / 1e9
            fps = (len(recent) - 1) / span if span else 0.0
            x, y, w, h = track.box
            print(
                f'frame {len(self.tracks):4d}  box x={x:6.1f} y={y:6.1f} w={w:5.1f} h={h:5.1f}  '
                f'score {track.score:.2f}  {fps:4.1f} fps  latency {1e3 * latency:5.1f} ms',
                flush=True,
            )


def run_demo(video: Path, scene: Scene, out: Path) -> int:
    """Run the demo and return the exit code."""
    take_domain()
    profile = ROOT / 'config' / 'fastdds_large_images.xml'
    os.environ['FASTRTPS_DEFAULT_PROFILES_FILE'] = str(profile)
    box = ', '.join(str(float(value)) for value in scene.box)
    rclpy.init()
    viewer = Viewer()
    processes = NodeProcesses()

    def spin(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not until():
            rclpy.spin_once(viewer, timeout_sec=0.1)

    try:
        tracker = processes.start('tracker_node', {'autostart': 'true'})
        # Waits until DDS has discovered the tracker; the viewer would miss earlier tracks.
        spin(20, lambda: viewer.count_publishers('track') > 0 or tracker.poll() is not None)
        source = processes.start(
            'video_source',
            {
                'source': video,
                'start': scene.start,
                'count': scene.count,
                'init_box': f'[{box}]',
                'subscribers': 2,  # the tracker and this viewer
            },
        )
        spin(90, lambda: source.poll() is not None)
        spin(0.5)
    finally:
        processes.end()
        images, tracks = viewer.images, viewer.tracks
        viewer.destroy_node()
        rclpy.try_shutdown()
    if not tracks:
        print('demo: no detection arrived; the lines above say why', file=sys.stderr)
        return 1
    first = Track(Box(*scene.box), 1.0, TargetState.TRACKING)
    shown = write_pictures(images, tracks, first, FrameSource(str(video)).fps, out)
    latencies = np.array([latency for _, latency in tracks.values()]) * 1e3
    print(
        f'{len(tracks)} detections for {len(images)} images seen here; latency from image to '
        f'detection: median {np.median(latencies):.1f} ms, 95 % under '
        f'{np.percentile(latencies, 95):.1f} ms'
    )
    print(f'wrote {out / "track.mp4"} ({shown} frames) and {out / "track.png"}')
    return 0


def write_pictures(
    images: dict[int, np.ndarray],
    tracks: dict[int, tuple[Track, float]],
    first: Track,
    fps: float,
    out: Path,
) -> int:
    """Write track.mp4 and the contact sheet track.png; return the number of frames."""
    out.mkdir(exist_ok=True)
    stamps = sorted(images)
    shape = images[stamps[0]].shape
    chosen: Any = set(np.linspace(0, len(stamps) - 1, SHEET).round().astype(int))
    tiles = []
    with whole_video(out / 'track.mp4', fps) as video:
        for number, stamp in enumerate(stamps):
            picture = images[stamp].copy()
            track, latency = tracks.get(stamp, (first if number == 0 else None, None))
            text = f'frame {number}' + (f'  {1e3 * latency:.0f} ms' if latency is not None else '')
            if track is not None:
                draw_track(picture, track, text)
            video.write(picture)
            if number in chosen:
                tile = cv2.resize(images[stamp], (400, round(400 * shape[0] / shape[1])))
                if track is not None:
                    box = Box(*(value * 400 / shape[1] for value in track.box))
                    draw_track(tile, Track(box, track.score, track.state), text)
                tiles.append(tile)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % 4)
    rows = [np.hstack(tiles[i : i + 4]) for i in range(0, len(tiles), 4)]
    write_picture(out / 'track.png', np.vstack(rows))
    return len(stamps)


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--video', type=Path, help='a video of your own')
    parser.add_argument('--box', nargs=4, type=float, metavar=('X', 'Y', 'W', 'H'))
    parser.add_argument('--out', type=Path, default=ROOT / 'demo')
    arguments = parser.parse_args()
    if (arguments.video is None) != (arguments.box is None):
        parser.error('--video and --box go together')
    if arguments.video:
        return run_demo(arguments.video, Scene('', 0, 0, tuple(arguments.box)), arguments.out)
    try:
        scene, video = demo_scene(arguments.out)
    except RuntimeError as error:
        print(f'demo: {error}', file=sys.stderr)
        return 1
    return run_demo(video, scene, arguments.out)


if __name__ == '__main__':
    sys.exit(main())
