# SPDX-License-Identifier: Apache-2.0
"""The tracker and the follower on a simulated platform, in simulated time, with repeatable runs.

The time of a tracker update and the latency of camera and link are settings, not measurements, so
that the effect of latency on following is the same on every machine. Both only delay a track: no
frame is skipped, however long an update takes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hcat_ros.boxes import iou
from hcat_ros.following import (
    CameraModel,
    Command,
    FollowConfig,
    Follower,
    bearing_of,
    depth_in_box,
)
from hcat_ros.simulation.platform import PlatformCommand
from hcat_ros.simulation.scenario import Scenario
from hcat_ros.simulation.simulation import SimFrame, Simulation
from hcat_ros.tracking import TargetState, Track, Tracker

COMMANDS_A_FRAME = 2
"""Number of commands that are sent for each camera frame."""
TURN_RATE = 0.5
"""Rate at which the platform turns away from the target before the start, rad/s."""
MARGIN = 0.9
"""Share of the platform's limits that the follower may use, except the full forward speed."""


@dataclass(frozen=True)
class Loop:
    """Settings of a closed loop. Raises ValueError for a value out of its range."""

    scenario: Scenario = field(default_factory=Scenario)
    seconds: float = 20.0
    """Duration of the run, s."""
    processing: float = 0.015
    """Time by which an update of the tracker delays its track, s; no frame is skipped."""
    latency: float = 0.0
    """Additional delay by camera and link, s."""
    compensate: bool = True
    """Whether the follower compensates latency; see `FollowConfig.compensate_latency`."""
    depth: bool = False
    """Whether the range comes from depth images instead of the known height of the target."""
    turned: float = 0.0
    """Angle by which the platform looks to the right of the target at the start, rad."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ('seconds', 1.0, 3600.0),
            ('processing', 0.0, 1.0),
            ('latency', 0.0, 1.0),
            ('turned', -1.0, 1.0),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f'{name} {getattr(self, name)}: expected {low:g} to {high:g}')

    @property
    def config(self) -> FollowConfig:
        """Follower settings: the platform's preset with the simulated platform's limits and lag."""
        scenario, model = self.scenario, self.scenario.platform_model
        preset = getattr(FollowConfig, scenario.platform)()
        changes: dict[str, object] = {
            'yaw.max_speed': MARGIN * model.yaw.speed,
            'yaw.max_acceleration': MARGIN * model.yaw.acceleration,
            'yaw.max_deceleration': MARGIN * model.yaw.acceleration,
            'actuation_delay': model.command_delay + 0.5 / (COMMANDS_A_FRAME * scenario.fps),
            'actuation_lag': model.yaw.lag,
            'compensate_latency': self.compensate,
        }
        if scenario.platform == 'gimbal':
            changes['pitch.max_speed'] = MARGIN * model.pitch.speed
        else:
            changes |= {
                'range_mode': 'depth' if self.depth else 'size',
                'target_height': 0.0 if self.depth else scenario.target_height,
                'forward.max_speed': model.forward.speed,
                'forward.max_acceleration': MARGIN * model.forward.acceleration,
                'forward.max_deceleration': MARGIN * model.forward.acceleration,
            }
        config: FollowConfig = preset.changed(changes)
        return config


class Sample(NamedTuple):
    """State of the loop at one frame."""

    frame: SimFrame
    track: Track
    command: Command
    """Last command that was sent."""
    range: float = math.nan
    """Range that the follower assumes, m; NaN while it is unknown."""

    @property
    def overlap(self) -> float:
        """IoU of the track with the true box, NaN while the target cannot be seen."""
        truth = self.frame.truth.box
        return float('nan') if truth is None else float(iou(self.track.box, truth))


def run(loop: Loop, tracker: Tracker, pictures: Path | None = None) -> Iterator[Sample]:
    """Run the loop and yield a sample for each frame. pictures: see `Simulation`.

    Raises ValueError if the target is not in the first frame, and EngineError.
    """
    scenario, config = loop.scenario, loop.config
    simulation = Simulation(scenario, pictures)
    _turn(simulation, loop.turned)
    frame = simulation.frame()
    if frame.truth.box is None:
        raise ValueError(
            f'the target is not seen at the start; turn by less than {loop.turned:g} rad, or '
            f'choose a wider field of view: {scenario}'
        )
    camera = CameraModel.from_fov(scenario.width, scenario.height, scenario.horizontal_fov)
    tracker.init(frame.image, frame.truth.box)
    follower = Follower(config)
    follower.activate(frame.time)
    under_way: deque[tuple[float, float, Track, float, float]] = deque()
    """Tracks that have not reached the follower yet: (arrival, stamp, track, distance by depth,
    deviation of the distance)."""
    command = Command()
    tick = 1 / (COMMANDS_A_FRAME * scenario.fps)
    for number in range(1, round(loop.seconds * scenario.fps) * COMMANDS_A_FRAME + 1):
        simulation.advance(tick)
        now = simulation.time
        sample = None
        if number % COMMANDS_A_FRAME == 0:
            frame = simulation.frame()
            track = tracker.update(frame.image)
            distance = _distance(simulation, track, camera) if loop.depth else (math.nan, math.nan)
            under_way.append((now + loop.processing + loop.latency, now, track, *distance))
            known = follower.target_range(now)
            sample = Sample(frame, track, command, known.range if known else math.nan)
        while under_way and under_way[0][0] <= now + 1e-9:
            _, stamp, track, apart, deviation = under_way.popleft()
            lost = track.state is TargetState.LOST
            noise = config.centre_noise
            seen = bearing_of(track.box, camera, track.score, stamp, 'target', noise)
            taken = not follower.track(seen, now, lost)
            if taken and not lost and math.isfinite(apart):
                follower.record_depth(stamp, apart, deviation, now)
        command = follower.command(now)
        simulation.command(as_platform_command(command))
        if sample is not None:
            yield sample


def _distance(simulation: Simulation, track: Track, camera: CameraModel) -> tuple[float, float]:
    """Return the distance of the target from the depth in its track's box, and its deviation, m."""
    try:
        found = depth_in_box(simulation.depth(), track.box)
    except ValueError:
        return math.nan, math.nan
    scale = camera.distance(track.box.cx, track.box.cy, 1.0)
    return scale * found.depth, scale * found.deviation


