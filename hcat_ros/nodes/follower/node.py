# SPDX-License-Identifier: Apache-2.0
"""Target following as a ROS 2 lifecycle node: tracks in, velocity commands out."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from std_srvs.srv import SetBool
from vision_msgs.msg import Detection2D

from hcat_ros.following import CameraModel, Command, Follower, bearing_of
from hcat_ros.message_data import best_class, box_of, nanoseconds
from hcat_ros.nodes.diagnostics import Health, NodeDiagnostics, Refusals
from hcat_ros.nodes.follower.clock import ClockWatch
from hcat_ros.nodes.follower.dead_man import DeadMan
from hcat_ros.nodes.follower.depth import DepthInput, DepthTrack
from hcat_ros.nodes.follower.input import FollowInput
from hcat_ros.nodes.follower.output import FollowOutput
from hcat_ros.nodes.follower.parameters import FollowParameters
from hcat_ros.nodes.follower.report import COUNTED, following_state, following_values
from hcat_ros.nodes.follower.wiring import Surroundings
from hcat_ros.nodes.lifecycle import GuardedLifecycleNode, run_node
from hcat_ros.nodes.message_bounds import check_detection
from hcat_ros.nodes.message_info import time_in_queue
from hcat_ros.nodes.parameter_overrides import useless_overrides
from hcat_ros.nodes.tracker.settings import SETTINGS as TRACKER_SETTINGS

TRACKER_NAMES = frozenset(setting.name for setting in TRACKER_SETTINGS)
"""The tracker's parameters: a file for both nodes may set them here, too, without an error."""


