# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('safetensors', reason='needs safetensors')

from hcat_ros.commands.main import main
from hcat_ros.network import load_checkpoint
from hcat_ros.training import validation
from hcat_ros.training.log import TrainingLog
from hcat_ros.training.loop import Trainer

RUN = """
network:
  {backbone: efficientnet_lite0, channels: 32, heads: 4, ffn_channels: 32, layers: 1,
   template_size: 64, search_size: 128}
data: [{share: 1, root: video}]
schedule:
  {steps: 6, batch: 4, groups: 2, views: 2, warm_up: 2, trained_blocks: 1, workers: 0,
   precision: fp32}
"""


def write_sequence(folder: Path, seed: int, frames: int = 6) -> None:
    """A bright patch that moves over noise."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    ground, patch = rng.integers(0, 100, (96, 128, 3)), rng.integers(100, 256, (24, 32, 3))
    for number in range(frames):
        ground[30:54, 20 + number : 52 + number] = patch
        assert cv2.imwrite(str(folder / f'{number:04d}.png'), ground.astype(np.uint8))
    rows = [f'{20 + number},30,32,24' for number in range(frames)]
    (folder / 'groundtruth.txt').write_text('\n'.join(rows))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The run file of a training run that takes seconds, beside its data."""
    for number in range(2):
        write_sequence(tmp_path / 'video' / f'clip_{number}', number)
    path = tmp_path / 'run.yaml'
    path.write_text(RUN)
    return path


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Restore the thread counts of PyTorch and OpenCV, which training changes."""
    counts = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(counts[0])
    cv2.setNumThreads(counts[1])


def train(config: Path, out: Path, *options: str) -> int:
    return main(['train', str(config), '--out', str(out), *options])


def failure(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command, which must fail without a traceback; return the last line of stderr."""
    capsys.readouterr()
    assert main(['train', *argv]) == 1
    text = capsys.readouterr().err
    last = text.splitlines()[-1]
    assert last.startswith('hcat train: ')
    assert 'Traceback' not in text
    return last


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_writes_weights_a_state_and_a_log(config: Path, tmp_path: Path) -> None:
    out = tmp_path / 'runs' / 'a'
    assert train(config, out, '--log-every', '2', '--save-every', '4') == 0
    model = load_checkpoint(out / 'weights.safetensors')
    assert model.config.channels == 32
    log = rows(out / 'log.jsonl')
    assert [row['step'] for row in log] == [2, 4, 6]
    assert all(np.isfinite(list(row.values())).all() for row in log)
    assert torch.load(out / 'state.pt')['step'] == 6
    assert not list(out.glob('*.partial'))