def as_platform_command(command: Command) -> PlatformCommand:
    """Convert a follower's command for the simulated platform, whose pitch is positive upwards."""
    return PlatformCommand(
        command.forward, command.left, command.up, command.yaw_rate, -command.pitch_rate
    )


def _turn(simulation: Simulation, angle: float) -> None:
    """Turn the platform away from the target by `angle`, to the right if it is positive."""
    if not angle:
        return
    start = simulation.platform.pose.yaw
    step = 1 / simulation.scenario.fps
    model = simulation.scenario.platform_model
    settled = model.command_delay + 5 * model.yaw.lag
    while abs(math.remainder(simulation.platform.pose.yaw - start, 2 * math.pi)) < abs(angle):
        simulation.command(PlatformCommand(yaw_rate=-math.copysign(TURN_RATE, angle)))
        simulation.advance(step)
    simulation.command(PlatformCommand())
    simulation.advance(settled)


class LoopScore(NamedTuple):
    """Measures of a run."""

    bearing_error: float
    """Root mean square of the azimuth error after `SETTLED` seconds, as a share of the field of
    view. Frames without a visible target, covered or out of view, are left out: read `in_view`
    beside it."""
    in_view: float
    """Share of the frames with the target in the frame, seen or not."""
    hidden: int
    """Number of times that the target was covered or out of view, and could be seen again."""
    found: int
    """Number of these absences after which the target was tracked again within `FOUND_WITHIN`."""
    overshoot: float
    """Largest azimuth error to the other side, relative to the error at the start; NaN if `turned`
    is 0."""
    settling: float
    """Seconds until the azimuth error stays below `SMALL` of the field of view, the whole run if it
    never does; NaN if `turned` is 0."""
    range_error: float
    """Root mean square of the range error, relative to the desired range; NaN for a gimbal."""
    range_estimate_error: float
    """Root mean square of the error of the estimated range, relative to the true range, over the
    frames with an estimate; NaN for a gimbal."""


SETTLED = 2.0
"""Time from the start that the bearing and range errors leave out, s."""
FOUND_WITHIN = 3.0
"""Time within which a target that has reappeared must be tracked again, s."""
SMALL = 0.05
"""Azimuth error that counts as settled, as a share of the field of view."""
FOLLOWED = 0.3
"""IoU from which the target counts as followed again."""


def score(loop: Loop, samples: list[Sample]) -> LoopScore:
    """Return the measures of a run's samples."""
    truths = [sample.frame.truth for sample in samples]
    times = np.array([sample.frame.time for sample in samples])
    times -= times[0] - 1 / loop.scenario.fps
    config = loop.config
    azimuth = np.array([truth.bearing.azimuth for truth in truths]) - config.desired_azimuth
    azimuth = np.remainder(azimuth + math.pi, 2 * math.pi) - math.pi
    share = azimuth / loop.scenario.horizontal_fov
    seen = np.array([truth.box is not None for truth in truths])
    hidden, found = _found_again(samples, seen, loop.scenario.fps)
    counted = seen & (times >= SETTLED)
    overshoot = settling = range_error = estimate_error = float('nan')
    if loop.turned:
        away = share * math.copysign(1.0, loop.turned)
        overshoot = float(max(0.0, -away.min())) / abs(loop.turned / loop.scenario.horizontal_fov)
        late = np.flatnonzero(np.abs(share) > SMALL)
        settling = float(times[late[-1]]) if len(late) else 0.0
    if loop.scenario.platform != 'gimbal':
        ranges = np.array([truth.bearing.range for truth in truths])
        kept = config.desired_range or ranges[0]
        range_error = _rms((ranges[counted] - kept) / kept)
        estimates = np.array([sample.range for sample in samples])
        estimated = counted & np.isfinite(estimates)
        estimate_error = _rms(estimates[estimated] / ranges[estimated] - 1)
    return LoopScore(
        _rms(share[counted]),
        float(np.mean([truth.in_view for truth in truths])),
        hidden,
        found,
        overshoot,
        settling,
        range_error,
        estimate_error,
    )


def _rms(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    return float(np.sqrt(np.square(values).mean())) if len(values) else float('nan')


def _found_again(
    samples: list[Sample], seen: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], fps: float
) -> tuple[int, int]:
    """Count the absences of the target of 0.1 s or more, and how often it was found again.

    An absence that lasts to the end of the run is not counted.
    """
    hidden = found = 0
    edges = np.flatnonzero(np.diff(np.concatenate([[True], seen, [True]]).astype(int)))
    for first, end in edges.reshape(-1, 2):
        if end - first < 0.1 * fps or end == len(seen):
            continue
        hidden += 1
        window = samples[end : end + round(FOUND_WITHIN * fps)]
        found += any(
            sample.overlap > FOLLOWED and sample.track.state is not TargetState.LOST
            for sample in window
        )
    return hidden, found
