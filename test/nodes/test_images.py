# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

pytest.importorskip('sensor_msgs', reason='needs ROS 2')

from sensor_msgs.msg import CompressedImage, Image

from hcat_ros.nodes.images import compressed_message, decoded_image, image_message, image_view
from hcat_ros.tracking.encodings import ENCODINGS


def pixels(channels: int) -> np.ndarray:
    shape = (6, 5) if channels == 1 else (6, 5, channels)
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
    padded[:, :15] = image.reshape(6, 15)
    message.step = 32
    # The last row may lack its padding.
    message.data = padded.tobytes()[: 5 * 32 + 15]
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
        ({'encoding': '16UC1'}, "encoding '16UC1' is not supported; supported are bgr8"),
        ({'encoding': ''}, "encoding ''"),
        ({'height': 0}, 'image is empty: 5x0'),
        ({'step': 14}, r'step 14 is shorter than a row: 5 px of 3 bytes \(bgr8\)'),
        ({'height': 7}, 'data has 90 bytes, 5x7 bgr8 at step 15 needs 105'),
        ({'step': 4_000_000_000}, 'needs 20000000015'),
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


def test_compressed_images() -> None:
    image = np.full((40, 60, 3), (10, 120, 240), np.uint8)
    found, encoding = decoded_image(compressed_message(image, 95))
    assert encoding == 'bgr8'
    assert np.abs(found.astype(int) - image).max() <= 3


@pytest.mark.parametrize('data', [b'', b'no jpeg', b'\xff\xd8\xff\xe0broken'])
def test_compressed_data_that_is_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=f"'jpeg' .{len(data)} bytes. cannot be decoded"):
        decoded_image(CompressedImage(format='jpeg', data=data))
