# SPDX-License-Identifier: Apache-2.0
"""Play a bag to the tracker, record its track, and report how well it followed the target.

ros2 launch hcat_ros replay.launch.py bag:=walk rate:=0.5 init_box:='[262, 432, 42, 142]'
"""

import math
import time
from pathlib import Path
from typing import Any

import yaml
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
from launch.launch_description_sources import (
    PythonLaunchDescriptionSource,
    get_launch_description_from_python_launch_file,
)
from launch_ros.ros_adapters import get_ros_node
from launch_ros.substitutions import ExecutableInPackage
from vision_msgs.msg import Detection2D

from hcat_ros.nodes.fast_dds import profile_variables
from hcat_ros.nodes.tracker.settings import FOR_TRACKER

SHARE = Path(get_package_share_directory('hcat_ros'))
TRACKER = SHARE / 'launch' / 'tracker.launch.py'
OURS = ('namespace', 'image', 'cameras', 'autostart', 'image_transport', 'use_sim_time', 'respawn')
"""Arguments of tracker.launch.py that are not passed on as they are."""
OFFLINE = ('model', 'engine', 'precision', 'threads', 'window_penalty', 'mono16_bits')
"""Parameters of the node that `hcat replay` has too."""
DISCOVERY = 2.0
"""Seconds that the player waits with its first message, so that all have found it."""
POLL = 0.2
"""Seconds between looks at who is there and what has come."""
QUIET = 3.0
"""Seconds without a track, once the bag has been played, after which none is waiting any more."""
Entities = list[LaunchDescriptionEntity]


def positive(values: dict[str, str], name: str) -> float:
    """Return an argument as a number above 0. Raises ValueError."""
    try:
        number = float(values[name])
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"launch argument {name}:='{values[name]}': expected a number above 0")
    return number


