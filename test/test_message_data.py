# SPDX-License-Identifier: Apache-2.0
"""Each test runs on messages of rclpy and on messages that rosbags decodes from bytes."""

from __future__ import annotations

import array
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from hcat_ros.boxes import Box
from hcat_ros.message_data import (
    best_class,
    box_of,
    decoded_depth,
    decoded_image,
    depth_view,
    image_view,
    nanoseconds,
)
from hcat_ros.tracking.encodings import ENCODINGS


class RclpyMessages:
    """Makes messages of rclpy's types."""

    def __init__(self) -> None:
        pytest.importorskip('vision_msgs', reason='needs ROS 2')

    def image(self, pixels: np.ndarray, encoding: str) -> Any:
        from hcat_ros.nodes.images import image_message

        return image_message(pixels, encoding)

    def compressed(self, data: Any, kind: str) -> Any:
        from sensor_msgs.msg import CompressedImage

        return CompressedImage(format=kind, data=array.array('B', bytes(data)))

    def detection(self, box: Box, *hypotheses: tuple[str, float]) -> Any:
        from std_msgs.msg import Header
        from vision_msgs.msg import ObjectHypothesisWithPose

        from hcat_ros.nodes.detections import detection_message

        header = Header()
        header.stamp.sec, header.stamp.nanosec = -2, 34
        message = detection_message(header, box)
        results = []
        for name, score in hypotheses:
            result = ObjectHypothesisWithPose()
            result.hypothesis.class_id, result.hypothesis.score = name, score
            results.append(result)
        message.results = results
        return message


class RosbagsMessages:
    """Makes messages of rosbags' types with read-only arrays, as read from a bag."""

    def __init__(self) -> None:
        pytest.importorskip('rosbags', reason="needs rosbags (pip install 'hcat_ros[evaluate]')")

    def _read(self, message: Any) -> Any:
        from hcat_ros.evaluation.bags.message_types import decode_message, encode_message

        return decode_message(bytes(encode_message(message)), message.__msgtype__)

    def image(self, pixels: np.ndarray, encoding: str) -> Any:
        from bags import raw_image

        return self._read(raw_image(0, pixels, encoding))

    def compressed(self, data: Any, kind: str) -> Any:
        from hcat_ros.evaluation.bags.message_types import COMPRESSED, build_message, header

        content = np.frombuffer(bytes(data), np.uint8)
        return self._read(
            build_message(COMPRESSED, header=header(0, ''), format=kind, data=content)
        )

    def detection(self, box: Box, *hypotheses: tuple[str, float]) -> Any:
        from hcat_ros.evaluation.bags.output import detection

        return self._read(detection(-2 * 10**9 + 34, '', box, '', list(hypotheses)))


@pytest.fixture(params=[RclpyMessages, RosbagsMessages], ids=['rclpy', 'rosbags'])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param()


def pixels(channels: int) -> np.ndarray:
    shape = (6, 6) if channels == 1 else (6, 6, channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def test_module_is_imported_without_ros_and_rosbags(checkout: Path) -> None:
    code = (
        'import sys; sys.modules["rclpy"] = sys.modules["sensor_msgs"] = None\n'
        'sys.modules["vision_msgs"] = sys.modules["rosbags"] = None\n'
        'import hcat_ros.message_data'
    )
    assert subprocess.run([sys.executable, '-c', code], cwd=checkout).returncode == 0


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_is_viewed_without_conversion(make: Any, encoding: str) -> None:
    image = pixels(ENCODINGS[encoding].channels)
    found, name = image_view(make.image(image, encoding))
    assert name == encoding
    assert np.array_equal(found, image)


def test_row_padding_is_skipped(make: Any) -> None:
    image = pixels(3)
    message = make.image(image, 'rgb8')
    padded = np.zeros((6, 32), np.uint8)
    padded[:, :18] = image.reshape(6, 18)
    message.step = 32
    # The last row may lack its padding.
    message.data = padded.tobytes()[: 5 * 32 + 18]
    assert np.array_equal(image_view(message)[0], image)


def test_image_view_is_a_read_only_view_of_the_message(make: Any) -> None:
    message = make.image(pixels(3), 'bgr8')
    view = image_view(message)[0]
    assert np.shares_memory(view, np.frombuffer(message.data, np.uint8))
    with pytest.raises(ValueError, match='read-only'):
        view[0, 0, 0] = 1


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'encoding': '16UC1'}, "encoding '16UC1' is not supported: it holds distances"),
        (
            {'encoding': '32FC1'},
            r'track in the camera.s colour image.*supported are bgr8, .*, mono16, nv12',
        ),
        ({'encoding': ''}, "encoding ''"),
        ({'height': 0}, 'image is empty: 6x0'),
        ({'step': 17}, r'step 17 is shorter than a row: 6 px of 3 bytes \(bgr8\)'),
        ({'height': 7}, 'data has 108 bytes, 6x7 bgr8 at step 18 needs 126'),
        ({'step': 4_000_000_000}, 'needs 20000000018'),
        ({'encoding': 'mono16', 'step': 11}, r'shorter than a row: 6 px of 2 bytes \(mono16\)'),
        ({'encoding': 'nv12', 'step': 18, 'height': 5}, 'nv12 image has even sides, got 6x5'),
        ({'encoding': 'nv21', 'height': 6}, 'data has 108 bytes, 6x6 nv21 at step 18 needs 150'),
        ({'encoding': 'yuv422', 'width': 5}, 'yuv422 frame has an even width, got 5'),
    ],
)
def test_inconsistent_image_fields_are_refused_with_their_values(
    make: Any, changes: dict[str, Any], reason: str
) -> None:
    message = make.image(pixels(3), 'bgr8')
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(ValueError, match=reason):
        image_view(message)


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('step', [12, 13, 16])
def test_mono16_of_either_byte_order_and_any_step(make: Any, order: str, step: int) -> None:
    deep = np.arange(36, dtype=np.uint16).reshape(6, 6) * 113
    message = make.image(pixels(1), 'mono8')
    message.encoding, message.step, message.is_bigendian = 'mono16', step, int(order == '>')
    padded = np.full((6, step), 0xEE, np.uint8)
    padded[:, :12] = deep.astype(f'{order}u2').view(np.uint8)
    message.data = padded.tobytes()
    found, encoding = image_view(message, mono16_bits=12)
    assert encoding == 'mono8'
    assert np.abs(found - deep / 16).max() <= 0.5


