# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rosbags', reason="needs rosbags (pip install 'hcat_ros[evaluate]')")

import lz4.frame
import zstandard
from rosbags.rosbag2 import storage_mcap
from rosbags.typesys import get_types_from_msg

from hcat_ros.boxes import Box
from hcat_ros.evaluation.bags import (
    message_types,
    storage,  # noqa: F401  bounds rosbags' own unpacking
)
from hcat_ros.evaluation.bags.message_types import (
    COMPRESSED,
    DETECTION,
    FLOAT,
    VISION_MSGS,
    build_message,
    decode_message,
    decompress_lz4,
    encode_message,
    header,
    typestore,
    unpack_message,
)
from hcat_ros.evaluation.bags.output import compress_image, detection
from hcat_ros.message_data import best_class, box_of, nanoseconds


@pytest.fixture(scope='module')
def vision_msgs(checkout: Path) -> Path:
    return checkout / 'tools' / 'ros_from_pip' / 'vision_msgs'


def test_type_hashes_are_the_official_ones(vision_msgs: Path) -> None:
    """DDS and `ros2 bag play` match types by these hashes."""
    official = json.loads((vision_msgs / 'type_hashes.json').read_text())
    assert len(official) == 4
    for name, expected in official.items():
        assert typestore().hash_rihs01(f'vision_msgs/msg/{name}') == expected


@pytest.mark.parametrize('name', VISION_MSGS)
def test_definitions_match_the_ones_that_ros_from_pip_builds(vision_msgs: Path, name: str) -> None:
    text = (vision_msgs / 'msg' / f'{name}.msg').read_text()
    kind = f'vision_msgs/msg/{name}'
    assert get_types_from_msg(text, kind)[kind] == typestore().fielddefs[kind]


@pytest.mark.parametrize('kind', ['std_msgs/msg/Header', 'sensor_msgs/msg/Image', COMPRESSED])
def test_type_hashes_of_standard_messages_match_ros(kind: str) -> None:
    package, _, name = kind.split('/')
    messages = pytest.importorskip(f'{package}.msg', reason='needs ROS 2')
    share = Path(messages.__file__).parents[4].parent / 'share'
    found = list(share.glob(f'{package}/msg/{name}.json'))
    if not found:
        pytest.skip('this ROS is older than type hashes (Iron)')
    hashes = {
        entry['type_name']: entry['hash_string']
        for entry in json.loads(found[0].read_text())['type_hashes']
    }
    assert typestore().hash_rihs01(kind) == hashes[kind]


def messages() -> list[object]:
    stamp = -3 * 10**9 + 7
    return [
        detection(stamp, 'camera', Box(1.5, 2, 30, 40), '7', [('cat', 0.25), ('dog', 0.5)]),
        detection(5, '', Box(1, 2, 3, 4)),
        compress_image(5, 'camera', np.full((8, 10, 3), 90, np.uint8)),
        build_message(FLOAT, data=0.1),
    ]


@pytest.mark.parametrize('message', messages(), ids=lambda message: type(message).__name__)
def test_messages_survive_a_round_trip_through_ros(message: object) -> None:
    serialization = pytest.importorskip('rclpy.serialization', reason='needs ROS 2')
    package, _, name = message.__msgtype__.split('/')  # type: ignore[attr-defined]
    theirs = getattr(pytest.importorskip(f'{package}.msg'), name)
    data = bytes(encode_message(message))
    found = serialization.deserialize_message(data, theirs)
    again = serialization.serialize_message(found)
    # ROS does not clear the padding bytes between fields, so they are not compared.
    assert len(again) - len(data) in (0, 1, 2, 3)
    returned = decode_message(again, message.__msgtype__)  # type: ignore[attr-defined]
    assert bytes(encode_message(returned)) == data
    if name == 'Detection2D':
        assert box_of(found) == box_of(message)  # type: ignore[arg-type]
        assert best_class(found) == best_class(message)  # type: ignore[arg-type]
        assert found.id == message.id  # type: ignore[attr-defined]
        stamp = message.header.stamp  # type: ignore[attr-defined]
        assert nanoseconds(found.header.stamp) == nanoseconds(stamp)


@pytest.mark.parametrize(
    'data', [b'', b'\0\1\0\0', b'\x28\xb5\x2f\xfd', b'\0\1\0\0' + b'\xff' * 60]
)
def test_bytes_that_are_not_a_message_are_refused(data: bytes) -> None:
    expected = re.escape(f'{len(data)} bytes cannot be decoded as {DETECTION} (')
    with pytest.raises(ValueError, match=expected):
        decode_message(data, DETECTION)


@pytest.mark.parametrize('stated', [True, False])
def test_a_decompression_bomb_is_refused(monkeypatch: pytest.MonkeyPatch, stated: bool) -> None:
    """The check holds with and without a stated size in the compressed data."""
    monkeypatch.setattr(message_types, 'LARGEST_MESSAGE', 1 << 20)
    machine = zstandard.ZstdCompressor(write_content_size=stated)
    for size, refused in ((1 << 20, False), ((1 << 20) + 1, True), (64 << 20, True)):
        data = machine.compress(bytes(size))
        assert len(data) < 10_000
        if not refused:
            assert unpack_message(data) == bytes(size)
            continue
        tracemalloc.start()
        with pytest.raises(ValueError, match='it unpacks to more than 1048576 bytes'):
            decode_message(data, COMPRESSED)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 << 20


def test_unpacking_can_stop_after_the_first_bytes() -> None:
    data = bytes(range(256)) * 1000
    assert unpack_message(zstandard.compress(data), 12) == data[:12]
    assert unpack_message(data, 12) == data[:12]
    assert unpack_message(zstandard.compress(data)) == data


def test_the_detection_of_an_older_vision_msgs_is_refused() -> None:
    """Before vision_msgs 4.0 the message contained the image itself."""
    old = bytes(encode_message(detection(5, '', Box(1, 2, 3, 4))))
    with pytest.raises(ValueError, match='cannot be decoded as vision_msgs'):
        decode_message(old[:-8] + bytes(200), DETECTION)


def test_a_stamp_survives_a_round_trip_through_a_header() -> None:
    for stamp in (0, 1_700_000_000_123_456_789, -1):
        assert nanoseconds(header(stamp, '').stamp) == stamp


def test_lz4_decompression_stops_at_the_expected_size() -> None:
    bomb = lz4.frame.compress(bytes(64 << 20))
    tracemalloc.start()
    try:
        for unpack in (decompress_lz4, storage_mcap.DECOMPRESSORS['lz4']):
            with pytest.raises(ValueError, match='unpacks to more than 1000 bytes'):
                unpack(bomb, 1000)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert decompress_lz4(lz4.frame.compress(b'abc'), 3) == b'abc'
    with pytest.raises(ValueError, match='its compression is damaged'):
        decompress_lz4(b'no frame of LZ4', 100)