class FollowerNode(GuardedLifecycleNode):
    """Commands a platform so that it keeps the tracked target in view.

    In: `track`, `track_view`, `camera_info`, `imu` (if use_imu is set), `depth` (if range_mode is
    depth). Out: `cmd_vel`, `target_bearing`, `target_pose`, `target_pose_with_covariance`,
    `target_markers`, `/tf` (if target_frame is set), `/diagnostics`. Service: `~/hold`.

    While active, the node publishes commands at a fixed rate, zero if there is no reason to move.
    It publishes zero before it deactivates or ends. A killed process (kill -9) cannot do that, so
    the platform's driver needs its own watchdog.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('hcat_follower', **kwargs)
        self.follower: Follower | None = None
        """Follower that computes the commands while the node is configured, otherwise None."""
        self._active = False
        self.last_command = Command(reason='not active')
        """Last command that was sent, with the reason if it is zero or slow."""
        self._image_stamp = 0.0
        self._clock_watch = ClockWatch()
        self._last_track_time = math.inf
        """Monotonic time of the last track, even if lost or refused; infinite before the first."""
        self._is_silent = False
        self._dead_man = DeadMan(self._stop_late)
        self.refusals = Refusals(self.get_logger().warning, COUNTED)
        self._settings = FollowParameters(self)
        self._held = bool(self._settings['start_on_hold'])
        self._diagnostics = NodeDiagnostics(self, 'following', self._describe, self.refusals)
        self._timer = self.steady_timer(1 / self._settings['rate'], self._tick)
        self._hold = self.create_service(SetBool, '~/hold', self._on_hold)
        self.start_soon(self._settings['autostart'], self._settings.problem)

    @property
    def camera(self) -> CameraModel | None:
        """Camera of the tracks, in pixels of their images; None while it is not known."""
        return None if self.follower is None else self._input.camera.camera

    # Transitions

    def configure(self) -> None:
        """Create the follower from the parameters. Raises ValueError, also for unknown parameters.

        `start_on_hold` applies here if it has been set to true since the last configure; otherwise
        the hold stays as the operator left it.
        """
        values = self._settings.values()
        # A misspelt limit would leave the platform faster than its operator wants.
        useless = useless_overrides(self, sys.argv, TRACKER_NAMES)
        if useless:
            raise ValueError('; '.join(useless))
        follower = Follower(self._settings.config())
        self._held |= self._settings.hold_set and bool(values['start_on_hold'])
        self._settings.hold_set = False
        follower.hold(self._held)
        self._input = FollowInput(self, values, self.refusals)
        self._output = FollowOutput(
            self,
            values['stamped'],
            values['target_frame'],
            values['target_frame_parent'],
            values['tf_timeout'],
            lambda reason: self.refusals.add('refused poses', f'target_pose refused: {reason}'),
        )
        self.follower = follower
        self._diagnostics.set_period(values['diagnostics_period'])
        self._settings.changed = True

    def activate(self) -> None:
        """Subscribe, and publish commands from now on."""
        follower = self.follower
        assert follower is not None  # configured
        self._apply_parameters(follower)
        self.refusals.begin()
        self._clock_watch.begin()
        self._input.subscribe(
            self._on_track,
            lambda turning: follower.record_turning(*turning, now=self._now()),
            self._stop_on_error,
        )
        self._use_depth(follower)
        self._surroundings = Surroundings(self, self._output.command_topic, self._output.stamped)
        self._last_track_time, self._is_silent = math.inf, False
        follower.activate(self._now())
        self._active = True
        held = ', on hold' if self._held else ''
        self.get_logger().info(
            f'active for platform {follower.config.platform}{held}: '
            f'{self._input.topics[0]} -> {self._output.command_topic}'
        )

    def deactivate(self) -> None:
        """Stop the platform and unsubscribe."""
        self._halt()
        if self.follower is not None:
            self.follower.deactivate()
            self._input.unsubscribe()

    def cleanup(self) -> None:
        """Free the follower and its publishers."""
        if self.follower is not None:
            self._output.destroy()
        self.follower = None

    def destroy_node(self) -> None:
        """Stop the platform, then destroy the node."""
        self._halt()
        self._dead_man.end()
        super().destroy_node()

    def _halt(self) -> None:
        self._dead_man.moving_until(None)
        if self._active:
            self._active = False
            self.last_command = Command(reason='not active')
            self._output.stop(self._settings['base_frame'])

    def _fail(self, error: Exception) -> None:
        """Stop the platform and deactivate after an error; `failure` says why."""
        self._halt()
        what = f'stopped and deactivated after an error: {type(error).__name__}: {error}'
        self.failure = self.log_error(what, error)
        self.trigger_deactivate()

    def _stop_on_error(
        self, callback: Callable[[Any, Mapping[str, Any]], None]
    ) -> Callable[[Any, Mapping[str, Any]], None]:
        def guarded(message: Any, info: Mapping[str, Any]) -> None:
            try:
                callback(message, info)
            except Exception as error:
                self._fail(error)

        return guarded

    def _use_depth(self, follower: Follower) -> None:
        tolerance = float(self._settings['depth_tolerance'])
        if follower.config.range_mode != 'depth':
            self._input.use_depth(None)
        elif self._input.depth is not None:
            self._input.depth.tolerance = tolerance
        else:
            self._input.use_depth(DepthInput(tolerance, self._on_distance, self.refusals.add))

    def _on_distance(self, stamp: float, distance: float, deviation: float) -> None:
        if self.follower is None or not self._active:
            return
        self.refusals.statistics.count('depths')
        reason = self.follower.record_depth(stamp, distance, deviation, self._now())
        if reason:
            self.refusals.add('refused depths', f'depth refused: {reason}')

    def _apply_parameters(self, follower: Follower) -> None:
        if self._settings.changed:
            self._settings.changed = False
            # Keep the platform: another platform has other axes and needs a new configure.
            follower.configure(self._settings.config(follower.config.platform))
            self._input.camera.configure(self._settings.values())
            if self._active:
                self._use_depth(follower)
            self._timer.timer_period_ns = int(1e9 / self._settings['rate'])

    # Inputs

    def _now(self) -> float:
        """Return the ROS time in seconds, the clock of the stamps, simulated or not."""
        return float(self.get_clock().now().nanoseconds) / 1e9

    def _on_track(self, message: Detection2D, info: Mapping[str, Any]) -> None:
        follower, now = self.follower, self._now()
        if follower is None or not self._active:
            return
        waited = time_in_queue(info)
        statistics, arrival = self.refusals.statistics, time.monotonic() - waited
        statistics.count('tracks')
        try:
            check_detection(message)
        except ValueError as error:
            self.refusals.add('refused tracks', f'track refused: {error}')
            return
        if not self._input.accept_track(info, arrival):
            statistics.count('tracks of another publisher')
            return
        self._last_track_time = arrival
        lost = not message.results
        if lost:
            statistics.count('lost tracks')
        if lost and not (message.bbox.size_x > 0 or message.bbox.size_y > 0):
            follower.record_blindness('the tracker gets no new image', now)
            return
        box, stamp = box_of(message), nanoseconds(message.header.stamp) / 1e9
        reason, camera = self._input.camera.refusal(box), self._input.camera.camera
        if camera is not None and not reason:
            score, noise = best_class(message)[1], follower.config.centre_noise
            measurement = bearing_of(box, camera, score, stamp, message.id, noise)
            reason = follower.track(measurement, now, lost, waited)
        elif lost:
            reason = follower.track(None, now, waited=waited)
        if reason and lost:
            return
        if camera is None or reason:
            where = 'x={:.5g} y={:.5g} w={:.5g} h={:.5g}'.format(*box)
            self.refusals.add('refused tracks', f'track at {where} refused: {reason}')
            return
        self._clock_watch.record_track(arrival)
        self._image_stamp = stamp
        self._sample('image age on arrival of its track', now - stamp)
        if lost:
            return
        if self._input.depth is not None:
            self._input.depth.add_track(DepthTrack(stamp, box, camera))
        frames = str(self._settings['camera_frame']), str(self._settings['base_frame'])
        frame = self._input.frame_of(message, *frames)
        self._output.target(follower, message.header, stamp, frame, camera.pitch, message.id)

    def _on_hold(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        changes, self._held = self._held != request.data, bool(request.data)
        if self.follower is not None:
            self.follower.hold(self._held)
            self._send_command(self.follower)
        response.success = True
        response.message = 'on hold' if self._held else 'hold released'
        if changes:
            self.get_logger().info(response.message)
        return response

    def _sample(self, name: str, age: float) -> None:
        if -1 < age < 60:  # otherwise the stamps are from another clock
            self.refusals.statistics.sample(name, age)

    # Outputs

    def _tick(self) -> None:
        if self.follower is not None:
            self._send_command(self.follower)

    def _send_command(self, follower: Follower) -> None:
        if not self._active:
            return
        try:
            self._apply_parameters(follower)
            self.last_command = self._next_command(follower)
            self._output.command(self.last_command, self._settings['base_frame'])
            self._watch_over(follower)
            self._log_silence(follower.config.stale_timeout)
        except Exception as error:
            self._fail(error)
            return
        self.refusals.statistics.count('commands')
        if self.last_command.allowed > 0:
            self._sample('image age at command', self._now() - self._image_stamp)

    def _watch_over(self, follower: Follower) -> None:
        """Set the deadline at which the dead man stops the platform if the executor is blocked."""
        if self.last_command.is_zero:
            self._dead_man.moving_until(None)
            return
        left = follower.motion_ends - self._now()
        if self.get_parameter('use_sim_time').value is True:
            # The dead man counts real seconds, which do not measure the age of a simulated track:
            # here it only detects that the executor is blocked.
            left = follower.config.stale_timeout
        self._dead_man.moving_until(time.monotonic() + left)

    def _log_silence(self, stale_timeout: float) -> None:
        """Log once when tracks stop arriving, and once when they arrive again."""
        silent = time.monotonic() - self._last_track_time > stale_timeout
        if silent == self._is_silent:
            return
        self._is_silent = silent
        if silent:
            self.get_logger().warning(
                f'no track on {self._input.topics[0]} for {stale_timeout:g} s, the platform stands '
                'still: check that the tracker runs, gets images and has a target (/diagnostics)'
            )
        else:
            self.get_logger().info(f'{self._input.topics[0]}: tracks come again')

    def _stop_late(self) -> None:
        """Send zero from the dead man's thread."""
        if self._active:
            self._output.stop_once(str(self._settings['base_frame']))
            self.refusals.statistics.count('stops by the dead man')

    def _next_command(self, follower: Follower) -> Command:
        now = self._now()
        command = follower.command(now)
        simulated = self.get_parameter('use_sim_time').value is True
        timeout = follower.config.stale_timeout
        trouble = self._clock_watch.trouble(now, time.monotonic(), timeout, simulated)
        if not trouble or command.is_zero:
            return command
        self._clock_watch.forget_track()
        follower.activate(now)  # its state comes from the wrong clock
        return Command(reason=trouble)

    # Diagnostics

    def _describe(self) -> Health | None:
        self._diagnostics.standing['hold'] = str(self._held).lower()
        follower = self.follower
        if follower is None or not self._active:
            return None
        problems = self._input.problems(follower.config.stale_timeout)
        problems += self._surroundings.look(*self._input.topics, self._input.camera.has_input)
        now = self._now()
        values = following_values(
            self.last_command, follower.bearing(now), follower.target_range(now), follower.config
        )
        if follower.range_source:
            values['range from'] = follower.range_source
        return Health(*following_state(self.last_command, problems), values)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node, the executable `follower_node`."""
    return run_node(FollowerNode, args)


if __name__ == '__main__':
    sys.exit(main())
