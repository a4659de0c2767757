# SPDX-License-Identifier: Apache-2.0
"""Several trackers in one process with one engine."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

import rclpy
from sensor_msgs.msg import Image
from talker import TARGET, grainy, scene, truth
from vision_msgs.msg import Detection2D

from hcat_ros.boxes import iou
from hcat_ros.engines import EngineError
from hcat_ros.message_data import box_of
from hcat_ros.models import load_model
from hcat_ros.nodes.detections import detection_message
from hcat_ros.nodes.images import image_message
from hcat_ros.nodes.tracker import several as module
from hcat_ros.nodes.tracker.several import SharedEngines, main, tracker_nodes


class Loaded:
    """A test double of an engine."""


def test_shared_engine_is_loaded_once_while_a_node_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[dict[str, Any]] = []

    def load(model: Any, **options: Any) -> Loaded:
        loads.append(options)
        if options.get('engine') == 'broken':
            raise EngineError('boom')
        return Loaded()

    monkeypatch.setattr(module, 'load_engine', load)
    engines, model = SharedEngines(), load_model('hcat_base')
    one = engines(model, engine='auto', threads=1)
    assert engines(model, threads=1, engine='auto') is one
    assert engines(model, engine='auto', threads=2) is not one
    for _ in range(2):
        with pytest.raises(EngineError, match='boom'):
            engines(model, engine='broken')
    assert len(loads) == 4, 'a failure is not kept'
    del one
    gc.collect()
    engines(model, engine='auto', threads=1)
    assert len(loads) == 5, 'freed with the last node that holds it'


def test_nodes_share_the_engine_until_the_last_is_cleaned_up(ros: None) -> None:
    front, back = nodes = list(tracker_nodes(['front', 'back=/usb_cam/image_raw']))
    try:
        for node in nodes:
            node.start()
        assert front.engine is back.engine is not None
        images = [
            [one.topic_name for one in node.subscriptions if one.msg_type is Image]
            for node in nodes
        ]
        assert images == [['/front/image'], ['/usb_cam/image_raw']]
        front.trigger_deactivate()
        front.trigger_cleanup()
        assert front.engine is None
        assert back.state_label == 'active'
        front.start()
        assert front.engine is back.engine
    finally:
        for node in nodes:
            node.destroy_node()


def test_process_tracks_one_target_per_camera(ros: None) -> None:
    viewer = rclpy.create_node('viewer')
    topics = {'front': '/front/image', 'back': '/usb_cam/image_raw'}
    tracks: dict[str, list[Detection2D]] = {name: [] for name in topics}
    images = {name: viewer.create_publisher(Image, topic, 5) for name, topic in topics.items()}
    boxes = {name: viewer.create_publisher(Detection2D, f'/{name}/init_box', 5) for name in topics}
    for name in topics:
        viewer.create_subscription(Detection2D, f'/{name}/track', tracks[name].append, 50)
    words = ['front', 'back=/usb_cam/image_raw', '--ros-args', '-p', 'autostart:=true']
    command = [sys.executable, '-m', 'hcat_ros.executables', 'tracker_nodes', *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    starts = {'front': 0, 'back': 4}
    deadline = time.monotonic() + 60
    stamp = 0
    while min(map(len, tracks.values())) < 3 and time.monotonic() < deadline:
        stamp += 1
        for name, start in starts.items():
            message = image_message(grainy(scene(start), stamp), 'bgr8')
            message.header.frame_id, message.header.stamp.sec = name, stamp
            images[name].publish(message)
            if stamp % 10 == 0 and not tracks[name]:
                boxes[name].publish(detection_message(Detection2D().header, truth(start)))
        rclpy.spin_once(viewer, timeout_sec=0.1)
    for _ in range(5):  # until the last images are done
        rclpy.spin_once(viewer, timeout_sec=0.1)
    process.send_signal(signal.SIGINT)
    log = process.communicate(timeout=20)[0]
    viewer.destroy_node()
    assert process.returncode == 0, log
    assert 'Traceback' not in log, log
    for name, start in starts.items():
        assert len(tracks[name]) >= 3, log
        for track in tracks[name]:
            assert track.header.frame_id == name
            assert iou(box_of(track), truth(start)) > 0.5
    assert iou(TARGET, truth(4)) < 0.6, 'or a mix-up would not show'


def test_missing_camera_argument_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(['tracker_nodes', '--ros-args', '-p', 'autostart:=true'])
    assert end.value.code == 2
    assert 'NAMESPACE[=TOPIC]' in capsys.readouterr().err
