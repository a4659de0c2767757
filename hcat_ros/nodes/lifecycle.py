# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node that survives its errors, and functions that run nodes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.node import Node
from rclpy.qos_overriding_options import InvalidQosOverridesError
from rclpy.signals import SignalHandlerOptions

from hcat_ros.files import shown
from hcat_ros.nodes.ending import ENDING
from hcat_ros.nodes.freed_memory import return_freed_memory
from hcat_ros.nodes.manager_bond import BOND, ManagerBond

TRANSITIONS = {
    getattr(Transition, f'TRANSITION_{name}'): name.lower()
    for name in ('CONFIGURE', 'CLEANUP', 'ACTIVATE', 'DEACTIVATE')
}
"""Names of the transitions by number; a request may leave the name out."""
FORESEEN = (
    *(ValueError, RuntimeError, OSError),
    *(ParameterException, NameValidationException, InvalidQosOverridesError),
)
"""Expected errors, whose message is enough for a user; others are logged with a traceback."""
ERROR_INTERVAL = 5.0
"""Shortest time between log messages about errors in callbacks, s."""
LONGEST_FAILURE = 1000
"""Maximum length of a failure in the diagnostics and in answers; the log has the full text."""
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class GuardedLifecycleNode(LifecycleNode):
    """LifecycleNode whose transitions log their errors and never end the process.

    Subclasses override `configure` and `activate`, which raise to refuse the transition, and
    `deactivate` and `cleanup`. In rclpy's own node, an exception in a transition silently leads to
    an error state, and a request for an impossible transition raises an exception out of `spin`.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._bond: ManagerBond | None = None
        self.failure = ''
        """Why a transition failed, on one line; a successful configure or activate clears it."""
        service = self._service_change_state
        change_state = service.callback

        def guard(request: Any, response: Any) -> Any:
            number, label = request.transition.id, request.transition.label
            possible = {name: id_ for id_, name, *_ in self._state_machine.available_transitions}
            # rclpy would refuse an unknown name silently and an unknown number with an exception.
            if label in possible or (not label and number in possible.values()):
                return change_state(request, response)
            asked = label or TRANSITIONS.get(number, f'number {number}')
            self.get_logger().error(
                f"transition {shown(asked)} is not possible in state '{self.state_label}': "
                f'expected {", ".join(possible) or "none"}'
            )
            response.success = False
            return response

        service.callback = guard

    @property
    def state_label(self) -> str:
        """The lifecycle state: unconfigured, inactive, active or finalized."""
        return str(self._state_machine.current_state[1])

    def steady_timer(self, period: float, callback: Callable[[], None]) -> Any:
        """Return a timer, period in seconds, that runs even while simulated time stands still."""
        return self.create_timer(period, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def start_soon(self, autostart: bool, problem: str) -> None:
        """Start as soon as the node spins or, without `autostart`, log how to start it.

        problem: why parameters are bad, '' if all are good. A bad one may be `autostart` itself,
        which then counts as false, so that nothing else would report it.
        """

        def start() -> None:
            timer.cancel()
            if autostart:
                self.start()
            elif self.state_label == 'unconfigured':
                node = self.get_fully_qualified_name()
                if problem:
                    self.get_logger().error(f'not started: {problem}')
                self.get_logger().info(
                    f'unconfigured: run ros2 lifecycle set {node} configure, then activate, or '
                    'start the node with -p autostart:=true'
                )

        timer = self.steady_timer(0.0, start)

    def destroy_node(self) -> None:
        """Break the bond and free the state machine, then destroy the node.

        rclpy's own node never frees the state machine, which keeps the context and so Fast DDS's
        files in shared memory, about 10 MB for each run of a node.
        """
        self._end_bond()
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    def start(self) -> None:
        """Configure and activate, as `autostart` does; failures are logged."""
        if self.state_label == 'unconfigured' and self.trigger_configure() is SUCCESS:
            self.trigger_activate()

    def configure(self) -> None:
        """Load what the node needs."""

    def activate(self) -> None:
        """Begin to work."""

    def deactivate(self) -> None:
        """Stop working, keep what is loaded."""

    def cleanup(self) -> None:
        """Free what is loaded; must not raise."""

    def _activate_with_bond(self) -> None:
        if self.has_parameter(BOND.name) and self.get_parameter(BOND.name).value is True:
            self._bond = ManagerBond(self)
        self.activate()

    def _end_bond(self) -> None:
        bond, self._bond = self._bond, None
        if bond is not None:
            bond.end()

    def _attempt(self, name: str, action: Callable[[], None]) -> str:
        """Run an action. Log a failure in full and return it on one line, '' if there is none."""
        try:
            action()
        except FORESEEN as error:
            return self.log_error(f'cannot {name}: {error}')
        except Exception as error:
            return self.log_error(f'cannot {name}: {type(error).__name__}: {error}', error)
        return ''

    def log_error(self, text: str, unforeseen: Exception | None = None) -> str:
        """Log an error, with the traceback of `unforeseen`. Returns the text on one line."""
        details = traceback.format_exception(unforeseen) if unforeseen is not None else []
        self.get_logger().error('\n'.join([text, *map(str.rstrip, details)]))
        line = ' '.join(text.split())
        return line if len(line) <= LONGEST_FAILURE else f'{line[:LONGEST_FAILURE]}...'

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Configure; after a failure the node stays unconfigured and can be configured again."""
        with ENDING.interruptible():  # an engine may be built here, which takes minutes
            self.failure = self._attempt('configure', self.configure)
        if not self.failure:
            return_freed_memory()  # loading frees much that is not needed again
            return super().on_configure(state)
        self._attempt('clean up', self.cleanup)
        return FAILURE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Activate; after a failure the node stays inactive."""
        self.failure = self._attempt('activate', self._activate_with_bond)
        if not self.failure:
            return super().on_activate(state)
        self._attempt('deactivate', self.deactivate)
        self._end_bond()
        return FAILURE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate."""
        self.failure = self._attempt('deactivate', self.deactivate) or self.failure
        self._end_bond()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Clean up."""
        self.failure = self._attempt('clean up', self.cleanup) or self.failure
        return_freed_memory()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything, from any state."""
        first = self._attempt('deactivate', self.deactivate)
        self._end_bond()
        second = self._attempt('clean up', self.cleanup)
        self.failure = first or second or self.failure
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything; the node is unconfigured again."""
        return self.on_shutdown(state)


def run_node(make: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Create a node and spin it until the process is asked to end. Returns an exit code."""
    return run_nodes(lambda: [make()], args)