def test_row_padding_of_yuv_planes_is_skipped(make: Any) -> None:
    planes = np.random.default_rng(1).integers(0, 256, (9, 8), np.uint8)
    message = make.image(np.zeros((6, 8), np.uint8), 'mono8')
    message.encoding, message.step = 'nv21', 11
    message.data = np.pad(planes, ((0, 0), (0, 3))).tobytes()
    found, encoding = image_view(message)
    assert encoding == 'rgb8'
    assert np.array_equal(found, cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_NV21))


def test_image_is_copied_out_of_a_much_larger_message(make: Any) -> None:
    """The frame buffer counts the image's bytes; a view would keep the whole message alive."""
    message = make.image(pixels(3), 'bgr8')
    assert not image_view(message)[0].flags.owndata
    message.data = array.array('B', bytes(message.data) + bytes(100_000))
    found = image_view(message)[0]
    assert (found == pixels(3)).all()
    assert not np.shares_memory(found, np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize('data', [b'', b'no jpeg', b'\xff\xd8\xff\xe0broken'])
def test_unreadable_compressed_image_is_refused(make: Any, data: bytes) -> None:
    with pytest.raises(ValueError, match=f"'jpeg' is not a readable image .{len(data)} bytes."):
        decoded_image(make.compressed(data, 'jpeg'))


def test_exif_orientation_is_ignored(make: Any, turned_jpeg: Any) -> None:
    """As in image_transport: a rotated image would not fit the camera's calibration."""
    wide = np.full((24, 64, 3), 90, np.uint8)
    assert decoded_image(make.compressed(turned_jpeg(wide), 'jpeg'))[0].shape == (24, 64, 3)


@pytest.mark.parametrize('channels', [1, 3])
def test_8_bit_png_is_decoded_exactly_and_16_bit_png_is_refused(make: Any, channels: int) -> None:
    image = pixels(channels)
    found, encoding = decoded_image(make.compressed(cv2.imencode('.png', image)[1], 'png'))
    assert (found == (image if channels == 3 else image[:, :, None])).all()
    assert encoding == 'bgr8'
    deep = cv2.imencode('.png', image.astype(np.uint16) * 257)[1]
    with pytest.raises(ValueError, match=r"'16UC1; png' has 16 bits per channel; expected 8"):
        decoded_image(make.compressed(deep, '16UC1; png'))


def test_compressed_depth_as_an_image_is_refused_with_a_remedy(make: Any) -> None:
    with pytest.raises(ValueError, match=r'holds distances.*track in the camera.s colour image'):
        decoded_image(make.compressed(b'0123456789', '16UC1; compressedDepth png'))


def test_png_header_with_a_giant_size_is_refused(make: Any) -> None:
    header = b'IHDR' + struct.pack('>IIBBBBB', 2**30, 2**30, 8, 2, 0, 0, 0)
    data = b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + header
    data += struct.pack('>I', zlib.crc32(header)) + struct.pack('>I', 0) + b'IDAT'
    with pytest.raises(ValueError, match='pixels'):
        decoded_image(make.compressed(data, 'png'))


@pytest.mark.parametrize('box', [Box(1.5, 2.25, 30.0, 40.5), Box(10, 20, 30, 40)])
def test_box_of_returns_the_box_of_a_detection(make: Any, box: Box) -> None:
    assert box_of(make.detection(box)) == box


def test_best_class_has_the_highest_score_of_a_detection(make: Any) -> None:
    box = Box(1.0, 2.0, 3.0, 4.0)
    assert best_class(make.detection(box)) == ('', 0.0)
    named = make.detection(box, ('cat', 0.2), ('dog', 0.9), ('cow', 0.5))
    assert best_class(named) == ('dog', 0.9)


def test_stamp_before_1970_is_negative(make: Any) -> None:
    assert nanoseconds(make.detection(Box(1.0, 2.0, 3.0, 4.0)).header.stamp) == -2 * 10**9 + 34


def depth_message(make: Any, pixels: np.ndarray, encoding: str, order: str = '<') -> Any:
    """A depth image, its rows padded by four bytes."""
    rows = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    step = len(rows) // len(pixels)
    data = b''.join(rows[n * step : (n + 1) * step] + b'....' for n in range(len(pixels)))
    message = make.image(np.zeros((*pixels.shape, 1), np.uint8)[..., 0], 'mono8')
    fields = {'encoding': encoding, 'step': step + 4, 'is_bigendian': int(order == '>')}
    return SimpleNamespace(
        height=message.height, width=message.width, data=array.array('B', data), **fields
    )


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize(
    ('encoding', 'kind', 'metres'), [('16UC1', 'u2', 0.001), ('32FC1', 'f4', 1.0)]
)
def test_depth_of_either_byte_order_and_any_step(
    make: Any, encoding: str, kind: str, metres: float, order: str
) -> None:
    pixels = (np.arange(12).reshape(3, 4) * 250).astype(kind)
    view = depth_view(depth_message(make, pixels, encoding, order))
    assert view.metres == metres
    np.testing.assert_array_equal(view.pixels, pixels)
    assert not view.pixels.flags.writeable


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'encoding': 'rgb8'}, 'expected 16UC1 .mm. or 32FC1 .m.'),
        ({'width': 0}, 'empty'),
        ({'height': 9}, 'needs'),
        ({'step': 2}, 'shorter than a row'),
    ],
)
def test_invalid_depth_image_is_refused(make: Any, changes: dict[str, Any], reason: str) -> None:
    message = depth_message(make, np.ones((3, 4), np.uint16), '16UC1')
    with pytest.raises(ValueError, match=reason):
        depth_view(SimpleNamespace(**{**vars(message), **changes}))