def test_a_run_resumes_with_a_higher_number_of_steps(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out'
    assert train(config, out, '--steps', '2') == 0
    assert torch.load(out / 'state.pt')['step'] == 2
    assert 'going on' not in capsys.readouterr().out
    assert train(config, out, '--steps', '3') == 0
    assert f'resuming from step 2 in {out}' in capsys.readouterr().out
    assert torch.load(out / 'state.pt')['step'] == 3


@pytest.mark.parametrize('line', ['[]', '5', '{"a": 1}', '{"step": "x"}', '{"st', '[' * 20_000])
def test_a_damaged_line_of_the_log_is_ignored(tmp_path: Path, line: str) -> None:
    for name in ('log.jsonl', 'validation.jsonl'):
        (tmp_path / name).write_text(f'{{"step": 2, "mean": 0.5}}\n{line}\n')
    log = TrainingLog(tmp_path, 1, 3)
    assert log.best() == 0.5
    assert rows(tmp_path / 'log.jsonl') == [{'step': 2, 'mean': 0.5}]


def test_training_pairs_are_written_to_an_image(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / 'pairs.png'
    assert main(['train', str(config), '--show-pairs', str(picture)]) == 0
    assert f'wrote {picture}' in capsys.readouterr().out
    image = cv2.imread(str(picture))
    assert image is not None
    assert image.shape == (6 * 128, 2 * (64 + 128), 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['pairs.png', 'run.yaml', 'video']


def test_the_image_of_pairs_never_overwrites_training_data(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = next((config.parent / 'video').rglob('*.png'), None)
    assert image is not None
    before = image.read_bytes()
    assert f'{image} would be written over' in failure(
        [str(config), '--show-pairs', str(image)], capsys
    )
    assert image.read_bytes() == before


def test_training_pairs_of_stride_8_are_written_to_an_image(config: Path, tmp_path: Path) -> None:
    config.write_text(RUN.replace('channels: 32,', 'channels: 32, stride: 8,', 1))
    assert main(['train', str(config), '--show-pairs', str(tmp_path / 'pairs.png')]) == 0


@pytest.mark.parametrize('name', ['missing/pairs.png', 'pairs.nothing'])
def test_an_image_of_pairs_that_cannot_be_written_is_named(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    text = failure([str(config), '--show-pairs', str(tmp_path / name)], capsys)
    assert str(tmp_path / name) in text
    assert 'No folder' in text or 'expected a name that ends in' in text


def test_validation_keeps_the_best_weights(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sequence(tmp_path / 'eval' / 'a', 7, 4)
    write_sequence(tmp_path / 'eval' / 'b', 8, 3)
    out = tmp_path / 'out'
    options = ['--validate', str(tmp_path / 'eval'), '--validate-every', '2']
    assert train(config, out, *options, '--steps', '2') == 0
    (row,) = rows(out / 'validation.jsonl')
    assert list(row) == ['step', 'mean', 'a', 'b']
    assert row['mean'] == pytest.approx((row['a'] + row['b']) / 2, abs=1e-4)
    assert load_checkpoint(out / 'best.safetensors').config.channels == 32

    scores = iter([0.9, 0.5, 0.95])
    monkeypatch.setattr(validation, 'average_overlaps', lambda *args: {'a': next(scores)})
    best = []

    def look(step: int) -> None:
        best.append((out / 'best.safetensors').read_bytes())

    original = Trainer.train_step

    def step(self: Trainer, group: Any) -> Any:
        look(self.step)
        return original(self, group)

    monkeypatch.setattr(Trainer, 'train_step', step)
    assert train(config, out, *options[:2], '--validate-every', '1', '--steps', '5') == 0
    look(5)
    assert [row['mean'] for row in rows(out / 'validation.jsonl')][1:] == [0.9, 0.5, 0.95]
    changed = [a != b for a, b in pairwise(best)]
    assert changed == [True, False, True]


def test_missing_validation_sequences_are_reported_before_the_first_step(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out'
    missing = tmp_path / 'eval'
    text = failure([str(config), '--out', str(out), '--validate', str(missing)], capsys)
    assert f'plain: no folder {missing}' in text
    assert not out.exists()


def test_errors_are_reported_in_one_line(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ['--out', str(tmp_path / 'out')]
    assert 'none.yaml' in failure([str(tmp_path / 'none.yaml'), *out], capsys)
    assert '--out DIR, the folder of the run, is required' in failure([str(config)], capsys)
    config.write_text(RUN.replace('layers', 'floors'))
    assert f"{config}: network: unknown field 'floors'" in failure([str(config), *out], capsys)
    config.write_text(RUN.replace('root: video', 'root: films'))
    text = failure([str(config), *out], capsys)
    assert f'plain: no folder {tmp_path / "films"}' in text
    config.write_text(RUN + 'backbone: lost.pth')
    assert str(tmp_path / 'lost.pth') in failure([str(config), *out], capsys)


@pytest.mark.parametrize('option', ['--steps', '--save-every', '--log-every', '--validate-every'])
def test_step_counts_below_1_are_refused(
    config: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    for value in ('0', '-1', 'x'):
        with pytest.raises(SystemExit) as ended:
            main(['train', str(config), option, value])
        assert ended.value.code == 2
        assert option in capsys.readouterr().err


def test_a_loss_that_is_not_finite_is_reported_with_its_step(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(RUN.replace('warm_up: 2', 'warm_up: 0, learning_rate: 1.0e+30'))
    text = failure([str(config), '--out', str(tmp_path / 'out')], capsys)
    assert 'at step 1' in text
    assert 'learning_rate' in text


@pytest.mark.filterwarnings('ignore:skipped')
def test_unreadable_training_images_are_counted_at_the_end(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(RUN.replace('workers: 0', 'workers: 1'))
    for number in range(1, 6):
        (tmp_path / f'video/clip_0/{number:04d}.png').write_text('no image')
    assert train(config, tmp_path / 'out', '--steps', '3') == 0
    assert 'times an image could not be read' in capsys.readouterr().out


def test_each_process_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from hcat_ros.commands.train import join_other_processes

    made: list[Any] = []
    monkeypatch.setenv('WORLD_SIZE', '4')
    monkeypatch.setenv('LOCAL_RANK', '3')
    monkeypatch.setattr(torch.distributed, 'init_process_group', made.append)
    monkeypatch.setattr(torch.cuda, 'set_device', made.append)
    assert join_other_processes('cuda') == 'cuda:3'
    assert join_other_processes('cpu') == 'cpu'
    assert made == ['cuda:3', 'nccl', 'gloo']
    monkeypatch.setenv('WORLD_SIZE', '1')
    assert join_other_processes('cuda') == 'cuda'
