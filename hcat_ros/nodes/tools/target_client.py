# SPDX-License-Identifier: Apache-2.0
"""Names, selects or drops a target of a running tracker and prints the outcome: `hcat target`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2D, ObjectHypothesisWithPose

try:
    from hcat_ros_interfaces.srv import NamedTarget, SetTarget
except ImportError:  # a separate package, which is optional
    NamedTarget = SetTarget = None

from hcat_ros.boxes import Box
from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.lifecycle import run_node
from hcat_ros.nodes.message_bounds import LONGEST_NAME
from hcat_ros.nodes.parameters import Setting, Settings
from hcat_ros.nodes.qos import RELIABLE_QOS
from hcat_ros.nodes.tools.tracker_health import TrackerHealth

SETTINGS = (
    Setting('tracker', str, 'hcat_tracker', 'Name of the tracker node, in this namespace or full.'),
    Setting('box', list, None, 'Box of the target in the newest image: x, y, w, h in pixels.'),
    Setting(
        'class_id',
        str,
        '',
        "Class of the tracks; empty: the tracker's parameter class_id.",
        longest=LONGEST_NAME,
    ),
    Setting('reset', bool, False, 'Drop all targets instead.'),
    Setting('primary', str, '', 'Make the target of this id the primary one instead.'),
    Setting('drop', str, '', 'Drop the target of this id instead.'),
    Setting('timeout', float, 10.0, 'Seconds to wait for the tracker.', 0.1, 3600),
)
PERIOD = 0.05
"""Seconds between two checks."""
SETTLED = 2.0
"""Seconds after the tracker was found until a service that it does not offer counts as missing."""
INTERRUPTED = 130
"""Exit code of a client that ends before there is an outcome."""


class TargetClient(Node):
    """Sends one request to a tracker: to its services or, without `~/set_target`, on `init_box`.

    The node shuts down when `exit_code` is known. Raises ValueError for unusable parameters.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('target_client', **kwargs)
        values = Settings(self, SETTINGS).values()
        self.exit_code = INTERRUPTED
        self._target = Detection2D()
        self._id = values['primary'] or values['drop']
        if not (values['reset'] or self._id):
            if len(values['box'] or ()) != 4:
                raise ValueError(f'box {values["box"]}: expected x, y, w, h in pixels')
            self._target = detection_message(Detection2D().header, Box(*values['box']))
            if values['class_id']:
                self._target.results = [ObjectHypothesisWithPose()]
                self._target.results[0].hypothesis.class_id = values['class_id']
        self._wants_reset = values['reset']
        self._timeout = values['timeout']
        self.tracker = self.resolve_service_name(f'{values["tracker"]}/reset')
        self.tracker = self.tracker.removesuffix('/reset')
        self._reset = self.create_client(Trigger, f'{self.tracker}/reset')
        self._set_target: Any = None
        self._named: Any = None
        if SetTarget is not None:
            self._set_target = self.create_client(SetTarget, f'{self.tracker}/set_target')
            service = 'select_primary' if values['primary'] else 'drop'
            self._named = self.create_client(NamedTarget, f'{self.tracker}/{service}')
        elif self._id:
            raise ValueError('primary and drop need the package hcat_ros_interfaces: build it')
        self._topic = TopicRequest(self, self._target)
        self._answer: Any = None
        self._began = self._found = time.monotonic()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(PERIOD, self._step, clock=steady)

    def _step(self) -> None:
        now = time.monotonic()
        if self._answer is not None:
            if self._answer.done():
                self._tell_answer(self._answer.result())
                return
        elif self._reset.service_is_ready():
            self._send(now)
        else:
            self._found = now
        if now - self._began > self._timeout:
            self._finish(f'after {self._timeout:g} s: {self._waiting_for()}', failed=True)

    def _send(self, now: float) -> None:
        """Send the request to the best interface that the tracker offers so far."""
        if self._wants_reset:
            self._answer = self._reset.call_async(Trigger.Request())
        elif self._id:
            if self._named.service_is_ready():
                self._answer = self._named.call_async(NamedTarget.Request(id=self._id))
        elif self._set_target is not None and self._set_target.service_is_ready():
            self._answer = self._set_target.call_async(SetTarget.Request(target=self._target))
        elif self._set_target is None or now - self._found > SETTLED:
            outcome = self._topic.step()
            if outcome is not None:
                self._finish(*outcome)

    def _tell_answer(self, answer: Any) -> None:
        if self._wants_reset:
            self._finish(answer.message)
        elif answer.success and self._id:
            self._finish(f'done by {self.tracker}')
        elif answer.success:
            self._finish(f'target {answer.id} is followed by {self.tracker}')
        else:
            self._finish(f'refused by {self.tracker}: {answer.message}', failed=True)

    def _waiting_for(self) -> str:
        if self._answer is not None:
            return f'{self.tracker} has not answered: is it busy or gone?'
        if self._id and self._reset.service_is_ready():
            return f'{self.tracker} does not offer {self._named.srv_name}'
        if self._reset.service_is_ready():
            return f'{self._topic.waiting_for}; see the log of {self.tracker}'
        # The graph lists this node's own clients as services too.
        others = {
            name.removesuffix('/reset')
            for name, types in self.get_service_names_and_types()
            if name.endswith('tracker/reset') and types == ['std_srvs/srv/Trigger']
        } - {self.tracker}
        if not others:
            return f'no tracker {self.tracker} is running'
        names = ', '.join(sorted(others))
        return f'no tracker {self.tracker} is running; running: {names} (--tracker, --namespace)'

    def _finish(self, text: str, failed: bool = False) -> None:
        self.exit_code = int(failed)
        self._timer.cancel()
        try:
            print(text, file=sys.stderr if failed else sys.stdout, flush=True)
        except OSError as error:  # the disk of the output is full, or its reader gone
            self.exit_code = 1
            self.get_logger().error(f'cannot print the outcome, {text}: {error}')
        self.context.try_shutdown()