def compressed_depth(pixels: np.ndarray, a: float = 0.0, b: float = 0.0) -> bytes:
    png = cv2.imencode('.png', pixels)[1].tobytes()
    return struct.pack('<iff', 0, a, b) + png


def test_compressed_depth_in_millimetres_is_decoded(make: Any) -> None:
    pixels = (np.arange(12).reshape(3, 4) * 250).astype(np.uint16)
    view = decoded_depth(make.compressed(compressed_depth(pixels), '16UC1; compressedDepth png'))
    assert view.metres == 0.001
    np.testing.assert_array_equal(view.pixels, pixels)


def test_compressed_depth_in_metres_is_decoded(make: Any) -> None:
    """As compressed_depth_image_transport quantises: A / depth + B, 0 for missing depth."""
    depth = np.array([[0.5, 1.0, 3.0], [9.0, np.nan, 2.0]], np.float32)
    quantization, deepest = 100.0, 10.0
    a = quantization * (quantization + 1)
    b = 1 - a / deepest
    packed = np.nan_to_num(a / depth + b).astype(np.uint16)
    data = compressed_depth(packed, a, b)
    view = decoded_depth(make.compressed(data, '32FC1; compressedDepth'))
    assert view.metres == 1.0
    known = np.isfinite(depth)
    np.testing.assert_allclose(view.pixels[known], depth[known], rtol=0.01)
    assert np.isnan(view.pixels[~known]).all()


@pytest.mark.parametrize(
    ('kind', 'data', 'reason'),
    [
        ('16UC1; compressedDepth rvl', b'0' * 40, "set the publisher's parameter format to png"),
        ('jpeg', b'0' * 40, 'expected compressedDepth'),
        ('16UC1; compressedDepth png', b'0' * 8, 'of 8 bytes'),
        ('rgb8; compressedDepth png', b'0' * 40, 'expected 16UC1 or 32FC1'),
        ('16UC1; compressedDepth png', b'0' * 40, 'not a readable image'),
        (
            '16UC1; compressedDepth png',
            compressed_depth(np.zeros((3, 4), np.uint8)),
            'has 1 channels of 8 bits; expected one of 16',
        ),
    ],
)
def test_invalid_compressed_depth_is_refused(
    make: Any, kind: str, data: bytes, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        decoded_depth(make.compressed(data, kind))


def test_compressed_depth_header_with_a_giant_size_is_refused(make: Any) -> None:
    png = bytearray(cv2.imencode('.png', np.zeros((3, 4), np.uint16))[1].tobytes())
    png[16:24] = struct.pack('>II', 20000, 20000)
    png[29:33] = struct.pack('>I', zlib.crc32(png[12:29]))
    message = make.compressed(struct.pack('<iff', 0, 0, 0) + png, '16UC1; compressedDepth png')
    with pytest.raises(ValueError, match='pixels by its header'):
        decoded_depth(message)
