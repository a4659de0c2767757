# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from vision_msgs.msg import Detection2D, ObjectHypothesisWithPose

from hcat_ros.nodes.message_bounds import check_camera_info, check_detection, check_image


def test_messages_of_usual_length_pass() -> None:
    info, detection = (
        CameraInfo(d=[0.0] * 14, distortion_model='rational_polynomial'),
        Detection2D(),
    )
    detection.results = [ObjectHypothesisWithPose()] * 1000
    detection.id = 'a' * 256
    check_camera_info(info)
    check_detection(detection)


@pytest.mark.parametrize(('kind', 'text'), [(Image, 'encoding'), (CompressedImage, 'format')])
def test_image_with_an_overlong_text_is_refused(kind: type, text: str) -> None:
    message = kind()
    message.header.frame_id = 'f' * 256
    setattr(message, text, 'e' * 256)
    check_image(message)
    setattr(message, text, 'e' * 10**6)
    with pytest.raises(ValueError, match=f'{text} has 1000000 characters'):
        check_image(message)
    message.header.frame_id = 'f' * 10**6
    with pytest.raises(ValueError, match='frame_id has 1000000 characters'):
        check_image(message)


@pytest.mark.parametrize(
    ('fields', 'reason'),
    [
        ({'d': [0.0] * 15}, 'd has 15 values: expected at most 14'),
        ({'distortion_model': 'x' * 10**6}, 'distortion_model has 1000000 characters'),
    ],
)
def test_overlong_camera_info_is_refused(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as error:
        check_camera_info(CameraInfo(**fields))
    assert len(str(error.value)) < 200


def test_overlong_detection_is_refused() -> None:
    one = ObjectHypothesisWithPose()
    one.hypothesis.class_id = 'c' * 10**6
    for fields, reason in (
        ({'results': [ObjectHypothesisWithPose()] * 1001}, 'results has 1001 values'),
        ({'results': [one]}, 'class_id has 1000000 characters'),
        ({'id': 'i' * 257}, 'id has 257 characters'),
    ):
        with pytest.raises(ValueError, match=reason):
            check_detection(Detection2D(**fields))
