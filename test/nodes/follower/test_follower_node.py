# SPDX-License-Identifier: Apache-2.0
"""Commands, bearings, poses and diagnostics of the follower node, over real DDS."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

import rclpy
from follow_talker import (
    ABOVE,
    AHEAD,
    BELOW,
    FOCAL,
    LEFT,
    RIGHT,
    SIZE,
    FollowTalker,
    angles,
    camera_info,
    track_message,
)
from geometry_msgs.msg import Twist, TwistStamped
from lives import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE
from sensor_msgs.msg import CameraInfo

from hcat_ros.boxes import Box
from hcat_ros.following import CameraModel
from hcat_ros.nodes.qos import LATCHED_QOS

Follow = Callable[..., FollowTalker]


@pytest.mark.parametrize(
    ('platform', 'box', 'name', 'sign'),
    [
        ('ground', LEFT, 'yaw', 1),
        ('ground', RIGHT, 'yaw', -1),
        ('drone', LEFT, 'yaw', 1),
        ('drone', RIGHT, 'yaw', -1),
        ('drone', ABOVE, 'up', 1),
        ('drone', BELOW, 'up', -1),
        ('gimbal', LEFT, 'yaw', 1),
        ('gimbal', RIGHT, 'yaw', -1),
        # Right-handed about y, which is to the left: positive is nose down.
        ('gimbal', ABOVE, 'pitch', -1),
        ('gimbal', BELOW, 'pitch', 1),
    ],
)
def test_follower_turns_towards_the_target(
    follow: Follow, platform: str, box: Box, name: str, sign: int
) -> None:
    talker = follow(platform=platform, desired_elevation=0.0)
    talker.start()
    value = talker.follow(box, name)
    assert math.copysign(1, value) == sign
    used = {'ground': {'yaw', 'forward'}, 'gimbal': {'yaw', 'pitch'}}
    for other, speed in talker.last.items():
        if other not in used.get(platform, {'yaw', 'up', 'forward', 'left'}):
            assert speed == 0.0, other


@pytest.mark.parametrize(('near', 'sign'), [(40.0, 1), (400.0, 0)])
def test_follower_drives_to_the_desired_range(follow: Follow, near: float, sign: int) -> None:
    talker = follow(range_mode='size', target_height=1.8, desired_range=4.0, max_reverse=0.0)
    talker.start()
    box = Box.from_center(320, 240, near / 2, near)  # 22.5 m and 2.25 m away
    talker.stream(1.0, box)
    forward = talker.last['forward']
    assert forward > 0.05 if sign else forward == 0.0
    assert talker.poses[-1].pose.position.x == pytest.approx(1.8 * FOCAL / near, rel=0.05)


def test_bearing_and_pose_are_in_the_cameras_body_frame(follow: Follow) -> None:
    # On hold, so that the camera does not turn and the last bearing stays true.
    talker = follow(range_mode='size', target_height=1.8, start_on_hold=True)
    talker.start()
    for _ in range(10):
        sent = talker.send(Box.from_center(120, 100, 60, 120))
        talker.spin_for(0.03)
    for answers in (talker.bearings, talker.poses):
        talker.spin(
            lambda answers=answers: answers and answers[-1].header.stamp == sent.header.stamp,
            'bearing and pose of the last one',
        )
    bearing, pose = talker.bearings[-1], talker.poses[-1]
    assert bearing.header == pose.header
    assert bearing.header.frame_id == 'camera_frame'

    yaw, pitch = angles(bearing.pose.pose.orientation)
    azimuth = math.atan2(200, FOCAL)
    elevation = math.atan2(140, math.hypot(200, FOCAL))
    assert yaw == pytest.approx(azimuth, abs=0.01)
    assert pitch == pytest.approx(-elevation, abs=0.01), 'nose up is negative'
    covariance = bearing.pose.covariance.reshape(6, 6)
    wide, high = math.sqrt(covariance[5, 5]), math.sqrt(covariance[4, 4])
    assert 0.0005 < wide < high < 0.05, 'the box is twice as high as wide'
    assert not covariance[:4].any()

    position = pose.pose.position
    assert position.x > 0
    assert math.atan2(position.y, position.x) == pytest.approx(yaw, abs=1e-6)
    distance = math.hypot(position.x, position.y, position.z)
    assert math.asin(position.z / distance) == pytest.approx(-pitch, abs=1e-6)
    assert distance == pytest.approx(1.8 * FOCAL / 120, rel=0.15)


def test_no_pose_without_a_range(follow: Follow) -> None:
    talker = follow()
    talker.start()
    talker.stream(0.3, LEFT)
    assert talker.bearings
    assert not talker.poses


def test_bearing_accounts_for_lens_distortion(follow: Follow) -> None:
    distortion = (-0.3, 0.1, 0.0, 0.0, 0.0)
    # On hold, so that the camera does not turn and the last bearing stays true.
    talker = follow(start_on_hold=True)
    talker.start(camera_info(distortion))
    talker.stream(0.5, LEFT)
    yaw, _ = angles(talker.bearings[-1].pose.pose.orientation)
    k = camera_info().k
    true = CameraModel.from_info(*SIZE, k, distortion).bearing(LEFT.cx, LEFT.cy).azimuth
    plain = math.atan2(200, FOCAL)
    assert abs(true - plain) > 0.01
    assert yaw == pytest.approx(true, abs=0.003)


def test_rectified_images_use_no_distortion_and_camera_pitch_is_applied(follow: Follow) -> None:
    talker = follow(
        rectified=True,
        camera_pitch=0.5,
        camera_frame='eye',
        platform='drone',
        desired_elevation=0.0,
        start_on_hold=True,
    )
    talker.start(camera_info((-0.3, 0.1, 0.0, 0.0, 0.0)))
    talker.stream(0.5, LEFT)
    message = talker.bearings[-1]
    yaw, pitch = angles(message.pose.pose.orientation)
    assert yaw == pytest.approx(math.atan2(200, FOCAL), abs=0.003)
    assert pitch == pytest.approx(0, abs=0.003), 'in the frame of the camera, which is pitched'
    assert message.header.frame_id == 'eye'
    talker.hold(False)
    assert talker.follow(LEFT, 'up') < 0, 'from the platform the target is below'


@pytest.mark.parametrize('stamped', [True, False])
def test_command_is_twist_or_twist_stamped(follow: Follow, stamped: bool) -> None:
    talker = follow(stamped=stamped, base_frame='hull')
    talker.start()
    assert talker.follow(LEFT, 'yaw') > 0
    message = talker.commands[-1][1]
    if stamped:
        assert type(message) is TwistStamped
        assert message.header.frame_id == 'hull'
        now = talker.follower.get_clock().now().nanoseconds / 1e9
        assert abs(now - message.header.stamp.sec - message.header.stamp.nanosec / 1e9) < 1
    else:
        assert type(message) is Twist


def test_horizontal_fov_replaces_camera_info(follow: Follow) -> None:
    fov = 2 * math.atan2(SIZE[0] / 2, FOCAL)
    size = {'image_width': SIZE[0], 'image_height': SIZE[1]}
    talker = follow(horizontal_fov=fov, start_on_hold=True, **size)
    talker.follower.start()
    talker.spin(talker.connected, 'connections')

    def seen() -> bool:
        talker.stream(0.1, LEFT)
        return len(talker.bearings) > 10

    talker.spin(seen, 'bearings')
    yaw, _ = angles(talker.bearings[-1].pose.pose.orientation)
    assert yaw == pytest.approx(math.atan2(200, FOCAL), abs=0.003)


def test_horizontal_fov_set_live_uses_the_image_size_of_track_view(
    follow: Follow,
) -> None:
    fov = 2 * math.atan2(SIZE[0] / 2, FOCAL)
    talker = follow(start_on_hold=True, diagnostics_period=0.2)
    talker.follower.start()
    talker.spin(talker.connected, 'connections')
    talker.stream(0.5, LEFT)
    assert not talker.bearings
    talker.wait_for_diagnostics('ros2 param set /hcat_follower horizontal_fov 1.2')
    assert talker.set('horizontal_fov', fov).successful
    talker.wait_for_diagnostics('the size of the images is not known')
    views = talker.node.create_publisher(CameraInfo, 'track_view', LATCHED_QOS)
    views.publish(CameraInfo(width=SIZE[0], height=SIZE[1]))
    talker.spin(lambda: talker.follower.camera is not None, 'the size')
    talker.stream(0.5, LEFT)
    yaw, _ = angles(talker.bearings[-1].pose.pose.orientation)
    assert yaw == pytest.approx(math.atan2(200, FOCAL), abs=0.003)


def test_commands_are_published_at_the_rate_and_it_changes_live(follow: Follow) -> None:
    talker = follow(rate=20.0)
    talker.start()
    for rate in (20.0, 60.0):
        assert talker.set('rate', rate).successful
        talker.spin_for(0.3)
        before = len(talker.commands)
        talker.spin_for(2.0)
        assert len(talker.commands) - before == pytest.approx(2 * rate, rel=0.25)


def test_all_lifecycle_transitions_over_the_service(follow: Follow) -> None:
    talker = follow()
    for transition, state in (
        (CONFIGURE, 'inactive'),
        (ACTIVATE, 'active'),
        (DEACTIVATE, 'inactive'),
        (CLEANUP, 'unconfigured'),
        (CONFIGURE, 'inactive'),
        (ACTIVATE, 'active'),
    ):
        assert talker.change(transition), talker.follower.failure
        assert talker.follower.state_label == state
    talker.spin(talker.connected, 'connections')
    talker.infos.publish(camera_info())
    assert talker.follow(LEFT, 'yaw') > 0


def test_autostart_in_a_namespace(follow: Follow) -> None:
    talker = follow(autostart=True, namespace='robot1')
    talker.spin(lambda: talker.follower.state_label == 'active', 'active by itself')
    names = ('cmd_vel', 'target_pose', 'target_bearing', 'track', 'camera_info')
    wanted = {f'/robot1/{name}' for name in names}
    talker.spin(
        lambda: wanted <= {name for name, _ in talker.follower.get_topic_names_and_types()},
        'the topics in the namespace',
    )


def test_diagnostics_report_the_state_and_its_reason(follow: Follow) -> None:
    talker = follow(diagnostics_period=0.2, range_mode='size', target_height=1.8)
    talker.wait_for_diagnostics('unconfigured')
    talker.follower.start()
    values = talker.wait_for_diagnostics('standing still: waiting for a track')
    assert 'no camera_info on /camera_info; without a calibration' in values['message']
    talker.infos.publish(camera_info())
    talker.stream(1.0, LEFT)
    values = talker.wait_for_diagnostics('following')
    assert values['level'] == b'\0'
    assert float(values['allowed share of the speed']) == 1.0
    azimuth, elevation = values['bearing error azimuth/elevation [deg]'].split(' / ')
    assert float(azimuth) == pytest.approx(math.degrees(math.atan2(200, FOCAL)), abs=3)
    assert abs(float(elevation)) < 1
    assert float(values['range [m]'].split()[0]) == pytest.approx(1.8 * FOCAL / 120, rel=0.2)
    assert float(values['command yaw/pitch rate [rad/s]'].split(' / ')[0]) > 0
    assert int(values['tracks']) > 0
    for stage in ('image age on arrival of its track', 'image age at command'):
        assert len(values[f'{stage} p50/p95/p99 [ms]'].split(' / ')) == 3
    talker.stream(1.0, lost=True)
    values = talker.wait_for_diagnostics('standing still: target lost')
    assert values['level'] == b'\1'


def test_other_nodes_on_cmd_vel_are_reported(
    follow: Follow, capfd: pytest.CaptureFixture[str]
) -> None:
    talker = follow(diagnostics_period=0.2)
    talker.start()
    teleop = talker.node.create_publisher(TwistStamped, 'cmd_vel', 1)
    values = talker.wait_for_diagnostics('/cmd_vel is published by /talker too')
    assert values['level'] == b'\1'
    talker.spin_for(1.0)
    log = capfd.readouterr().err
    assert log.count('/cmd_vel is published by /talker too') == 1, 'once, not with each report'
    assert '[WARN]' in log
    talker.node.destroy_publisher(teleop)
    talker.spin(
        lambda: 'published by' not in talker.diagnostics[-1].status[0].message, 'alone again'
    )
    # Fast DDS allows a participant one type per topic, so the driver has a context of its own.
    context = rclpy.Context()
    rclpy.init(context=context)
    driver = rclpy.create_node('driver', context=context)
    driver.create_subscription(Twist, 'cmd_vel', lambda message: None, 1)
    values = talker.wait_for_diagnostics(
        '/driver subscribes to /cmd_vel as geometry_msgs/msg/Twist'
    )
    assert 'stamped:=false' in values['message']
    driver.destroy_node()
    rclpy.shutdown(context=context)


def test_a_second_follower_of_the_same_name_is_reported(follow: Follow) -> None:
    talker = follow(diagnostics_period=0.2)
    talker.start()
    talker.spin(lambda: len(talker.diagnostics) > 3, 'diagnostics')
    assert 'published by' not in talker.diagnostics[-1].status[0].message
    context = rclpy.Context()
    rclpy.init(context=context)
    other = rclpy.create_node('hcat_follower', context=context)
    other.create_publisher(TwistStamped, 'cmd_vel', 1)
    values = talker.wait_for_diagnostics('/cmd_vel is published by another /hcat_follower too')
    assert values['level'] == b'\1'
    other.destroy_node()
    rclpy.shutdown(context=context)


def test_tracks_outside_of_the_image_are_refused(follow: Follow) -> None:
    talker = follow()
    talker.start()
    elsewhere = Box.from_center(1500, 900, 60, 120)
    message = track_message(elsewhere, talker.follower.get_clock().now().to_msg())
    talker.tracks.publish(message)
    talker.spin(lambda: bool(talker.follower.refusals.statistics.last_problem), 'a refusal')
    assert 'outside of the 640x480 camera' in talker.follower.refusals.statistics.last_problem
    talker.stream(0.2, AHEAD)
    assert talker.bearings