class Replay:
    """One run. The bag is played once the tracker is ready; all ends when that has caught up.

    Each method that returns entities is a step; they are what the launch service does next.
    """

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values
        self.rate, self.patience = positive(values, 'rate'), positive(values, 'patience')
        depth = max(1, int(positive(values, 'depth')))
        self.qos = {'reliability': 'reliable', 'history': 'keep_last', 'depth': depth}
        if not Path(values['params_file']).is_file():
            raise ValueError(f'launch argument params_file: no file {values["params_file"]}')
        self.bag = Path(values['bag']).expanduser()
        self.read_bag()
        self.out = Path(values['out'] or f'{self.name}_node').expanduser()
        if self.out.is_file() or (self.out.is_dir() and any(self.out.iterdir())):
            reason = 'it is there already; name another folder, or remove it'
            raise ValueError(f"launch argument out:='{self.out}': {reason}")
        namespace = values['namespace'].strip('/')
        self.prefix = f'/{namespace}' if namespace else ''
        self.track = f'{self.prefix}/track'
        self.counting: Any = None
        self.tracks, self.caught_up = 0, False
        self.started = self.last_track = time.monotonic()

    def read_bag(self) -> None:
        """Choose the topics to be played. Raises ValueError."""
        # Here, as they need `rosbags`, and --show-args does not.
        from hcat_ros.evaluation.bags.message_types import COMPRESSED
        from hcat_ros.evaluation.bags.named_boxes import init_box_topic
        from hcat_ros.evaluation.bags.reading import open_bag

        try:
            with open_bag(self.bag) as bag:
                self.name = bag.name
                self.image = bag.image_topic(self.values['image'])
                boxes = init_box_topic(bag, self.values['init_box_topic'])
        except (OSError, ValueError) as error:
            raise ValueError(f"launch argument bag:='{self.bag}': {error}") from None
        if not (self.values['init_box'] or boxes):
            reason = "it has no topic init_box; name the target, in its first image: '[x, y, w, h]'"
            raise ValueError(f"launch argument init_box:='': {reason}")
        self.init_box = '' if self.values['init_box'] or boxes is None else boxes.name
        # The tracker puts /compressed behind the name that it is given.
        compressed = self.image.type == COMPRESSED
        self.transport = 'compressed' if compressed else 'raw'
        self.camera = self.image.name.removesuffix('/compressed' if compressed else '')
        self.played = f'{self.camera}/compressed' if compressed else self.camera

    def begin(self) -> Entities:
        """Start the tracker and the recorder, and look out for both to be ready."""
        self.out.mkdir(parents=True, exist_ok=True)
        tracker = IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(TRACKER)),
            launch_arguments={
                'image': self.camera,
                'image_transport': self.transport,
                'params_file': str(self.parameters()),
                'cameras': '',
                'autostart': 'true',
                'use_sim_time': 'true',
                'respawn': 'false',
            }.items(),
        )
        recorded = str(self.out / 'recorded')
        self.recorder = ExecuteProcess(
            name='recorder',
            cmd=['ros2', 'bag', 'record', '-o', recorded, '--regex', f'^{self.track}$'],
            output='screen',
        )
        self.player = ExecuteProcess(
            name='player',
            cmd=self.play_command(),
            additional_env=profile_variables(SHARE / 'config' / 'fastdds_large_images.xml'),
            output='screen',
        )
        self.report = ExecuteProcess(
            name='report',
            cmd=[
                *(ExecutableInPackage('hcat', 'hcat_ros'), 'replay', str(self.bag)),
                *('--track', recorded, '--out', str(self.out), *self.offline()),
            ],
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

    def offline(self) -> list[str]:
        """Return the options with which `hcat replay` tracks as the node does, to compare."""
        words = ['--image', self.image.name, '--truth', self.values['truth']]
        if self.init_box:
            words += ['--init-box-topic', self.init_box]
        else:
            words += ['--box', *self.values['init_box'].strip('[] ').replace(',', ' ').split()]
        for name in OFFLINE:
            if (value := self.setting(name)) is not None:
                words += [f'--{name.replace("_", "-")}', str(value)]
        others = {name: self.setting(name) for name in FOR_TRACKER if name not in OFFLINE}
        pairs = [f'{name}={value}' for name, value in others.items() if value is not None]
        return [*words, *(['--set', *pairs] if pairs else [])]

    def setting(self, name: str) -> Any:
        """Return what the node is given for a parameter, None if nothing."""
        return self.values[name] or self.given.get(name)

    def parameters(self) -> Path:
        """Write the tracker's parameters: the given ones, and what makes it take every image."""
        content = yaml.safe_load(Path(self.values['params_file']).read_text('utf-8')) or {}
        self.given = content.setdefault('/**', {}).setdefault('ros__parameters', {})
        self.given.setdefault('qos_overrides', {})[self.played] = {'subscription': dict(self.qos)}
        path = self.out / 'tracker.yaml'
        path.write_text(yaml.safe_dump(content, sort_keys=False), 'utf-8')
        return path

    def play_command(self) -> list[str]:
        """Return the command that plays the images, and the init box, if that is in the bag."""
        overrides = self.out / 'player_qos.yaml'
        names = {self.image.name: self.played}
        if self.init_box:
            names[self.init_box] = f'{self.prefix}/init_box'
        overrides.write_text(yaml.safe_dump({name: dict(self.qos) for name in names}), 'utf-8')
        renamed = [f'{old}:={new}' for old, new in names.items() if old != new]
        return [
            *('ros2', 'bag', 'play', str(self.bag), '--topics', *names),
            *('--clock', '100', '--rate', f'{self.rate:g}', '--delay', f'{DISCOVERY:g}'),
            *('--qos-profile-overrides-path', str(overrides), '--disable-keyboard-controls'),
            *('--wait-for-all-acked', '60000', *(['--remap', *renamed] if renamed else [])),
        ]

    def poll(self, look: Any) -> TimerAction:
        """Return an action that takes another look in a moment."""
        return TimerAction(period=POLL, actions=[OpaqueFunction(function=look)])

    def await_all(self, context: LaunchContext) -> Entities:
        """Play the bag once the tracker takes images and the recorder tracks."""
        node = get_ros_node(context)
        if self.counting is None:
            self.counting = node.create_subscription(Detection2D, self.track, self.count, 1000)
        readers = {
            self.played: f'{self.prefix}/{self.values["node_name"]}',
            self.track: '/rosbag2_recorder',
        }
        for topic, name in readers.items():
            infos = node.get_subscriptions_info_by_topic(topic)
            if name not in [f'{i.node_namespace.rstrip("/")}/{i.node_name}' for i in infos]:
                if time.monotonic() - self.started > self.patience:
                    reason = f'{name} is not ready: it has not subscribed to {topic}'
                    raise RuntimeError(f'after {self.patience:g} s {reason}')
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
        images = f'{self.image.count} images on {self.image.name}'
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
        if not self.caught_up or not (self.out / 'recorded').exists():
            raise RuntimeError(f'ros2 bag record has ended with {event.returncode}')
        if self.tracks == 0:
            raise RuntimeError('the tracker has sent no track: see what it says above')
        return [self.report]

    def reported(self, event: ProcessExited) -> Entities:
        """End it all."""
        if event.returncode != 0:
            raise RuntimeError(f'hcat replay has ended with {event.returncode}')
        return [Shutdown(reason='the bag has been replayed')]

    def tracker_ended(self, event: ProcessExited) -> Entities:
        """Fail: what goes on without it waits for ever."""
        raise RuntimeError(f'{event.process_name} has ended with {event.returncode}')


def start(context: LaunchContext) -> Entities:
    """Begin with what the arguments say."""
    return Replay(dict(context.launch_configurations)).begin()


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, the tracker's among them, and the run."""
    tracker = get_launch_description_from_python_launch_file(str(TRACKER))
    passed_on = [
        entity
        for entity in tracker.entities
        if isinstance(entity, DeclareLaunchArgument) and entity.name not in OURS
    ]
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
            *passed_on,
            OpaqueFunction(function=start),
        ]
    )
