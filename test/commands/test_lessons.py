# SPDX-License-Identifier: Apache-2.0
"""`hcat lessons`, and `hcat train` from the stored lessons."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('safetensors', reason='needs safetensors')
pytest.importorskip('onnx', reason='needs ONNX')
pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'training'))
from nanotracks import nanotrack

from hcat_ros.commands.main import main
from hcat_ros.network import load_checkpoint
from hcat_ros.training.log import read_rows

NETWORK = {
    'backbone': 'efficientnet_lite0',
    'channels': 32,
    'heads': 4,
    'ffn_channels': 32,
    'layers': 1,
}
SCHEDULE = {
    'steps': 3,
    'batch': 4,
    'groups': 2,
    'views': 2,
    'trained_blocks': 0,
    'workers': 0,
    'precision': 'fp32',
}


@pytest.fixture
def run(tmp_path: Path, sequence: Callable[..., Path]) -> Path:
    """A tiny training run with one teacher that stores three groups of lessons."""
    sequence(tmp_path / 'video' / 'clip', 6)
    teacher = nanotrack(tmp_path / 'teacher', np.eye(3))
    content = {
        'network': NETWORK,
        'data': [{'share': 1, 'root': 'video'}],
        'schedule': SCHEDULE,
        'teachers': [vars(teacher)],
        'lessons': 'lessons',
        'lesson_groups': 3,
    }
    path = tmp_path / 'run.yaml'
    path.write_text(yaml.safe_dump(content))
    return path


def extended(run: Path, name: str, **changes: Any) -> Path:
    path = run.with_name(name)
    path.write_text(yaml.safe_dump({'extends': run.name, **changes}))
    return path


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Restore the thread counts of PyTorch and OpenCV, which training changes."""
    counts = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(counts[0])
    cv2.setNumThreads(counts[1])


def files_of(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob('*')
        if path.is_file()
    }


def test_a_network_is_trained_from_stored_lessons_without_teachers(
    run: Path, tmp_path: Path
) -> None:
    assert main(['lessons', str(run), '--jobs', '2']) == 0
    lessons = tmp_path / 'lessons'
    kept = files_of(lessons)
    (features,) = lessons.glob('features-efficientnet_lite0-*')
    views = {'origin.json', 'part-0000.npy', 'part-0000.crops'}
    assert set(kept) == views | {f'{features.name}/{n}' for n in ('origin.json', 'part-0000.npy')}
    rows = np.load(features / 'part-0000.npy')
    asked = rows['taught_scores'][:, [0, 1], [1, 0]]
    assert np.isfinite(asked).all()
    assert np.ptp(asked) > 0
    # A second call finds everything done and changes no file.
    assert main(['lessons', str(run)]) == 0
    assert files_of(lessons) == kept

    shutil.rmtree(tmp_path / 'teacher')
    # The same groups serve another network, and a backbone that is trained.
    schedule = {'trained_blocks': 1}
    other = extended(run, 'other.yaml', network={'layers': 2}, schedule=schedule)
    for path in (run, other):
        out = tmp_path / path.stem
        assert main(['train', str(path), '--out', str(out), '--log-every', '1']) == 0
        assert [row['step'] for row in read_rows(out / 'log.jsonl')] == [1, 2, 3]
        assert load_checkpoint(out / 'weights.safetensors').config.layers == (path == other) + 1


def test_features_of_another_backbone_reuse_the_stored_views(run: Path, tmp_path: Path) -> None:
    frozen = extended(run, 'frozen.yaml', schedule={'trained_blocks': 1})
    assert main(['lessons', str(frozen)]) == 0
    lessons = tmp_path / 'lessons'
    assert not list(lessons.glob('features-*'))  # a trained backbone has no stored features
    kept = files_of(lessons)
    seeded = {'lesson_groups': 0, 'teachers': [], 'schedule': {'seed': 5}}
    assert main(['lessons', str(extended(run, 'a.yaml', **seeded))]) == 0
    small = {'backbone': 'mobilenetv3_nanotrack_v2'}
    assert main(['lessons', str(extended(run, 'b.yaml', network=small, **seeded))]) == 0
    assert {name: time for name, time in files_of(lessons).items() if '/' not in name} == kept
    names = sorted(folder.name.rsplit('-', 1)[0] for folder in lessons.glob('features-*'))
    assert names == ['features-efficientnet_lite0', 'features-mobilenetv3_nanotrack_v2']


def test_invalid_arguments_are_reported_in_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def failure(verb: str, path: Path, *options: str) -> str:
        capsys.readouterr()
        assert main([verb, str(path), *options]) == 1
        text = capsys.readouterr().err
        assert 'Traceback' not in text
        return text.splitlines()[-1]

    nowhere = extended(run, 'nowhere.yaml', lessons=[])
    assert 'lessons: expected a folder for the lessons' in failure('lessons', nowhere)
    assert '--jobs 0: expected 1 to 256' in failure('lessons', run, '--jobs', '0')
    unmade = f'{tmp_path / "lessons"} holds no groups: make them with hcat lessons'
    assert unmade in failure('train', run, '--out', str(tmp_path / 'out'))
    assert main(['lessons', str(extended(run, 'frozen.yaml', schedule={'trained_blocks': 1}))]) == 0
    assert 'another seed (seed: 0, now 4)' in failure(
        'lessons', extended(run, 'other.yaml', schedule={'seed': 4})
    )
