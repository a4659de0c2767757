# SPDX-License-Identifier: Apache-2.0
"""Plans a run of `replay.launch.py`: topics of the bag, commands and parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hcat_ros.files.reading import load_yaml
from hcat_ros.nodes.tracker.settings import FOR_TRACKER

OFFLINE = ('model', 'engine', 'precision', 'threads', 'window_penalty', 'mono16_bits')
"""Tracker parameters that are options of `hcat replay`; others are passed with `--set`."""
DISCOVERY = 2.0
"""Seconds that the player waits before its first message, so that subscribers discover it."""


def positive(values: Mapping[str, str], name: str) -> float:
    """Return a launch argument as a number above 0. Raises ValueError."""
    try:
        number = float(values[name])
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ValueError(f"launch argument {name}:='{values[name]}': expected a number above 0")
    return number


class ReplayPlan:
    """The checked launch arguments of a replay, and the settings that follow from them.

    Attributes:
        out: folder of the recording and the report.
        rate: speed of the player; 1 is the speed of the recording.
        patience: seconds within which the tracker must be ready.
        image, images: topic of the images in the bag, and their number.
        camera, transport: the tracker's launch arguments image and image_transport.
        played: topic on which the tracker receives the images.
        track: topic on which the tracker publishes.
        node: full name of the tracker's node.

    """

    def __init__(self, values: Mapping[str, str]) -> None:
        """Read the arguments and the bag's topics. Raises ValueError, which names the argument."""
        self._values = values
        self.rate, self.patience = positive(values, 'rate'), positive(values, 'patience')
        depth = max(1, int(positive(values, 'depth')))
        self._qos = {'reliability': 'reliable', 'history': 'keep_last', 'depth': depth}
        self._parameters = self._read_parameters(Path(values['params_file']))
        self._bag = Path(values['bag']).expanduser()
        self._choose_topics()
        self.out = Path(values['out'] or f'{self._name}_node').expanduser()
        if self.out.is_file() or (self.out.is_dir() and any(self.out.iterdir())):
            reason = 'it exists already; choose another folder or remove it'
            raise ValueError(f"launch argument out:='{self.out}': {reason}")
        namespace = values['namespace'].strip('/')
        self._prefix = f'/{namespace}' if namespace else ''
        self.track = f'{self._prefix}/track'
        self.node = f'{self._prefix}/{values["node_name"]}'

    def _read_parameters(self, path: Path) -> dict[str, Any]:
        argument = f"launch argument params_file:='{path}'"
        try:
            content = load_yaml(path) or {}
        except (OSError, ValueError) as error:
            raise ValueError(f'{argument}: {error}') from None
        given = content
        for key in ('/**', 'ros__parameters'):
            given = given.setdefault(key, {}) if isinstance(given, dict) else None
        if not isinstance(given, dict):
            raise ValueError(f"{argument}: expected parameters below '/**: ros__parameters:'")
        self._given = given
        return dict(content)

    def _choose_topics(self) -> None:
        # Imported here because they need `rosbags`, which --show-args works without.
        from hcat_ros.evaluation.bags.message_types import COMPRESSED
        from hcat_ros.evaluation.bags.named_boxes import init_box_topic
        from hcat_ros.evaluation.bags.reading import open_bag

        named = self._values['init_box']
        try:
            with open_bag(self._bag) as bag:
                self._name = bag.name
                image = bag.image_topic(self._values['image'])
                boxes = init_box_topic(bag, self._values['init_box_topic'])
        except (OSError, ValueError) as error:
            raise ValueError(f"launch argument bag:='{self._bag}': {error}") from None
        if not (named or boxes):
            reason = (
                "the bag has no topic init_box; give the box in its first image: '[x, y, w, h]'"
            )
            raise ValueError(f"launch argument init_box:='': {reason}")
        self._init_box_topic = '' if named or boxes is None else boxes.name
        self.image, self.images = image.name, image.count
        # The tracker appends /compressed to the topic name that it is given.
        compressed = image.type == COMPRESSED
        self.transport = 'compressed' if compressed else 'raw'
        self.camera = image.name.removesuffix('/compressed' if compressed else '')
        self.played = f'{self.camera}/compressed' if compressed else self.camera

    @property
    def recording(self) -> Path:
        """Folder of the bag with the tracks."""
        return self.out / 'recorded'

    def write_files(self) -> Path:
        """Write the files of the processes; return the tracker's parameter file. Raises OSError."""
        self.out.mkdir(parents=True, exist_ok=True)
        overrides = {name: dict(self._qos) for name in self._played_names()}
        self._player_qos.write_text(yaml.safe_dump(overrides), 'utf-8')
        # Reliable, so that the tracker receives every image in order.
        reliable = {'subscription': dict(self._qos)}
        self._given.setdefault('qos_overrides', {})[self.played] = reliable
        path = self.out / 'tracker.yaml'
        path.write_text(yaml.safe_dump(self._parameters, sort_keys=False), 'utf-8')
        return path

    @property
    def _player_qos(self) -> Path:
        return self.out / 'player_qos.yaml'

    def _played_names(self) -> dict[str, str]:
        """Return the topics to play, and the topic on which the tracker receives each."""
        names = {self.image: self.played}
        if self._init_box_topic:
            names[self._init_box_topic] = f'{self._prefix}/init_box'
        return names

    def play_command(self) -> list[str]:
        """Return the command that plays the images, and the init box if the bag has one."""
        names = self._played_names()
        renamed = [f'{old}:={new}' for old, new in names.items() if old != new]
        return [
            *('ros2', 'bag', 'play', str(self._bag), '--topics', *names),
            *('--clock', '100', '--rate', f'{self.rate:g}', '--delay', f'{DISCOVERY:g}'),
            *('--qos-profile-overrides-path', str(self._player_qos)),
            *('--disable-keyboard-controls', '--wait-for-all-acked', '60000'),
            *(['--remap', *renamed] if renamed else []),
        ]

    def record_command(self) -> list[str]:
        """Return the command that records the tracks."""
        return ['ros2', 'bag', 'record', '-o', str(self.recording), '--regex', f'^{self.track}$']

    def report_arguments(self) -> list[str]:
        """Return the arguments of `hcat`, which tracks the bag like the node and compares."""
        words = ['replay', str(self._bag), '--track', str(self.recording), '--out', str(self.out)]
        words += ['--image', self.image, '--truth', self._values['truth']]
        if self._init_box_topic:
            words += ['--init-box-topic', self._init_box_topic]
        else:
            words += ['--box', *self._values['init_box'].strip('[] ').replace(',', ' ').split()]
        for name in OFFLINE:
            if (value := self._setting(name)) is not None:
                words += [f'--{name.replace("_", "-")}', str(value)]
        others = {name: self._setting(name) for name in FOR_TRACKER if name not in OFFLINE}
        pairs = [f'{name}={value}' for name, value in others.items() if value is not None]
        return [*words, *(['--set', *pairs] if pairs else [])]

    def _setting(self, name: str) -> Any:
        """Return a parameter from launch argument or file, None if neither sets it."""
        return self._values[name] or self._given.get(name)
