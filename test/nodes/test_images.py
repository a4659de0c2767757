# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

pytest.importorskip('sensor_msgs', reason='needs ROS 2')

from sensor_msgs.msg import Image

from hcat_ros.message_data import decoded_image, image_view
from hcat_ros.nodes.images import compressed_message, image_message
from hcat_ros.tracking.encodings import ENCODINGS


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_survives_the_message(encoding: str) -> None:
    channels = ENCODINGS[encoding].channels
    shape = (6, 6) if channels == 1 else (6, 6, channels)
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found, name = image_view(image_message(image, encoding))
    assert name == encoding
    assert np.array_equal(found, image)


def test_the_message_holds_a_copy() -> None:
    image = np.zeros((6, 6, 3), np.uint8)
    message = image_message(image, 'bgr8')
    image[:] = 9
    assert image_view(message)[0].max() == 0


def test_an_empty_message_is_refused() -> None:
    with pytest.raises(ValueError, match="encoding ''"):
        image_view(Image())


def test_compressed_image_survives_the_round_trip() -> None:
    image = np.full((40, 60, 3), (10, 120, 240), np.uint8)
    found, encoding = decoded_image(compressed_message(image, 95))
    assert encoding == 'bgr8'
    assert np.abs(found.astype(int) - image).max() <= 3
