# SPDX-License-Identifier: Apache-2.0
"""The tracker as a ROS 2 lifecycle node: images and an init box in, Detection2D out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2D, Detection2DArray

from hcat_ros.boxes import Box
from hcat_ros.drawing import draw_track
from hcat_ros.engines import Engine, load_engine
from hcat_ros.message_data import best_class, box_of, nanoseconds
from hcat_ros.models import load_model
from hcat_ros.nodes.detections import chosen, track_message
from hcat_ros.nodes.diagnostics import Drops, Statistics, diagnostic_array, health, shortened
from hcat_ros.nodes.engine_log import engine_log
from hcat_ros.nodes.frame_buffer import StampedFrame
from hcat_ros.nodes.image_input import ImageInput, image_topic
from hcat_ros.nodes.images import image_message
from hcat_ros.nodes.input_watch import SILENCE, InputWatch
from hcat_ros.nodes.lifecycle import GuardedLifecycleNode, run_node
from hcat_ros.nodes.parameters import Settings
from hcat_ros.nodes.qos import DRAWN_QOS, IMAGE_QOS, RELIABLE_QOS, overridable
from hcat_ros.nodes.session import TrackedFrame, TrackingSession
from hcat_ros.nodes.target_requests import TargetRequest
from hcat_ros.nodes.tracker_settings import FOR_TRACKER, SETTINGS, engine_options
from hcat_ros.stream import Turn
from hcat_ros.tracking import TargetState, Tracker, TrackerConfig, warm_up
from hcat_ros.tracking.encodings import to_bgr

LOG_EVERY = 5.0
"""Seconds between log lines about the same recurring trouble."""


class TrackerNode(GuardedLifecycleNode):
    """Follows one target.

    In: `image`, `init_box`, `detections`. Out: `track`, `track_image`, `/diagnostics`.
    Service: `~/reset`. Nothing that comes from outside ends it: what cannot be used is
    refused with the reason in the log and in the diagnostics.
    """

    def __init__(self, load: Callable[..., Engine] = load_engine, **kwargs: Any) -> None:
        super().__init__('hcat_tracker', **kwargs)
        self._load = load
        self._engine: Engine | None = None
        self._session: TrackingSession | None = None
        self._card_values: dict[str, float] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._statistics = Statistics()
        self._watch = InputWatch(self)
        self._report_time = time.monotonic()
        self._refusal_time = -LOG_EVERY
        self._settings = Settings(self, SETTINGS, self._on_parameters)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self._report_timer = self.steady_timer(1.0, self._report)
        self._watch_timer = self.steady_timer(0.5, self._check_inputs)
        self._reset = self.create_service(Trigger, '~/reset', self._on_reset)
        if self._settings['autostart']:
            self.start_soon()

    # Transitions

    def configure(self) -> None:
        """Load the model into the engine and warm it up. Raises for what cannot be used."""
        values = self._settings.values()
        model = load_model(values['model'])
        with engine_log(self.get_logger()):
            engine = self._load(model, **engine_options(values))
        started = time.perf_counter()
        warm_up(engine)
        self._engine = engine
        # What is not given comes from the model's card, and goes with the model.
        self._card_values = {
            name: value
            for name, value in model.card.tracking.items()
            if values[name] in (None, self._card_values.get(name))
        }
        self.set_parameters([Parameter(name, value=v) for name, v in self._card_values.items()])
        self._report_timer.timer_period_ns = int(values['diagnostics_period'] * 1e9)
        track = self.create_lifecycle_publisher(
            Detection2D, 'track', copy(RELIABLE_QOS), qos_overriding_options=overridable()
        )
        track_image = self.create_lifecycle_publisher(
            Image, 'track_image', copy(DRAWN_QOS), qos_overriding_options=overridable()
        )
        self._outputs = [track, track_image]
        card = engine.card
        self.get_logger().info(
            f'{card.model} in {card.runtime} {card.runtime_version} ({card.precision}), warmed up '
            f'in {1e3 * (time.perf_counter() - started):.0f} ms'
        )

    def activate(self) -> None:
        """Subscribe: from here on frames are tracked."""
        values = self._settings.values()
        assert self._engine is not None  # configured
        config = TrackerConfig(**{name: values[name] for name in FOR_TRACKER})
        self._session = TrackingSession(
            Tracker(self._engine, config),
            values['buffer_mb'] * 1024 * 1024,
            values['stamp_tolerance'],
            self._refuse,
        )
        self._statistics = Statistics()
        self._images = images = ImageInput(self, self._settings, self._refuse)
        self._drops = Drops(lambda: self.count_publishers(images.topic))
        self._report_time = time.monotonic()
        if values['init_box']:
            if len(values['init_box']) != 4:
                raise ValueError(f'init_box {values["init_box"]}: expected x, y, w, h in pixels')
            box = Box(*values['init_box'])
            self._session.requests.waiting = TargetRequest(box, 0, values['class_id'])
        # The image last: who sees it subscribed can send the init box.
        for message_type, topic, callback, qos in (
            (Detection2D, 'init_box', self._on_init_box, RELIABLE_QOS),
            (Detection2DArray, 'detections', self._on_detections, RELIABLE_QOS),
            (images.type, images.topic, self._on_image, IMAGE_QOS),
        ):
            self._inputs.append(self._watch.subscribe(message_type, topic, callback, qos))
        self._watch.begin()
        settings = ', '.join(f'{name} {values[name]:g}' for name in FOR_TRACKER)
        self.get_logger().info(f'active on {images.topic}: {settings}')

    def deactivate(self) -> None:
        """Unsubscribe and drop the target; the engine stays loaded."""
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs.clear()
        self._session = None
        self._watch.begin()

    def cleanup(self) -> None:
        """Free the engine."""
        for publisher in self._outputs:
            self.destroy_lifecycle_publisher(publisher)
        self._outputs.clear()
        self._engine = None

    # Inputs

    def _check_inputs(self) -> None:
        if self._session is None:
            topic = image_topic(self, self._settings)
            self._watch.check_inactive(topic, self.state_label, self.failure)
        else:
            mode = self._settings['init_mode']
            self._watch.check_active(self._inputs[-1], self._session, mode)

    def _on_image(self, message: Image | CompressedImage, info: Mapping[str, Any]) -> None:
        self._watch.image_came()
        self._statistics.count('images')
        self._statistics.count('dropped images', self._drops.before(info))
        session = self._session
        if session is None:
            return
        frame = self._images.frame(message)
        if frame is None:
            return
        self._sample_age('image age on arrival', frame)
        turn = self._images.turn(frame)
        if turn is Turn.BEGINS:
            session.reset()
            session.buffer.clear()
        if turn is not Turn.PASSED_OVER:
            self._publish(session, session.add_frame(frame))

    def _on_init_box(self, message: Detection2D) -> None:
        self._request(message, message.header.stamp)

    def _on_detections(self, message: Detection2DArray) -> None:
        session = self._session
        mode = self._settings['init_mode']
        if session is None or mode == 'manual' or not session.wants_target:
            return
        listed = self._settings['detection_class'].split(',')
        classes = [name.strip() for name in listed if name.strip()]
        target = chosen(message.detections, mode, classes, session.last_seen)
        if target is not None:
            self._request(target, message.header.stamp)

    def _request(self, detection: Detection2D, stamp: Any) -> None:
        session = self._session
        if session is None:
            return
        class_id = best_class(detection)[0] or self._settings['class_id']
        request = TargetRequest(box_of(detection), nanoseconds(stamp), class_id)
        self._publish(session, session.request(request))

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = True
        response.message = 'there was no target'
        if self._session is not None:
            if self._session.has_target:
                response.message = 'target dropped'
            self._session.reset()
        return response

    def _on_parameters(self, changes: Mapping[str, Any]) -> None:
        later = [
            setting.name for setting in SETTINGS if setting.name in changes and not setting.live
        ]
        if later and self._engine is not None:
            self.get_logger().info(f'{", ".join(later)}: takes effect at the next configure')
        if self._session is None:
            return
        tracking = {name: changes[name] for name in FOR_TRACKER if name in changes}
        self._session.tracker.configure(**tracking)
        if 'stamp_tolerance' in changes:
            self._session.requests.tolerance = changes['stamp_tolerance']

    # Outputs

    def _publish(self, session: TrackingSession, tracked: Iterable[TrackedFrame]) -> None:
        track_publisher, image_publisher = self._outputs
        targets = session.targets
        for frame, track, target_id, class_id in tracked:
            track_publisher.publish(track_message(frame.header, track, target_id, class_id))
            self._statistics.tracked()
            self._sample_age('image age on output', frame)
            for stage, seconds in session.tracker.stage_times._asdict().items():
                self._statistics.sample(stage, seconds)
            if image_publisher.get_subscription_count():
                picture = to_bgr(frame.image, frame.encoding)
                if picture is frame.image:
                    picture = picture.copy()
                draw_track(picture, track)
                drawn = image_message(picture, 'bgr8')
                drawn.header = frame.header
                image_publisher.publish(drawn)
        if session.targets > targets and session.target is not None:
            box, _, class_id = session.target
            where = 'x={:.1f} y={:.1f} w={:.1f} h={:.1f}'.format(*box)
            self.get_logger().info(f'target {session.targets} ({class_id}) at {where}')

    def _sample_age(self, name: str, frame: StampedFrame) -> None:
        age = self._images.age(frame)
        if -1 < age < 60:  # stamps of another clock say nothing
            self._statistics.sample(name, age)

    def _refuse(self, kind: str, reason: str) -> None:
        reason = shortened(reason)
        is_new = reason != self._statistics.last_problem
        self._statistics.problem(kind, reason)
        # The same again rarely, another one soon: the log tells all kinds and does not flood.
        wait = LOG_EVERY / 10 if is_new else LOG_EVERY
        if time.monotonic() - self._refusal_time >= wait:
            self._refusal_time = time.monotonic()
            self.get_logger().warning(reason)

    def _state(self) -> tuple[bytes, str]:
        """Return the diagnostic level and what it is about."""
        session = self._session
        if session is None:
            level = DiagnosticStatus.ERROR if self.failure else DiagnosticStatus.OK
            return level, self.failure or self.state_label
        track = session.track
        target = 'tracking' if session.has_target else 'no target'
        if track is not None and track.state is not TargetState.TRACKING:
            target = f'target {track.state.value}'
        silent = self._watch.silent_for
        return health(self._statistics, silent if silent > SILENCE else 0.0, target)

    def _report(self) -> None:
        level, summary = self._state()
        values = {'lifecycle': self.state_label}
        values |= {'failed transition': self.failure} if self.failure else {}
        hardware = ''
        if self._engine is not None:
            card = self._engine.card
            hardware = f'{card.runtime} {card.runtime_version}'
            values |= {'model': card.model, 'engine': hardware, 'precision': card.precision}
        if self._session is not None:
            values['target'] = str(self._session.targets)
            if (track := self._session.track) is not None:
                values |= {'state': track.state.value, 'score': f'{track.score:.3f}'}
        now = time.monotonic()
        values |= self._statistics.report(max(now - self._report_time, 1e-3))
        self._report_time = now
        name = f'{self.get_fully_qualified_name().lstrip("/")}: tracking'
        stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(diagnostic_array(stamp, name, hardware, level, summary, values))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node, the executable `tracker_node`."""
    return run_node(TrackerNode, args)


if __name__ == '__main__':
    sys.exit(main())
