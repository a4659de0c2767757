# SPDX-License-Identifier: Apache-2.0
"""Play a bag to the tracker, record its track, and report how well it followed the target.

ros2 launch hcat_ros replay.launch.py bag:=walk rate:=0.5 init_box:='[262, 432, 42, 142]'
"""

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
from hcat_ros.nodes.tools.replay_run import ReplayRun

SHARE = Path(get_package_share_directory('hcat_ros'))
TRACKER = SHARE / 'launch' / 'tracker.launch.py'
OURS = ('namespace', 'image', 'cameras', 'autostart', 'image_transport', 'use_sim_time', 'respawn')
"""Arguments of tracker.launch.py that this file sets or declares itself."""
POLL = 0.2
"""Seconds between two checks of the subscriptions, and of the tracks."""
Entities = list[LaunchDescriptionEntity]


class Replay:
    """Carries out the decisions of a `ReplayRun` as actions of the launch service.

    Each method that returns entities is a step; the launch service executes the entities next.
    """

    def __init__(self, plan: ReplayPlan) -> None:
        self.run = ReplayRun(plan)
        self.counting: Any = None

    def begin(self) -> Entities:
        """Start the tracker and the recorder, and wait until both are ready."""
        plan = self.run.plan
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
            self.player: self.end_playing,
            self.recorder: self.end_recording,
            self.report: self.end_report,
        }

        def ended(event: ProcessExited, context: LaunchContext) -> Entities:
            if context.is_shutdown:
                return []
            return steps.get(event.action, self.fail)(event)

        on_exit = RegisterEventHandler(OnProcessExit(on_exit=ended))
        wait = self.poll(self.await_all)
        return [on_exit, GroupAction([tracker]), self.recorder, wait]

    def poll(self, look: Any) -> TimerAction:
        """Return an action that calls `look` after `POLL` seconds."""
        return TimerAction(period=POLL, actions=[OpaqueFunction(function=look)])

    def await_all(self, context: LaunchContext) -> Entities:
        """Play the bag once the tracker has subscribed to images and the recorder to tracks."""
        node = get_ros_node(context)
        if self.counting is None:
            self.counting = node.create_subscription(
                Detection2D, self.run.plan.track, lambda _: self.run.note_track(), 1000
            )

        def subscribers(topic: str) -> list[str]:
            infos = node.get_subscriptions_info_by_topic(topic)
            return [f'{info.node_namespace.rstrip("/")}/{info.node_name}' for info in infos]

        return [self.player if self.run.has_readers(subscribers) else self.poll(self.await_all)]

    def await_quiet(self, context: LaunchContext) -> Entities:
        """End the recording once no more tracks come."""
        if not self.run.has_caught_up():
            return [self.poll(self.await_quiet)]
        return [
            LogInfo(msg=self.run.describe_tracks()),
            EmitEvent(event=ShutdownProcess(process_matcher=matches_action(self.recorder))),
        ]

    def end_playing(self, event: ProcessExited) -> Entities:
        """Wait for the tracks of the images that are still in the tracker's queue."""
        self.run.end_playing(event.returncode)
        return [self.poll(self.await_quiet)]

    def end_recording(self, event: ProcessExited) -> Entities:
        """Report, if there is something to report on."""
        self.run.end_recording(event.returncode)
        return [self.report]

    def end_report(self, event: ProcessExited) -> Entities:
        """Shut the launch down."""
        # INCOMPLETE: the bag is damaged; hcat replay has logged what the report leaves out.
        self.run.end_report(event.returncode, (0, INCOMPLETE))
        return [Shutdown(reason='the bag has been replayed')]

    def fail(self, event: ProcessExited) -> Entities:
        """Fail after the tracker has ended: the other processes would wait for ever."""
        raise RuntimeError(f'{event.process_name} ended with exit code {event.returncode}')


def start(context: LaunchContext) -> Entities:
    """Plan the replay from the launch arguments, and begin it."""
    return Replay(ReplayPlan(dict(context.launch_configurations))).begin()


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, the tracker's among them, and the run."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, default, text in (
            ('out', '', 'folder for recording and report; empty: name of the bag plus _node'),
            ('image', '', 'topic of the images in the bag; empty: the only image topic'),
            ('init_box_topic', '', 'topic in the bag that names the target; empty: .../init_box'),
            ('truth', '', 'topic or file of true boxes to judge the track by, see hcat replay -h'),
            ('namespace', '', 'namespace of the node and its topics'),
            ('rate', '1.0', 'playback speed, 1.0 as recorded; lower it if images get lost'),
            ('depth', '60', 'queue depth: images that may wait for the tracker'),
            ('patience', '120', 'seconds until the tracker must be ready; TensorRT may need more'),
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
