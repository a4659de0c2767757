# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('onnxruntime', reason='an engine runs here')


from hcat_ros.boxes import iou
from hcat_ros.engines import EngineError
from hcat_ros.evaluation.clips import Clip, read_clips
from hcat_ros.evaluation.one_pass import one_pass
from hcat_ros.evaluation.passes import Frames
from hcat_ros.evaluation.trackers import (
    HcatSpec,
    OpenCvSpec,
    OpenCvTracker,
    StillSpec,
    opencv_trackers,
    parse_changes,
    parse_tracker,
)
from hcat_ros.tracking import TargetState


@pytest.fixture
def clip(tmp_path: Path, sequence: Callable[..., Path]) -> Clip:
    sequence(tmp_path / 'video' / 'clip', 6)
    return read_clips('plain', tmp_path / 'video')[0]


@pytest.mark.parametrize(
    ('text', 'spec', 'title'),
    [
        ('hcat_base', HcatSpec('hcat_base'), 'hcat_base'),
        ('models/mine:openvino', HcatSpec('models/mine', 'openvino'), 'mine openvino'),
        ('a:auto:int8', HcatSpec('a', 'auto', 'int8'), 'a int8'),
        ('opencv:MIL', OpenCvSpec('MIL'), 'OpenCV MIL'),
        ('opencv:nano:a.onnx:b', OpenCvSpec('nano', ('a.onnx', 'b')), 'OpenCV Nano'),
        ('still', StillSpec(), 'still'),
    ],
)
def test_a_tracker_text_is_parsed(text: str, spec: object, title: str) -> None:
    found = parse_tracker(text)
    assert found == spec
    assert found.title == title


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('', 'a part between colons is empty'),
        ('hcat_base:', 'a part between colons is empty'),
        ('opencv', 'expected opencv:NAME, NAME one of .*mil'),
        ('hcat_base:tensorflow', "no engine 'tensorflow'; there are tensorrt"),
        ('hcat_base:torch:fp32:2', 'expected MODEL, MODEL:ENGINE or MODEL:ENGINE:PRECISION'),
    ],
)
def test_a_malformed_tracker_text_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_tracker(text)


@pytest.mark.parametrize(
    ('spec', 'reason'),
    [
        (OpenCvSpec('abacus'), r"no tracker 'abacus' in OpenCV [\d.]+: it has .*mil"),
        (OpenCvSpec('mil', ('a',)), 'opencv:mil: expected opencv:mil$'),
        (OpenCvSpec('nano', ('a',)), 'expected opencv:nano:BACKBONE:NECKHEAD'),
        (OpenCvSpec('nano', ('a', 'b')), 'opencv:nano: no file a'),
        (HcatSpec('hcat_base', 'onnxruntime', 'fp8'), "no precision 'fp8'"),
        (HcatSpec('hcat_base', changes=(('window_penalty', 2.0),)), 'window_penalty 2'),
    ],
)
def test_a_tracker_that_cannot_be_loaded_is_refused(
    spec: OpenCvSpec | HcatSpec, reason: str
) -> None:
    if isinstance(spec, OpenCvSpec) and spec.name == 'nano' and 'nano' not in opencv_trackers():
        pytest.skip('this OpenCV has no Nano')
    with pytest.raises((ValueError, EngineError), match=reason):
        spec.load(1)


def test_hcat_runs_with_changed_settings(clip: Clip) -> None:
    make, description = HcatSpec(
        'hcat_base', 'onnxruntime', changes=(('window_penalty', 0.9),)
    ).load(1)
    assert description['settings']['window_penalty'] == 0.9
    answers = one_pass(make(), Frames(clip.images), clip.boxes[0])
    assert iou(answers.boxes, clip.boxes)[-1] > 0.4


def test_setting_changes_are_parsed_and_validated() -> None:
    found = parse_changes(['size_smoothing=0.5', 'scan_regions=2'])
    assert found == (('size_smoothing', 0.5), ('scan_regions', 2))
    assert type(found[1][1]) is int
    for text, reason in (
        ('speed=1', 'expected NAME=VALUE, NAME one of window_penalty, size_smoothing'),
        ('window_penalty', "setting 'window_penalty': expected a number"),
        ('scan_regions=1.5', 'expected a whole number'),
        ('window_penalty=2', r'window_penalty 2\.0: expected 0 to 1'),
    ):
        with pytest.raises(ValueError, match=reason):
            parse_changes([text])


