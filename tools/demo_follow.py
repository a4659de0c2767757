# SPDX-License-Identifier: Apache-2.0
"""Following in closed loop: simulated camera, tracker and follower in their own processes.

The camera is on a platform that moves as the follower commands; all messages go over DDS. Prints
how well the target was followed and writes follow.mp4 (the view of the camera, and beside it the
scene from above) and follow.png (errors and commands over time). Exits with 1 if no command came or
the target was not in view most of the time.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import rclpy
from demo import ROOT
from follow_pictures import chart, write_video
from follow_viewer import Recording, Viewer, recording
from node_processes import NodeProcesses
from numpy.typing import NDArray
from ros_domain import take_domain

from hcat_ros.files.figures import write_figure
from hcat_ros.nodes.tools.simulated_following import follower_parameters
from hcat_ros.simulation import PATHS, PLATFORMS, Scenario
from hcat_ros.simulation.closed_loop import Loop, LoopScore, score


def watch(scenario: Scenario, pictures: str, seconds: float) -> Viewer:
    """Run the three nodes, and return the viewer with its recording."""
    take_domain()
    profile = ROOT / 'config' / 'fastdds_large_images.xml'
    os.environ['FASTRTPS_DEFAULT_PROFILES_FILE'] = str(profile)
    rclpy.init()
    viewer = Viewer()
    processes = NodeProcesses()

    def spin(seconds: float, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not until():
            rclpy.spin_once(viewer, timeout_sec=0.1)

    def ended() -> bool:
        return any(process.poll() is not None for process in processes)

    try:
        processes.start('tracker_node', {'autostart': 'true'})
        preset = ROOT / 'config' / f'follow_{scenario.platform}.yaml'
        own = {'autostart': 'true', **follower_parameters(scenario)}
        processes.start('follower_node', own, '--params-file', str(preset))
        topics = ('track', 'cmd_vel')
        spin(40, lambda: ended() or all(viewer.count_publishers(topic) for topic in topics))
        processes.start(
            'camera_sim',
            {
                'platform': scenario.platform,
                'path': scenario.path,
                'seed': scenario.seed,
                'init_box': 'true',
                'duration': float(seconds),
                'subscribers': 2,  # the tracker and this viewer
                **({'pictures': pictures} if pictures else {}),
            },
        )
        spin(60 + 2 * seconds, ended)
        end = time.monotonic() + 0.5
        spin(5, lambda: time.monotonic() > end)
    finally:
        processes.end()
        viewer.destroy_node()
        rclpy.try_shutdown()
    return viewer


def run_demo(scenario: Scenario, pictures: str, seconds: float, out: Path) -> int:
    """Run the demo and return the exit code."""
    viewer = watch(scenario, pictures, seconds)
    recorded = recording(viewer, scenario.lens)
    if not recorded.stamps or not viewer.commands or not viewer.tracks:
        print(
            f'demo_follow: {len(recorded.stamps)} frames, {len(viewer.tracks)} tracks and '
            f'{len(viewer.commands)} commands arrived; the lines above say why',
            file=sys.stderr,
        )
        return 1
    fps = recorded.fps
    loop = Loop(replace(scenario, fps=fps), seconds=max(1.0, seconds))
    found = score(loop, recorded.samples)
    write_pictures(viewer, recorded, loop, out)
    for line in lines(found, recorded):
        print(line)
    print(f'wrote {out / "follow.mp4"} and {out / "follow.png"}')
    if found.in_view <= 0.5:
        print('demo_follow: the target was out of view most of the time', file=sys.stderr)
        return 1
    return 0


def lines(found: LoopScore, recorded: Recording) -> list[str]:
    """Return the results of a run in words."""
    again = f'; found again {found.found} of {found.hidden} times' if found.hidden else ''
    said = [
        f'RMS bearing error {100 * found.bearing_error:.1f} % of the field of view; in view '
        f'{100 * found.in_view:.1f} % of {len(recorded.stamps)} frames{again}'
    ]
    if not math.isnan(found.range_error):
        said.append(f'RMS range error {100 * found.range_error:.1f} % of the range kept')
    if len(recorded.latencies):
        median, high = np.percentile(recorded.latencies, (50, 95)) * 1e3
        said.append(
            f'{recorded.fps:.1f} frames/s; from image to command: median {median:.0f} ms, 95 % '
            f'under {high:.0f} ms'
        )
    return said


def write_pictures(viewer: Viewer, recorded: Recording, loop: Loop, out: Path) -> None:
    """Write follow.mp4 and follow.png."""
    out.mkdir(parents=True, exist_ok=True)
    shown = [
        (stamp, moment)
        for stamp, moment in zip(recorded.stamps, recorded.moments)
        if stamp in viewer.views
    ]

    def frames() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]:
        for stamp, _ in shown:
            view = viewer.views.get(stamp)
            assert view is not None
            yield view, viewer.above.get(stamp)

    fps = recorded.fps * len(shown) / len(recorded.stamps)
    write_video(frames(), [moment for _, moment in shown], fps, out / 'follow.mp4')
    scenario, moments = loop.scenario, recorded.moments
    kept = None
    if scenario.platform != 'gimbal':
        kept = loop.config.desired_range or moments[0].bearing.range
    title = f'platform {scenario.platform}, path {scenario.path}, seed {scenario.seed}'
    write_figure(out / 'follow.png', chart(moments, scenario.horizontal_fov, kept, title))


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--platform', choices=tuple(PLATFORMS), default='drone')
    parser.add_argument('--path', choices=PATHS, default='occlusion', help='path of the target')
    parser.add_argument('--seconds', type=float, default=20.0)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--pictures', type=Path, help='folder with photos/ and cutouts/; default: generated'
    )
    parser.add_argument('--out', type=Path, default=ROOT / 'demo')
    arguments = parser.parse_args()
    if not 1 <= arguments.seconds <= 600:
        parser.error(f'--seconds {arguments.seconds:g}: expected 1 to 600')
    if arguments.pictures and not arguments.pictures.is_dir():
        parser.error(f'--pictures: no folder {arguments.pictures}')
    try:
        scenario = Scenario(arguments.path, arguments.platform, arguments.seed)
    except ValueError as error:
        parser.error(str(error))
    pictures = str(arguments.pictures.resolve()) if arguments.pictures else ''
    return run_demo(scenario, pictures, arguments.seconds, arguments.out)


if __name__ == '__main__':
    sys.exit(main())
