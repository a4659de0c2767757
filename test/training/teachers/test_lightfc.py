# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('onnx', reason='needs ONNX')
onnxruntime = pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

from lightfcs import features_of, lightfc, normalised
from nanotracks import nanotrack

from hcat_ros.training.teachers import LightFC, TeacherConfig, load_teacher

MIXED = np.array([[0.6, 0.3, 0.1], [-0.2, 0.5, 1.0]])


def crops(side: int, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


@pytest.mark.parametrize(('side', 'cells'), [(128, 8), (256, 16)])
def test_features_are_computed_from_normalised_crops(tmp_path: Path, side: int, cells: int) -> None:
    teacher = load_teacher(lightfc(tmp_path, MIXED))
    assert isinstance(teacher, LightFC)
    found = teacher.features(crops(side, 3))
    assert found.shape == (3, 2, cells, cells)
    assert found == pytest.approx(features_of(crops(side, 3), MIXED), abs=1e-5)


def test_boxes_are_those_of_the_best_neighbouring_cell_and_scores_unchanged(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    sizes, offsets = rng.uniform(0.1, 0.5, (2, 16, 16)), rng.uniform(0, 1, (2, 16, 16))
    teacher = LightFC(lightfc(tmp_path, MIXED, sizes, offsets))
    template, search = crops(128, 1) // 2, crops(256, 1, 1)
    found = teacher.look(teacher.features(template)[0], teacher.features(search)[0])
    mean = features_of(template, MIXED)[0].mean((1, 2))
    likeness = np.einsum('k,kyx->yx', mean, features_of(search, MIXED)[0])
    scores = 1 / (1 + np.exp(-likeness))
    assert found.scores == pytest.approx(scores, abs=1e-5)

    expected = np.empty((16, 16, 4))
    for row in range(16):
        for column in range(16):
            near = [
                (j, i)
                for j in range(max(0, row - 1), min(16, row + 2))
                for i in range(max(0, column - 1), min(16, column + 2))
            ]
            j, i = max(near, key=lambda cell: scores[cell])
            middle = (i + offsets[0, j, i]) / 16, (j + offsets[1, j, i]) / 16
            expected[row, column] = *middle, *sizes[:, j, i]
    assert found.boxes.dtype == np.float32
    assert found.boxes == pytest.approx(expected, abs=1e-6)


def whole(config: TeacherConfig, template: np.ndarray, search: np.ndarray) -> np.ndarray:
    """The score map (16, 16) of the graphs in the files, without our cut."""
    sessions = [onnxruntime.InferenceSession(path) for path in (config.backbone, config.head)]
    names = [[entry.name for entry in session.get_inputs()] for session in sessions]
    (z,) = sessions[0].run(None, {names[0][0]: normalised(template)})
    found = sessions[1].run(['score_map'], dict(zip(names[1], (z, normalised(search)))))
    return found[0][0, 0]


def test_the_released_network_finds_the_template_in_the_search_region(
    shared: Path, seen: tuple[np.ndarray, np.ndarray, np.ndarray], find: Any
) -> None:
    files = sorted((shared / 'teachers' / 'lightfc').glob('lightfc_w8a8_*.onnx'))
    if len(files) != 2:
        pytest.skip('needs the files of LightFC')
    config = TeacherConfig(*map(str, files), kind='lightfc')
    teacher = LightFC(config)
    score, overlap = find(teacher, *seen)
    assert score > 0.5
    assert overlap > 0.5
    # Cutting the graph behind the backbone does not change its scores.
    template, search = seen[0][None], seen[1][None]
    found = teacher.look(teacher.features(template)[0], teacher.features(search)[0])
    assert found.scores == pytest.approx(whole(config, template, search), abs=1e-5)


@pytest.mark.parametrize('part', ['backbone', 'head'])
def test_missing_or_damaged_files_are_named_in_the_error(tmp_path: Path, part: str) -> None:
    config = lightfc(tmp_path, MIXED)
    path = Path(getattr(config, part))
    path.write_bytes(b'no graph')
    with pytest.raises(ValueError, match=f'cannot load {path}'):
        LightFC(config).features(crops(128, 1))
    path.unlink()
    with pytest.raises(ValueError, match=f'no file {path}'):
        LightFC(config)


def test_files_that_are_not_of_one_lightfc_are_named_in_the_error(tmp_path: Path) -> None:
    config, other = lightfc(tmp_path / 'a', MIXED), lightfc(tmp_path / 'b', np.eye(3))
    nano = nanotrack(tmp_path / 'c', MIXED)
    flat = lightfc(tmp_path / 'd', MIXED, trunk='/conv')
    for backbone, head, wrong in (
        (config.head, config.backbone, 'is not a LightFC tracking graph'),
        (config.backbone, nano.head, f'{nano.head} is not a LightFC tracking graph'),
        (config.backbone, flat.head, f'{flat.head} does not contain a LightFC backbone'),
        (other.backbone, config.head, 'are not the two files of one LightFC'),
        (nano.backbone, config.head, 'are not the two files of one LightFC'),
    ):
        with pytest.raises(ValueError, match=f'teacher: .*{wrong}'):
            LightFC(TeacherConfig(backbone, head, 'lightfc')).features(crops(128, 1))