def test_opencv_trackers_track_the_target(clip: Clip) -> None:
    make, description = OpenCvSpec('mil').load(1)
    assert description['OpenCV'] == cv2.__version__
    answers = one_pass(make(), Frames(clip.images), clip.boxes[0])
    still = iou(clip.boxes[0], clip.boxes)
    assert iou(answers.boxes, clip.boxes)[1:].mean() > still[1:].mean() + 0.1
    assert np.isnan(answers.scores).all()
    assert make() is not make(), 'a new one for each sequence'


def test_network_files_of_opencv_are_identified_by_their_hash(tmp_path: Path, shared: Path) -> None:
    if 'nano' not in opencv_trackers():
        pytest.skip('this OpenCV has no Nano')
    found = []
    for version in ('v2', 'v3'):
        files = []
        for part in ('backbone', 'head'):
            (source,) = (shared / 'teachers' / f'nanotrack_{version}').glob(f'*_{part}*.onnx')
            (tmp_path / version).mkdir(exist_ok=True)
            files.append(tmp_path / version / f'{part}.onnx')
            files[-1].symlink_to(source)
        found.append(OpenCvSpec('nano', tuple(map(str, files))).load(1)[1])
    assert [[name for name, _ in each['files']] for each in found] == [
        ['backbone.onnx', 'head.onnx']
    ] * 2
    digest = hashlib.sha256((tmp_path / 'v2' / 'head.onnx').read_bytes()).hexdigest()
    assert found[0]['files'][1] == ('head.onnx', digest)
    assert found[0] != found[1]


def test_a_network_file_that_opencv_cannot_read_is_named(tmp_path: Path) -> None:
    if 'nano' not in opencv_trackers():
        pytest.skip('this OpenCV has no Nano')
    pointer = tmp_path / 'backbone.onnx'
    pointer.write_text(
        'version https://git-lfs.github.com/spec/v1\n'
        'oid sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef\nsize 9\n'
    )
    with pytest.raises(ValueError, match=rf'opencv:nano: OpenCV cannot load {pointer}.*lfs pull'):
        OpenCvSpec('nano', (str(pointer), str(pointer))).load(1)


def test_a_box_that_opencv_refuses_is_named() -> None:
    make, _ = OpenCvSpec('mil').load(1)
    frame = np.zeros((96, 128, 3), np.uint8)
    with pytest.raises(ValueError, match=r'OpenCV MIL cannot start from the box 100 80 60 40 in'):
        make().init(frame, np.array([100.0, 80, 60, 40]))


class Failing:
    """A double of an OpenCV tracker that finds the target, then fails, then raises."""

    def __init__(self) -> None:
        self.answers = [(True, (1, 2, 3, 4)), (False, (0, 0, 0, 0)), cv2.error('gone')]

    def init(self, frame: np.ndarray, box: tuple[int, ...]) -> None:
        assert all(type(value) is int for value in box)
        self.box = box

    def update(self, frame: np.ndarray) -> tuple[bool, tuple[int, ...]]:
        answer = self.answers.pop(0)
        if isinstance(answer, cv2.error):
            raise answer
        return answer


def test_a_failure_of_an_opencv_tracker_is_lost_at_the_last_box() -> None:
    frame = np.zeros((50, 60, 3), np.uint8)
    inner = Failing()
    tracker = OpenCvTracker(inner)
    tracker.init(frame, np.array([10.4, 20.6, 0.3, 30]))
    assert inner.box == (10, 21, 1, 30)
    tracks = [tracker.update(frame) for _ in range(3)]
    assert [track.state for track in tracks] == [
        TargetState.TRACKING,
        TargetState.LOST,
        TargetState.LOST,
    ]
    assert [tuple(track.box) for track in tracks] == [(1, 2, 3, 4)] * 3


def test_the_still_tracker_never_moves(clip: Clip) -> None:
    make, _ = StillSpec().load(1)
    answers = one_pass(make(), Frames(clip.images), clip.boxes[0])
    assert (answers.boxes == clip.boxes[0]).all()
