# SPDX-License-Identifier: Apache-2.0
"""Play a bag to the tracker, record its track, and report how well it followed the target.

ros2 launch hcat_ros replay.launch.py bag:=walk rate:=0.5 init_box:='[262, 432, 42, 142]'
"""

import time
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import matches_action
from launch.events.process import ProcessExited, ShutdownProcess
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.ros_adapters import get_ros_node
from launch_ros.substitutions import ExecutableInPackage
from vision_msgs.msg import Detection2D

from hcat_ros.commands.ending import INCOMPLETE
from hcat_ros.nodes.fast_dds import profile_variables
from hcat_ros.nodes.launch_files import declared_arguments
from hcat_ros.nodes.tools.replay_plan import ReplayPlan

SHARE = Path(get_package_share_directory('hcat_ros'))
TRACKER = SHARE / 'launch' / 'tracker.launch.py'
OURS = ('namespace', 'image', 'cameras', 'autostart', 'image_transport', 'use_sim_time', 'respawn')
"""Arguments of tracker.launch.py that are not passed on as they are."""
POLL = 0.2
"""Seconds between looks at who is there and what has come."""
QUIET = 3.0
"""Seconds without a track, once the bag has been played, after which none is waiting any more."""
Entities = list[LaunchDescriptionEntity]


class Replay:
    """One run. The bag is played once the tracker is ready; all ends when that has caught up.

    Each method that returns entities is a step; they are what the launch service does next.
    """

    def __init__(self, plan: ReplayPlan) -> None:
        self.plan = plan
        self.counting: Any = None
        self.tracks, self.caught_up = 0, False
        self.started = self.last_track = time.monotonic()

    def begin(self) -> Entities:
        """Start the tracker and the recorder, and look out for both to be ready."""
        plan = self.plan
        tracker = IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(TRACKER)),
            launch_arguments={
                'image': plan.camera,
                'image_transport': plan.transport,
                'params_file': str(plan.write_files()),
                'cameras': '',
                'autostart': 'true',
                'use_sim_time': 'true',
                'respawn': 'false',
            }.items(),
        )
        self.recorder = ExecuteProcess(name='recorder', cmd=plan.record_command(), output='screen')
        self.player = ExecuteProcess(
            name='player',
            cmd=plan.play_command(),
            additional_env=profile_variables(SHARE / 'config' / 'fastdds_large_images.xml'),
            output='screen',
        )
        self.report = ExecuteProcess(
            name='report',
            cmd=[ExecutableInPackage('hcat', 'hcat_ros'), *plan.report_arguments()],
            output='screen',
        )
        steps = {
            self.player: self.played_to_the_end,
            self.recorder: self.recorded,
            self.report: self.reported,
        }

        def ended(event: ProcessExited, context: LaunchContext) -> Entities:
            if context.is_shutdown:
                return []
            return steps.get(event.action, self.tracker_ended)(event)

        on_exit = RegisterEventHandler(OnProcessExit(on_exit=ended))
        wait = self.poll(self.await_all)
        return [on_exit, GroupAction([tracker]), self.recorder, wait]

    def poll(self, look: Any) -> TimerAction:
        """Return an action that takes another look in a moment."""
        return TimerAction(period=POLL, actions=[OpaqueFunction(function=look)])

    def await_all(self, context: LaunchContext) -> Entities:
        """Play the bag once the tracker takes images and the recorder tracks."""
        node = get_ros_node(context)
        if self.counting is None:
            self.counting = node.create_subscription(Detection2D, self.plan.track, self.count, 1000)
        plan = self.plan
        readers = {plan.played: plan.node, plan.track: '/rosbag2_recorder'}
        for topic, name in readers.items():
            infos = node.get_subscriptions_info_by_topic(topic)
            if name not in [f'{i.node_namespace.rstrip("/")}/{i.node_name}' for i in infos]:
                if time.monotonic() - self.started > plan.patience:
                    reason = f'{name} is not ready: it has not subscribed to {topic}'
                    raise RuntimeError(f'after {plan.patience:g} s {reason}')
                return [self.poll(self.await_all)]
        return [self.player]

    def count(self, message: Detection2D) -> None:
        """Note a track."""
        self.tracks += 1
        self.last_track = time.monotonic()

    def await_quiet(self, context: LaunchContext) -> Entities:
        """End the recording once no more tracks come."""
        if time.monotonic() - self.last_track < QUIET:
            return [self.poll(self.await_quiet)]
        self.caught_up = True
        images = f'{self.plan.images} images on {self.plan.image}'
        hint = 'that with the init box has none; if more are missing, lower rate'
        return [
            LogInfo(msg=f'{self.tracks} tracks of {images} ({hint})'),
            EmitEvent(event=ShutdownProcess(process_matcher=matches_action(self.recorder))),
        ]

    def played_to_the_end(self, event: ProcessExited) -> Entities:
        """Wait for the tracks of the images that are still waiting."""
        if event.returncode != 0:
            raise RuntimeError(f'ros2 bag play has ended with {event.returncode}')
        self.last_track = time.monotonic()
        return [self.poll(self.await_quiet)]

    def recorded(self, event: ProcessExited) -> Entities:
        """Report, if there is something to report on."""
        if not self.caught_up or not self.plan.recording.exists():
            raise RuntimeError(f'ros2 bag record has ended with {event.returncode}')
        if self.tracks == 0:
            raise RuntimeError('the tracker has sent no track: see what it says above')
        return [self.report]

    def reported(self, event: ProcessExited) -> Entities:
        """End it all."""
        # Of a damaged bag, too, there is a report; what was left out is told above.
        if event.returncode not in (0, INCOMPLETE):
            raise RuntimeError(f'hcat replay has ended with {event.returncode}')
        return [Shutdown(reason='the bag has been replayed')]

    def tracker_ended(self, event: ProcessExited) -> Entities:
        """Fail: what goes on without it waits for ever."""
        raise RuntimeError(f'{event.process_name} has ended with {event.returncode}')


def start(context: LaunchContext) -> Entities:
    """Begin with what the arguments say."""
    return Replay(ReplayPlan(dict(context.launch_configurations))).begin()


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, the tracker's among them, and the run."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, default, text in (
            ('out', '', 'folder for recording and report; empty: the name of the bag and _node'),
            ('image', '', 'topic of the images in the bag; empty: the only one with pictures'),
            ('init_box_topic', '', 'topic in the bag that names the target; empty: .../init_box'),
            ('truth', '', 'topic or file of true boxes to judge the track by, see hcat replay -h'),
            ('namespace', '', 'namespace of the node and its topics'),
            ('rate', '1.0', 'times the speed of recording; lower it if images get lost'),
            ('depth', '60', 'images that may wait for the tracker'),
            ('patience', '120', 'seconds for the tracker to be ready; TensorRT may need more'),
        )
    ]  # fmt: skip
    return LaunchDescription(
        [
            DeclareLaunchArgument('bag', description='folder of a rosbag2, or its file'),
            *declared,
            *declared_arguments(TRACKER, leave_out=OURS),
            OpaqueFunction(function=start),
        ]
    )