def run_nodes(make: Callable[[], Iterable[Node]], args: Sequence[str] | None = None) -> int:
    """Create nodes and spin them until the process is asked to end. Returns an exit code.

    The code is 1, with the reason on stderr, if ROS cannot be initialised or a node not created;
    otherwise it is the highest `exit_code` of the nodes, 0 for nodes without this attribute.

    All ROS callbacks run in one thread; DDS keeps the newest frame while a callback runs. Some
    nodes have further threads (the follower's dead man, a bond's heartbeats, MAVLink links, the web
    server), and one thread waits for signals. An exception in a callback is logged and the node
    continues. After a signal, even one during the creation of nodes, no further node is created,
    and all nodes created so far are destroyed before ROS is shut down.
    """
    with ENDING.watch_signals():
        nodes: list[Node] = []
        try:
            rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
            # Append one by one: if a node cannot be created, the earlier ones are destroyed.
            for node in make():
                nodes.append(node)
                if ENDING.asked:  # `ros2 launch` kills a process that takes more than 10 s to end
                    break
        except FORESEEN as error:
            print(f'cannot start: {error}', file=sys.stderr)
            return 1
        else:
            _spin(nodes)
        finally:
            for node in nodes:
                node.destroy_node()
            rclpy.try_shutdown()
    return max((getattr(node, 'exit_code', 0) for node in nodes), default=0)


def _spin(nodes: Sequence[Node]) -> None:
    executor = SingleThreadedExecutor()
    for node in nodes:
        executor.add_node(node)
    # Not spin_until_future_complete: with it rclpy in Jazzy adds a callback to the future whenever
    # something is ready, which leaks 10 to 40 MB per hour.
    ENDING.set_callback(lambda: executor.create_task(lambda: None))  # wakes spin_once
    while rclpy.ok() and not ENDING.asked:
        try:
            executor.spin_once()
        except (KeyboardInterrupt, ExternalShutdownException):
            break
        except Exception as error:
            if not rclpy.ok() or 'context is invalid' in str(error):
                break
            nodes[0].get_logger().error(
                _describe_error(error), throttle_duration_sec=ERROR_INTERVAL
            )
    ENDING.set_callback(lambda: None)


def _describe_error(error: Exception) -> str:
    """Return the log message for an error in a callback.

    A ValueError comes from a bad value in a message and gets one line; others get a traceback.
    """
    if not isinstance(error, ValueError):
        return 'error in a callback:\n' + ''.join(traceback.format_exception(error))
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f'error in a callback: {error} ({place.filename}, line {place.lineno})'