class TopicRequest:
    """Names a target on the topic `init_box`, and reads the outcome from the diagnostics.

    The box is published once the tracker itself has subscribed and reported: a box that reaches
    only other subscribers, such as a recorder, would be lost.
    """

    def __init__(self, node: TargetClient, target: Detection2D) -> None:
        self._node = node
        self._target = target
        self._health = TrackerHealth(node.tracker)
        self._target_id: str | None = None
        self._before: str | None = None
        self._publisher = node.create_publisher(Detection2D, 'init_box', RELIABLE_QOS)
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    @property
    def waiting_for(self) -> str:
        """The event that is still missing, in words."""
        if self._before is not None:
            return 'the box was sent, and no target has been reported'
        if self._target_id is None:
            return f'{self._node.tracker} has sent no diagnostics'
        return (
            f'{self._node.tracker} does not listen on {self._publisher.topic_name}: is it active?'
        )

    def step(self) -> tuple[str, bool] | None:
        """Take the next step; return the outcome and whether it is a failure, once it is known."""
        if self._before is None:
            if self._target_id is not None and self._is_heard():
                self._before = self._target_id
                self._health.forget_problem()
                self._publisher.publish(self._target)
            return None
        if self._health.problem:
            return f'refused by {self._node.tracker}: {self._health.problem}', True
        if self._target_id != self._before:
            return f'target {self._target_id} is followed by {self._node.tracker}', False
        return None

    def _is_heard(self) -> bool:
        """Whether the tracker itself has subscribed and is connected."""
        subscribers = self._node.get_subscriptions_info_by_topic(self._publisher.topic_name)
        names = {f'{info.node_namespace.rstrip("/")}/{info.node_name}' for info in subscribers}
        matched = self._publisher.get_subscription_count() >= len(subscribers)
        return self._node.tracker in names and matched

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if self._health.record_report(status.name, status.message, values):
                self._target_id = values.get('newest target', values.get('target', ''))


def main(args: Sequence[str] | None = None) -> int:
    """Run the client, the executable `target_client`.

    Returns 1 if the target is not followed, `INTERRUPTED` without an outcome.
    """
    return run_node(TargetClient, args)


if __name__ == '__main__':
    sys.exit(main())
