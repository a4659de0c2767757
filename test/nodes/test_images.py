# SPDX-License-Identifier: Apache-2.0
import array
import struct
import zlib

import cv2
import numpy as np
import pytest

pytest.importorskip('sensor_msgs', reason='needs ROS 2')

from sensor_msgs.msg import CompressedImage, Image

from hcat_ros.nodes.images import compressed_message, decoded_image, image_message, image_view
from hcat_ros.tracking.encodings import ENCODINGS


def pixels(channels: int) -> np.ndarray:
    shape = (6, 6) if channels == 1 else (6, 6, channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_survives_the_message(encoding: str) -> None:
    image = pixels(ENCODINGS[encoding].channels)
    found, name = image_view(image_message(image, encoding))
    assert name == encoding
    assert np.array_equal(found, image)


def test_padded_rows() -> None:
    image = pixels(3)
    message = image_message(image, 'rgb8')
    padded = np.zeros((6, 32), np.uint8)
    padded[:, :18] = image.reshape(6, 18)
    message.step = 32
    # The last row may lack its padding.
    message.data = padded.tobytes()[: 5 * 32 + 18]
    assert np.array_equal(image_view(message)[0], image)


def test_the_view_copies_nothing_and_cannot_be_written() -> None:
    message = image_message(pixels(3), 'bgr8')
    view = image_view(message)[0]
    message.data[0] = (int(message.data[0]) + 1) % 256
    assert view[0, 0, 0] == message.data[0]
    with pytest.raises(ValueError, match='read-only'):
        view[0, 0, 0] = 1


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'encoding': '16UC1'}, "encoding '16UC1' is not supported: it holds distances"),
        ({'encoding': '32FC1'}, r'track in the colour image.*supported are bgr8, .*, mono16, nv12'),
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
def test_what_does_not_fit_is_refused_with_the_numbers(changes: dict, reason: str) -> None:
    message = image_message(pixels(3), 'bgr8')
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(ValueError, match=reason):
        image_view(message)


def test_an_empty_message_is_refused() -> None:
    with pytest.raises(ValueError, match="encoding ''"):
        image_view(Image())


@pytest.mark.parametrize('order', ['<', '>'])
@pytest.mark.parametrize('step', [12, 13, 16])
def test_mono16_of_either_byte_order_and_any_step(order: str, step: int) -> None:
    deep = np.arange(36, dtype=np.uint16).reshape(6, 6) * 113
    message = image_message(pixels(1), 'mono8')
    message.encoding, message.step, message.is_bigendian = 'mono16', step, int(order == '>')
    padded = np.full((6, step), 0xEE, np.uint8)
    padded[:, :12] = deep.astype(f'{order}u2').view(np.uint8)
    message.data = padded.tobytes()
    found, encoding = image_view(message, mono16_bits=12)
    assert encoding == 'mono8'
    assert np.abs(found - deep / 16).max() <= 0.5


def test_planes_with_padded_rows() -> None:
    planes = np.random.default_rng(1).integers(0, 256, (9, 8), np.uint8)
    message = image_message(np.zeros((6, 8), np.uint8), 'mono8')
    message.encoding, message.step = 'nv21', 11
    message.data = np.pad(planes, ((0, 0), (0, 3))).tobytes()
    found, encoding = image_view(message)
    assert encoding == 'rgb8'
    assert np.array_equal(found, cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_NV21))


def test_compressed_images() -> None:
    image = np.full((40, 60, 3), (10, 120, 240), np.uint8)
    found, encoding = decoded_image(compressed_message(image, 95))
    assert encoding == 'bgr8'
    assert np.abs(found.astype(int) - image).max() <= 3


@pytest.mark.parametrize('data', [b'', b'no jpeg', b'\xff\xd8\xff\xe0broken'])
def test_compressed_data_that_is_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=f"'jpeg' .{len(data)} bytes. cannot be decoded"):
        decoded_image(CompressedImage(format='jpeg', data=data))


@pytest.mark.parametrize('channels', [1, 3])
def test_png_of_8_bits_is_exact_and_of_16_refused(channels: int) -> None:
    image = pixels(channels)
    found = decoded_image(CompressedImage(format='png', data=cv2.imencode('.png', image)[1]))[0]
    assert (found == (image if channels == 3 else image[:, :, None])).all()
    deep = cv2.imencode('.png', image.astype(np.uint16) * 257)[1]
    with pytest.raises(ValueError, match=r"'16UC1; png' holds uint16: expected 8 bits a channel"):
        decoded_image(CompressedImage(format='16UC1; png', data=deep))


def test_compressed_depth_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r'holds distances.*track in the colour image'):
        decoded_image(CompressedImage(format='16UC1; compressedDepth png', data=b'0123456789'))


def test_a_header_that_claims_a_giant_image_is_refused() -> None:
    header = b'IHDR' + struct.pack('>IIBBBBB', 2**30, 2**30, 8, 2, 0, 0, 0)
    data = b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + header
    data += struct.pack('>I', zlib.crc32(header))
    with pytest.raises(ValueError, match='cannot be decoded'):
        decoded_image(CompressedImage(format='png', data=data))


def test_an_image_that_fits_is_a_view_and_one_with_much_besides_a_copy() -> None:
    """What is kept of a message in the buffer of past frames is what the buffer counts."""
    message = image_message(pixels(3), 'bgr8')
    assert not image_view(message)[0].flags.owndata
    message.data = array.array('B', bytes(message.data) + bytes(100_000))
    found = image_view(message)[0]
    assert (found == pixels(3)).all()
    assert not np.shares_memory(found, np.frombuffer(message.data, np.uint8))
