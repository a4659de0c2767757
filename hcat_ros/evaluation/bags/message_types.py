# SPDX-License-Identifier: Apache-2.0
"""Reads and writes the messages of bags with the package `rosbags`; no ROS is needed.

Message definitions that are stored in a bag are not used, because `rosbags` turns them into code
and runs it. The types here are the same in every distribution since Humble.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import lz4.frame
import zstandard

try:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    from rosbags.typesys.store import Typestore
except ImportError as error:
    raise ImportError(f"{error}; pip install 'hcat_ros[evaluate]'") from error

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED = 'sensor_msgs/msg/CompressedImage'
DETECTION = 'vision_msgs/msg/Detection2D'
DETECTIONS = 'vision_msgs/msg/Detection2DArray'
FLOAT = 'std_msgs/msg/Float64'

VISION_MSGS = {
    'BoundingBox2D': 'vision_msgs/Pose2D center\nfloat64 size_x\nfloat64 size_y',
    'Detection2D': (
        'std_msgs/Header header\nvision_msgs/ObjectHypothesisWithPose[] results\n'
        'vision_msgs/BoundingBox2D bbox\nstring id'
    ),
    'Detection2DArray': 'std_msgs/Header header\nvision_msgs/Detection2D[] detections',
    'ObjectHypothesis': 'string class_id\nfloat64 score',
    'ObjectHypothesisWithPose': (
        'vision_msgs/ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose'
    ),
    'Point2D': 'float64 x\nfloat64 y',
    'Pose2D': 'vision_msgs/Point2D position\nfloat64 theta',
}
"""Definitions of vision_msgs 4, which `rosbags` lacks and Humble's SQLite bags do not store."""

_ZSTD = b'\x28\xb5\x2f\xfd'
LARGEST_MESSAGE = 512 << 20
"""Largest size of an unpacked message, bytes: an image of 100 megapixels with 5 bytes each."""
PIECE = 4 << 20
"""Number of bytes that are unpacked at once if the compressed data do not state their size."""


@dataclass(frozen=True, order=True)
class Topic:
    """A topic of a bag."""

    name: str
    type: str
    """Type of the messages, such as 'sensor_msgs/msg/Image'."""
    count: int
    """Number of messages."""


class StoredMessage(NamedTuple):
    """A message as it is stored in a bag."""

    topic: str
    log_time: int
    """Time of recording, nanoseconds."""
    data: bytes


@cache
def typestore() -> Typestore:
    """Return the message types of Humble and of vision_msgs."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    types = {}
    for name, text in VISION_MSGS.items():
        types.update(get_types_from_msg(text, f'vision_msgs/msg/{name}'))
    store.register(types)
    return store


def decompress_zstd(data: bytes, largest: int, first: int | None = None) -> bytes:
    """Decompress data of zstd. first: number of bytes to return; None: all.

    A few kilobytes can unpack to gigabytes, so the data are unpacked in pieces. Raises ValueError
    for more than `largest` bytes, and for data that are damaged or not of zstd.
    """
    left = largest + 1 if first is None else first
    parts = []
    try:
        stated = zstandard.frame_content_size(data)  # -1 if it is not stated
        piece = stated if PIECE < stated <= largest else PIECE
        if first is None and stated > largest:
            left = 0
        # Like zstd itself, read several frames in a row as one.
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            while left > 0 and (part := reader.read(min(left, piece))):
                parts.append(part)
                left -= len(part)
    except zstandard.ZstdError as error:
        raise ValueError(f'its compression is damaged: {error}') from error
    if first is None and left <= 0:
        raise ValueError(f'it unpacks to more than {largest} bytes, the expected maximum')
    return parts[0] if len(parts) == 1 else b''.join(parts)


def decompress_lz4(data: bytes, largest: int) -> bytes:
    """Decompress data of LZ4. Raises ValueError for more than `largest` bytes or damaged data."""
    try:
        content: bytes = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=largest + 1)
    except RuntimeError as error:
        raise ValueError(f'its compression is damaged: {error}') from error
    if len(content) > largest:
        raise ValueError(f'it unpacks to more than {largest} bytes, the expected maximum')
    return content


def unpack_message(data: bytes, first: int | None = None) -> bytes:
    """Return the bytes of a message, or only the first ones; zstd data are decompressed.

    Raises ValueError for more than `LARGEST_MESSAGE` bytes and for damaged data.
    """
    if data[:4] == _ZSTD:  # no message in CDR begins with these bytes
        return decompress_zstd(data, LARGEST_MESSAGE, first)
    return data if first is None else data[:first]


def decode_message(data: bytes, kind: str) -> Any:
    """Decode a message of type `kind`; zstd data are decompressed. Raises ValueError."""
    try:
        return typestore().deserialize_cdr(unpack_message(data), kind)
    except Exception as error:  # the exceptions for damaged bytes have no common base
        raise ValueError(f'{len(data)} bytes cannot be decoded as {kind} ({error})') from error


def build_message(kind: str, **fields: Any) -> Any:
    """Return a message of type `kind`; all of its fields must be given."""
    return typestore().types[kind](**fields)


def encode_message(message: Any) -> memoryview:
    """Return a message as CDR bytes."""
    return typestore().serialize_cdr(message, message.__msgtype__)


def header(stamp: int, frame_id: str) -> Any:
    """Return a std_msgs/Header. stamp: nanoseconds."""
    seconds, rest = divmod(stamp, 10**9)
    time = build_message('builtin_interfaces/msg/Time', sec=seconds, nanosec=rest)
    return build_message('std_msgs/msg/Header', stamp=time, frame_id=frame_id)
