# SPDX-License-Identifier: Apache-2.0
"""The tracker as a ROS 2 lifecycle node: images and an init box in, Detection2D out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.parameter import Parameter
from rclpy.task import Future
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2D, Detection2DArray

try:
    from hcat_ros_interfaces.srv import NamedTarget, SetTarget
except ImportError:  # a separate package, which is optional
    NamedTarget = SetTarget = None

from hcat_ros.boxes import Box, iou
from hcat_ros.engines import Engine, load_engine
from hcat_ros.models import load_model
from hcat_ros.nodes.detections import (
    Found,
    choose_detection,
    target_request,
    usable_detections,
)
from hcat_ros.nodes.diagnostics import Drops, Health, NodeDiagnostics, Refusals
from hcat_ros.nodes.follower.settings import FOLLOWER_NAMES
from hcat_ros.nodes.input_watch import PARAMETERS, SILENCE, InputWatch
from hcat_ros.nodes.lifecycle import GuardedLifecycleNode, run_node
from hcat_ros.nodes.one_publisher import OnePublisher
from hcat_ros.nodes.parameter_overrides import useless_overrides, useless_qos
from hcat_ros.nodes.parameters import Settings
from hcat_ros.nodes.qos import IMAGE_QOS, RELIABLE_QOS
from hcat_ros.nodes.tracker.engine_log import engine_log
from hcat_ros.nodes.tracker.health import COUNTED, tracking_health
from hcat_ros.nodes.tracker.image_input import ImageInput, image_topic
from hcat_ros.nodes.tracker.latched_input import LatchedInput
from hcat_ros.nodes.tracker.output import TrackerOutput
from hcat_ros.nodes.tracker.settings import FOR_TRACKER, SETTINGS, engine_options
from hcat_ros.tracking import TargetState, Tracker, TrackerConfig, warm_up
from hcat_ros.tracking.frame_buffer import StampedFrame
from hcat_ros.tracking.session import TrackedFrame, TrackingSession, target_ids
from hcat_ros.tracking.stream import Turn
from hcat_ros.tracking.target_requests import TargetRequest

DETECTED_PLACE = 0.3
"""IoU from which a detection counts as a target that is already followed."""
MOST_SEARCHES = 8
"""Maximum number of searches for lost targets per message of detections, so that images do not wait
long. If more targets are lost, each is searched for in one detection."""


class TrackerNode(GuardedLifecycleNode):
    """Follows one target, or several with `max_targets`.

    In: `image`, `init_box`, `detections`. Out: `track` (the primary target), `tracks` (all
    targets), `track_view`, `track_image`, `/diagnostics`. Services: `~/reset` and, if
    hcat_ros_interfaces is installed, `~/set_target`, `~/select_primary`, `~/drop`.
    No input ends the node: it refuses unusable inputs and reports the reason in the log and in the
    diagnostics.
    """

    def __init__(self, load: Callable[..., Engine] = load_engine, **kwargs: Any) -> None:
        super().__init__('hcat_tracker', **kwargs)
        self._load = load
        self.engine: Engine | None = None
        """Engine while the node is configured, otherwise None."""
        self.session: TrackingSession | None = None
        """Targets and past frames while the node is active, otherwise None."""
        self._card_values: dict[str, float] = {}
        self._inputs: list[Any] = []
        self._output: TrackerOutput | None = None
        self.refusals = Refusals(self.get_logger().warning, COUNTED)
        self._watch = InputWatch(self)
        self._ids = target_ids()
        self._looks = 0
        """Number of detections that were searched for lost targets."""
        self._settings = Settings(self, SETTINGS, self._on_parameters)
        self._diagnostics = NodeDiagnostics(self, 'tracking', self._describe, self.refusals)
        self._watch_timer = self.steady_timer(0.5, self._check_inputs)
        self._reset = self.create_service(Trigger, '~/reset', self._on_reset)
        if SetTarget is not None:
            # A request that waits for its image must not hold up the images.
            reentrant = ReentrantCallbackGroup()
            self._set_target = self.create_service(
                SetTarget, '~/set_target', self._on_set_target, callback_group=reentrant
            )
            self._select = self.create_service(NamedTarget, '~/select_primary', self._on_select)
            self._drop = self.create_service(NamedTarget, '~/drop', self._on_drop)
        self.start_soon(self._settings['autostart'], self._settings.problem)

    # Transitions

    def configure(self) -> None:
        """Load the model into the engine and warm it up. Raises if either is unusable."""
        values = self._settings.values()
        self._watch.tell_all(PARAMETERS, useless_overrides(self, sys.argv, FOLLOWER_NAMES))
        model = load_model(values['model'])
        with engine_log(self.get_logger()):
            engine = self._load(model, **engine_options(values))
        started = time.perf_counter()
        warm_up(engine)
        self.engine = engine
        # Unset parameters take the model card's values and are reset when the model changes.
        self._card_values = {
            name: value
            for name, value in model.card.tracking.items()
            if values[name] in (None, self._card_values.get(name))
        }
        self.set_parameters([Parameter(name, value=v) for name, v in self._card_values.items()])
        self._diagnostics.set_period(values['diagnostics_period'])
        self._output = TrackerOutput(self)
        card = engine.card
        self._diagnostics.hardware = runtime = f'{card.runtime} {card.runtime_version}'
        self._diagnostics.standing = {
            'model': card.model,
            'engine': runtime,
            'precision': card.precision,
        }
        self.get_logger().info(
            f'{card.model} in {runtime} ({card.precision}), warmed up in '
            f'{1e3 * (time.perf_counter() - started):.0f} ms'
        )

    def activate(self) -> None:
        """Subscribe; the node tracks frames from now on."""
        values = self._settings.values()
        assert self.engine is not None  # configured
        config = TrackerConfig(**{name: values[name] for name in FOR_TRACKER})
        self.session = TrackingSession(
            Tracker(self.engine, config),
            values['buffer_mb'] * 1024 * 1024,
            values['stamp_tolerance'],
            self.refusals.add,
            self._ids,
            values['max_targets'],
        )
        self.refusals.begin()
        self._images = images = ImageInput(self, self._settings, self.refusals.add, self._watch)
        self._dropped_images = Drops(lambda: self.count_publishers(images.topic))
        self._unseen = 0
        """Number of published images that were not tracked since the last tracked image."""
        self._publisher_filter = OnePublisher(lambda: self.count_publishers(images.topic))
        self._init_boxes = LatchedInput(self, Detection2D, 'init_box', self._on_init_box)
        if values['init_box']:
            if len(values['init_box']) != 4:
                raise ValueError(f'init_box {values["init_box"]}: expected x, y, w, h in pixels')
            box = Box(*values['init_box'])
            first = TargetRequest(box, 0, values['class_id'])
            self.session.requests.submit(first, time.monotonic())
        self._watch.begin()
        # Images last: once their subscription is visible, the node also accepts an init box.
        for message_type, topic, callback, qos in (
            (Detection2D, 'init_box', self._init_boxes.take, RELIABLE_QOS),
            (Detection2DArray, 'detections', self._on_detections, RELIABLE_QOS),
            (images.type, images.topic, self._on_image, IMAGE_QOS),
        ):
            self._inputs.append(
                self._watch.subscribe(
                    *(message_type, topic, callback, qos), one_publisher=topic == images.topic
                )
            )
        self._watch.tell_all('qos parameters', useless_qos(self))
        settings = ', '.join(f'{name} {values[name]:g}' for name in FOR_TRACKER)
        self.get_logger().info(f'active on {images.topic}: {settings}')

    def deactivate(self) -> None:
        """Unsubscribe and drop the target; the engine stays loaded."""
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs.clear()
        if self.session is not None:
            self._init_boxes.close()
            self.session.reset()
            self._log_summary()
        self.session = None
        self._watch.begin()

    def cleanup(self) -> None:
        """Free the engine."""
        if self._output is not None:
            self._output.destroy()
        self.engine = self._output = None
        self._diagnostics.hardware, self._diagnostics.standing = '', {}

    def destroy_node(self) -> None:
        """Log the summary if the node is still active, then destroy the node."""
        if self.session is not None:
            self._log_summary()
        super().destroy_node()

    def _log_summary(self) -> None:
        statistics = self.refusals.statistics
        counts = statistics.counts
        if counts['images']:
            engine = statistics.median('engine')
            time_spent = f'; {1e3 * engine:.1f} ms each in the engine' if engine else ''
            self.get_logger().info(
                f'{counts["images"]} images, {counts["tracks"]} tracked, the target lost in '
                f'{counts["lost tracks"]}{time_spent}'
            )

    # Inputs

    def _check_inputs(self) -> None:
        if self.session is None:
            topic = image_topic(self, self._settings)
            self._watch.check_inactive(topic, self.state_label, self.failure)
        else:
            mode = self._settings['init_mode']
            self._watch.check_active(self._inputs[-1], self.session, mode)
            self._watch.check_publishers()
            self._init_boxes.look()
            self._publish(self.session, self.session.poll_waiting_request())

    def _on_image(self, message: Image | CompressedImage, info: Mapping[str, Any]) -> None:
        self._watch.record_image()
        statistics = self.refusals.statistics
        statistics.count('images')
        dropped = self._dropped_images.count_before(info)
        statistics.count('dropped images', dropped)
        self._unseen += dropped
        session = self.session
        if session is None:
            return
        if not self._publisher_filter.accepts(info, time.monotonic()):
            statistics.count('images of another publisher')
            return
        frame = self._images.frame(message)
        if frame is None:
            self._unseen += 1
            return
        self._sample_age('image age on arrival', frame)
        turn = self._images.turn(frame)
        session.begin_anew(turn)
        if turn.is_passed_over:
            self._unseen += turn is Turn.LATE
            return
        assert self._output is not None  # configured
        self._output.view(self._images.view, frame.header)
        frame = frame._replace(is_frozen=self._images.frozen_for > 0)
        dropped, self._unseen = self._unseen, 0
        self._publish(session, session.add_frame(frame, dropped))

    def _on_init_box(self, message: Detection2D) -> None:
        try:
            request = target_request(message)
        except ValueError as error:
            self.refusals.add('refused boxes', f'init box refused: {error}')
        else:
            self._request(request)

    async def _on_set_target(self, request: Any, response: Any) -> Any:
        """Start the target and answer once it is followed or refused, see `TargetRequest`."""
        if self.session is None:
            response.message = self._inactive_reason()
            return response
        try:
            target = target_request(request.target)
        except ValueError as error:
            self.refusals.add('refused boxes', f'init box refused: {error}')
            response.message = str(error)
            return response
        outcome: Future = Future()
        self._request(target._replace(on_outcome=outcome.set_result))
        response.id, response.message = await outcome
        response.success = not response.message
        return response

    def _on_select(self, request: Any, response: Any) -> Any:
        return self._answer_by_id(TrackingSession.select_primary, request, response)

    def _on_drop(self, request: Any, response: Any) -> Any:
        return self._answer_by_id(TrackingSession.drop, request, response)

    def _answer_by_id(
        self, action: Callable[[TrackingSession, str], None], request: Any, response: Any
    ) -> Any:
        try:
            if self.session is None:
                raise ValueError(self._inactive_reason())
            action(self.session, request.id)
            response.success = True
        except ValueError as error:
            response.message = str(error)
        return response

    def _inactive_reason(self) -> str:
        return f'the tracker is {self.state_label}: {self.failure or "activate it first"}'

    def _on_detections(self, message: Detection2DArray, info: Mapping[str, Any]) -> None:
        session = self.session
        mode = self._settings['init_mode']
        if session is None or mode == 'manual' or not session.wants_target:
            return
        listed = self._settings['detection_class'].split(',')
        classes = [name.strip() for name in listed if name.strip()]
        found, reason = usable_detections(message, self._images.view)
        if session.max_targets > 1 and classes:
            # Do not search detections of other classes for lost targets either.
            found = [one for one in found if one.class_id in classes]
        if reason:
            self.refusals.add('refused detections', f'detection refused: {reason}')
        if session.max_targets > 1:
            self._add_detections(session, found, mode, classes)
            return
        target = choose_detection(found, mode, classes, session.last_seen)
        if target is not None:
            self._request(TargetRequest(target.box, target.stamp, target.class_id))

    def _add_detections(
        self, session: TrackingSession, found: Sequence[Found], mode: str, classes: Sequence[str]
    ) -> None:
        """Resume lost targets in detections, and add detections that belong to no target yet.

        While targets are lost, a detection is added only after it was searched for them; detections
        for which there was no time are searched with later messages.
        """
        places = [target.place for target in session.targets if not target.is_lost]
        new = _without_overlap(found, places)
        if lost := sum(target.is_lost for target in session.targets):
            first = self._looks % max(1, len(new))
            new = (new[first:] + new[:first])[: max(1, MOST_SEARCHES // lost)]
            self._looks += len(new)
            places = [one.box for one in new if session.find_again(one.box, one.stamp)]
            new = _without_overlap(new, places)
        # Limit the attempts: each may be refused, for example all boxes of an old image.
        for _ in range(session.max_targets):
            full = len(session.targets) >= session.max_targets
            target = choose_detection(new, mode, classes, session.last_seen)
            if full or target is None or session.requests.waiting is not None:
                return
            # Two detections that overlap, such as a rider and the bicycle, are one target.
            new = _without_overlap([one for one in new if one is not target], [target.box])
            self._request(TargetRequest(target.box, target.stamp, target.class_id))
            if mode != 'all':
                return

    def _request(self, request: TargetRequest) -> None:
        session = self.session
        if session is None:
            return
        request = request._replace(class_id=request.class_id or self._settings['class_id'])
        self._publish(session, session.request(request))

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = True
        response.message = 'there was no target'
        if self.session is not None:
            if self.session.has_target:
                response.message = 'target dropped'
            self.session.reset()
        return response

    def _on_parameters(self, changes: Mapping[str, Any]) -> None:
        later = [
            setting.name for setting in SETTINGS if setting.name in changes and not setting.live
        ]
        if later and self.engine is not None:
            self.get_logger().info(
                f'{", ".join(later)}: takes effect when the node is configured and activated again'
            )
        if self.session is None:
            return
        tracking = {name: changes[name] for name in FOR_TRACKER if name in changes}
        self.session.configure(**tracking)
        if 'stamp_tolerance' in changes:
            self.session.requests.tolerance = changes['stamp_tolerance']

    # Outputs

    def _publish(self, session: TrackingSession, tracked: Iterable[TrackedFrame]) -> None:
        """Publish tracked frames. The session tracks each frame when the iterator requests it."""
        assert self._output is not None  # configured
        before = {target.id for target in session.targets}
        statistics = self.refusals.statistics
        for one in tracked:
            self._output.track(one)
            statistics.count_track()
            self._sample_age('image age on output', one.frame)
            if one.track is not None:
                statistics.count('lost tracks', int(one.track.state is TargetState.LOST))
                for stage, seconds in one.stage_times._asdict().items():
                    statistics.sample(stage, seconds)
        for target in session.targets:
            if target.id not in before:
                where = 'x={:.1f} y={:.1f} w={:.1f} h={:.1f}'.format(*target.request.box)
                name = f'{target.id} ({target.request.class_id})'
                self.get_logger().info(f'target {name} at {where}')

    def _sample_age(self, name: str, frame: StampedFrame) -> None:
        age = self._images.age(frame)
        if -1 < age < 60:  # otherwise the stamps are from another clock
            self.refusals.statistics.sample(name, age)

    def _describe(self) -> Health | None:
        session = self.session
        if session is None:
            return None
        track = session.track
        target = 'tracking' if session.has_target else 'no target'
        values = {'target': session.target_id}
        if track is not None:
            values |= {'state': track.state.value, 'score': f'{track.score:.3f}'}
            if track.state is not TargetState.TRACKING:
                target = f'target {track.state.value}'
        if (count := len(session.targets)) > 1:
            values['targets'] = f'{count}, {session.updates_a_frame} looked for in each image'
            values['newest target'] = session.targets[-1].id
        silent = self._watch.silent_for if self._watch.silent_for > SILENCE else 0.0
        statistics = self.refusals.statistics
        return Health(*tracking_health(statistics, silent, target, self._watch.warnings), values)


def _without_overlap(found: Sequence[Found], places: Sequence[Box]) -> list[Found]:
    """Return the detections that overlap none of these targets."""
    if not found or not places:
        return list(found)
    boxes = np.array([one.box for one in found])
    overlaps = iou(boxes[:, None], np.array(places)).max(axis=1)
    return [one for one, overlap in zip(found, overlaps) if overlap < DETECTED_PLACE]


def main(args: Sequence[str] | None = None) -> int:
    """Run the node, the executable `tracker_node`."""
    return run_node(TrackerNode, args)


if __name__ == '__main__':
    sys.exit(main())
