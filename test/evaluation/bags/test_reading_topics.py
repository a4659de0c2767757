# SPDX-License-Identifier: Apache-2.0
"""The choice of the image topic of a bag."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rosbags', reason="needs rosbags (pip install 'hcat_ros[evaluate]')")

from bags import BEGIN, SECOND, BagWriter, packed_image, raw_image

from hcat_ros.boxes import Box
from hcat_ros.evaluation.bags.output import detection
from hcat_ros.evaluation.bags.reading import open_bag


def bag_of(path: Path, topics: dict[str, object], count: int = 2) -> Path:
    """Write a bag with a few copies of one message on each topic."""
    with BagWriter(path) as bag:
        for number in range(count):
            for topic, message in topics.items():
                bag.add(topic, BEGIN + number * SECOND, message)
    return path


COLOUR = np.full((8, 10, 3), 90, np.uint8)


def colour() -> object:
    return raw_image(0, COLOUR)


def depth_named(encoding: str) -> object:
    message = raw_image(0, np.full((8, 10), 900, np.uint16), 'mono16')
    message.encoding = encoding
    return message


def packed_depth() -> object:
    message = packed_image(0, COLOUR, 'png')
    message.format = '16UC1; compressedDepth png'
    return message


@pytest.mark.parametrize(
    ('topics', 'chosen'),
    [
        ({'/cam/image_raw': colour}, '/cam/image_raw'),
        ({'/a': colour, '/a/compressed': lambda: packed_image(0, COLOUR)}, '/a'),
        ({'/a/compressed': lambda: packed_image(0, COLOUR)}, '/a/compressed'),
        ({'/rgb': colour, '/depth': lambda: depth_named('16UC1')}, '/rgb'),
        ({'/rgb': colour, '/depth': lambda: depth_named('32FC1')}, '/rgb'),
        ({'/rgb': colour, '/depth/compressedDepth': packed_depth}, '/rgb'),
        ({'/rgb': colour, '/hcat/track_image': colour}, '/rgb'),
        ({'/rgb': colour, '/track_image/compressed': lambda: packed_image(0, COLOUR)}, '/rgb'),
        ({'/rgb': colour, '/track': lambda: detection(0, '', Box(1, 2, 3, 4))}, '/rgb'),
    ],
)
def test_the_image_topic_is_chosen(tmp_path: Path, topics: dict, chosen: str) -> None:
    made_of = {name: message() for name, message in topics.items()}
    with open_bag(bag_of(tmp_path / 'bag', made_of)) as bag:
        assert bag.image_topic().name == chosen
        assert bag.image_topic(chosen).count == 2
        assert bag.image_topic(chosen[1:]).name == chosen  # without the slash


@pytest.mark.parametrize(
    ('topics', 'name', 'reason'),
    [
        ({'/a': colour, '/b': colour}, '', r'several image topics, name one: /a \(2\), /b \(2\)'),
        (
            {'/track': lambda: detection(0, '', Box(1, 2, 3, 4))},
            '',
            r'no topic with pictures; it has /track \(2 vision_msgs/msg/Detection2D\)',
        ),
        ({'/depth': lambda: depth_named('16UC1')}, '', 'no topic with pictures; it has /depth'),
        ({'/depth': lambda: depth_named('16UC1')}, '/depth', '/depth is no picture: it holds dist'),
        ({'/d': packed_depth}, 'd', '/d is no picture: it holds distances'),
        ({'/a': colour}, '/b', r'no topic /b; it has /a \(2 sensor_msgs/msg/Image\)'),
        (
            {'/a': lambda: detection(0, '', Box(1, 2, 3, 4))},
            '/a',
            '/a is of type vision_msgs/msg/Detection2D, expected sensor_msgs/msg/Image or',
        ),
    ],
)
def test_an_unclear_or_unusable_image_topic_is_refused(
    tmp_path: Path, topics: dict, name: str, reason: str
) -> None:
    made_of = {name: message() for name, message in topics.items()}
    with (
        open_bag(bag_of(tmp_path / 'bag', made_of)) as bag,
        pytest.raises(ValueError, match=reason),
    ):
        bag.image_topic(name)


def test_the_error_about_a_missing_topic_names_the_damage(tmp_path: Path) -> None:
    """Without the damage in the error, the bag would merely seem empty."""
    path = tmp_path / 'walk.mcap'
    path.write_bytes(b'')
    with open_bag(path) as bag:
        for name in ('', '/camera'):
            with pytest.raises(ValueError, match=r'it has none; walk\.mcap: .*is empty'):
                bag.image_topic(name)


def test_a_fifo_is_refused_as_a_bag(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'walk.mcap')
    with pytest.raises(ValueError, match=r'walk\.mcap is no file, but a folder, FIFO'):
        open_bag(tmp_path / 'walk.mcap')
