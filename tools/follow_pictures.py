# SPDX-License-Identifier: Apache-2.0
"""Pictures of a following run: the video, and a chart of errors and commands over time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hcat_ros.drawing import draw_label, draw_track
from hcat_ros.files.videos import whole_video
from hcat_ros.following import Command
from hcat_ros.simulation import TrueBearing
from hcat_ros.tracking import Track

BLUE, GREEN, RED = 'tab:blue', 'tab:green', 'tab:red'
GOAL = 0.05
"""Goal for the bearing error, as a share of the field of view."""

Values = NDArray[np.float64]


class Moment(NamedTuple):
    """One frame of a run."""

    seconds: float
    """Time since the first frame, s."""
    track: Track | None
    """Latest track up to this frame, None before the first track."""
    command: Command | None
    """Latest command up to this frame, None before the first command."""
    bearing: TrueBearing
    """True bearing of the target."""
    seen: bool
    """Whether the target can be seen."""
    hidden: bool
    """Whether the target is in the frame, but covered."""


def write_video(
    pictures: Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8] | None]],
    moments: Sequence[Moment],
    fps: float,
    path: Path,
) -> None:
    """Write a video of the robot's view with the track, and beside it the scene from above.

    pictures: for each moment the view and what it looks like from above, None if unknown. Raises
    OSError if OpenCV cannot write it.
    """
    above: NDArray[np.uint8] | None = None
    with whole_video(path, fps) as video:
        for moment, (view, top) in zip(moments, pictures):
            high = view.shape[0]
            if top is not None:
                above = np.asarray(
                    cv2.resize(top, (high, high), interpolation=cv2.INTER_AREA), np.uint8
                )
            elif above is None:
                above = np.full((high, high, 3), 250, np.uint8)
            video.write(np.hstack((drawn(view, moment), above)))


def drawn(view: NDArray[np.uint8], moment: Moment) -> NDArray[np.uint8]:
    """Return the view with the track, the time and the command, BGR."""
    picture = view.copy()
    high, wide = view.shape[:2]
    scale = max(high / 720, 0.5)
    cross = (wide // 2, high // 2)
    cv2.drawMarker(picture, cross, (255, 255, 255), cv2.MARKER_CROSS, round(20 * scale), 1)
    if moment.track is not None:
        draw_track(picture, moment.track, commanded(moment.command))
    else:
        draw_label(picture, commanded(moment.command), (0, high), scale, (255, 255, 255))
    state = f'{moment.seconds:4.1f} s'
    if not moment.seen:
        state += '   target hidden' if moment.hidden else '   target out of view'
    draw_label(picture, state, (0, 0), scale, (255, 255, 255))
    return picture


def commanded(command: Command | None) -> str:
    """Describe a command in words."""
    if command is None:
        return 'no command yet'
    if command.is_zero:
        return 'stop'
    words = [
        f'{name} {value:+.2f} m/s'
        for name, value in (('forward', command.forward), ('climb', command.up))
        if abs(value) >= 0.005
    ]
    words += [
        f'{name} {math.degrees(value):+.0f} deg/s'
        for name, value in (('turn', command.yaw_rate), ('tilt', -command.pitch_rate))
        if abs(math.degrees(value)) >= 0.5
    ]
    return '   '.join(words) or 'hardly moves'


class Line(NamedTuple):
    """One curve in a panel."""

    name: str
    colour: str
    values: Values


class Panel(NamedTuple):
    """One panel of the chart."""

    title: str
    lines: tuple[Line, ...]
    guides: tuple[float, ...]
    """Values at which a thin line is drawn."""
    least: tuple[float, float]
    """Smallest range of values that the panel shows."""


def panels(moments: Sequence[Moment], fov: float, kept: float | None) -> tuple[Panel, ...]:
    """Return the panels of a run. fov: rad. kept: desired range [m], None for a gimbal."""

    def command(name: str) -> Values:
        return np.array([getattr(m.command, name) if m.command else 0.0 for m in moments])

    def share(name: str) -> Values:
        """Return an angle in percent of the field of view, clipped at the edge of the frame."""
        angles = np.array([getattr(moment.bearing, name) for moment in moments])
        return np.asarray(np.clip(100 / fov * angles, -50, 50))

    error = [Line('azimuth', BLUE, share('azimuth'))]
    turns = [Line('turn', BLUE, np.degrees(command('yaw_rate')))]
    if kept is None:
        error.append(Line('elevation', GREEN, share('elevation')))
        turns.append(Line('tilt', GREEN, -np.degrees(command('pitch_rate'))))
    goal = 100 * GOAL
    title = f'bearing error [% of the field of view]; lines at ±{goal:g}'
    found = [Panel(title, tuple(error), (-goal, 0.0, goal), (-2 * goal, 2 * goal))]
    if kept is not None:
        ranges = np.array([moment.bearing.range for moment in moments])
        found.append(
            Panel(
                f'range [m]; line at {kept:.1f}, to be kept',
                (Line('range', RED, ranges),),
                (kept,),
                (0.8 * kept, 1.2 * kept),
            )
        )
        drive = [Line('forward', RED, command('forward'))]
        if command('up').any():
            drive.append(Line('climb', GREEN, command('up')))
        found.append(Panel('commands [m/s]', tuple(drive), (0.0,), (0.0, 0.5)))
    found.append(Panel('commands [deg/s]', tuple(turns), (0.0,), (-10.0, 10.0)))
    return tuple(found)


def chart(moments: Sequence[Moment], fov: float, kept: float | None, title: str) -> Figure:
    """Return a figure of the errors and commands over time.

    Spans where the target cannot be seen are grey. fov: rad; kept: range [m], None for a gimbal.
    """
    shown = panels(moments, fov, kept)
    figure = Figure(figsize=(10.8, 0.8 + 2.2 * len(shown)), dpi=100, constrained_layout=True)
    figure.suptitle(title)
    times = np.array([moment.seconds for moment in moments])
    hidden = np.array([not moment.seen for moment in moments])
    for axes, panel in zip(figure.subplots(len(shown), sharex=True), shown):
        axes.set_title(panel.title, loc='left')
        axes.fill_between(
            times, 0, 1, where=hidden, transform=axes.get_xaxis_transform(), color='0.9'
        )
        for guide in panel.guides:
            axes.axhline(guide, color='0.75', linewidth=0.8)
        for line in panel.lines:
            axes.plot(times, line.values, color=line.colour, label=line.name)
        axes.set_ylim(*limits(panel))
        axes.legend(loc='upper right')
    axes.set_xlabel('seconds' + ('; grey: the target cannot be seen' if hidden.any() else ''))
    return figure


def limits(panel: Panel) -> tuple[float, float]:
    """Return the lowest and the highest value that a panel shows."""
    values = np.concatenate([line.values for line in panel.lines])
    # Single peaks may be cut off, for example while the target is out of view.
    low = min(panel.least[0], float(np.percentile(values, 0.5)))
    high = max(panel.least[1], float(np.percentile(values, 99.5)))
    room = 0.05 * (high - low)
    return low - room, high + room
