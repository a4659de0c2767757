# SPDX-License-Identifier: Apache-2.0
"""Training runs that are stopped and resumed."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('safetensors', reason='needs safetensors')

from runs import Stopped, assert_same, differ, scheduled, stop_at, trainer

from hcat_ros.training import loop
from hcat_ros.training.config import TrainConfig
from hcat_ros.training.loop import STATE_FILE, WEIGHTS_FILE

SETTINGS: dict[str, dict[str, Any]] = {
    'fp32': {},
    'bf16, workers': {'precision': 'bf16', 'workers': 1},
    'no average': {'ema': 0, 'decay': 'step', 'negatives': 0.5},
}


@pytest.mark.parametrize('settings', SETTINGS)
def test_a_resumed_run_ends_with_the_same_weights(
    config: TrainConfig, tmp_path: Path, settings: str
) -> None:
    config = scheduled(config, **SETTINGS[settings])
    whole = trainer(config, tmp_path / 'whole')
    whole.run()
    folder = tmp_path / 'parts'
    # Stopped after step 5; the last saved state is that of step 4.
    stopped = trainer(config, folder)
    with pytest.raises(Stopped):
        stopped.run(stop_at(5), save_every=2)
    steps: list[int] = []
    resumed = trainer(config, folder)
    torch.manual_seed(12345)
    assert resumed.resume()
    assert resumed.step == 4
    resumed.run(lambda step, losses, pairs: steps.append(step))
    assert steps == [5, 6]
    assert_same(resumed.model, whole.model)
    assert_same(resumed.ema_model, whole.ema_model)
    one, other = (torch.load(f / STATE_FILE)['optimiser'] for f in (folder, tmp_path / 'whole'))
    for number, values in one['state'].items():
        assert all(torch.equal(v, other['state'][number][k]) for k, v in values.items())


def test_runs_are_reproducible_by_seed(config: TrainConfig, tmp_path: Path) -> None:
    models = []
    for number, seed in enumerate((0, 0, 1)):
        made = trainer(scheduled(config, seed=seed, steps=2), tmp_path / str(number))
        made.run()
        models.append(made.model)
    assert_same(models[0], models[1])
    assert differ(models[0], models[2])


def test_a_new_folder_has_nothing_to_resume(config: TrainConfig, tmp_path: Path) -> None:
    made = trainer(config, tmp_path / 'new')
    assert not made.resume()
    assert made.step == 0
    assert not (tmp_path / 'new').exists()


def test_a_finished_run_has_nothing_to_do(config: TrainConfig, tmp_path: Path) -> None:
    config = scheduled(config, steps=1)
    trainer(config, tmp_path).run()
    made = trainer(config, tmp_path)
    assert made.resume()
    before = copy.deepcopy(made.model)
    made.run(stop_at(2))
    assert_same(before, made.model)


def test_states_are_saved_and_validated_at_their_intervals(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    made = trainer(scheduled(config, steps=5), tmp_path)
    original = made.save
    monkeypatch.setattr(made, 'save', lambda: (saved.append(made.step), original()))
    validated: list[int] = []
    made.run(
        save_every=2,
        validate_every=3,
        validate=lambda model, step: validated.append(step if model is made.ema_model else -1),
    )
    assert saved == [2, 4, 5]
    assert validated == [3, 5]
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} >= {
        STATE_FILE,
        WEIGHTS_FILE,
    }


def test_a_half_written_state_is_never_loaded(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(scheduled(config, steps=2), tmp_path / 'out')
    made.run(save_every=1)
    whole = (tmp_path / 'out' / STATE_FILE).read_bytes()

    def cut_off(state: Any, path: Path) -> None:
        path.write_bytes(whole[: len(whole) // 2])
        raise Stopped

    monkeypatch.setattr(loop.torch, 'save', cut_off)
    with pytest.raises(Stopped):
        made.save()
    assert (tmp_path / 'out' / STATE_FILE).read_bytes() == whole
    resumed = trainer(scheduled(config, steps=2), tmp_path / 'out')
    assert resumed.resume()
    assert resumed.step == 2


@pytest.mark.parametrize('content', [b'', b'no state', 0.5])
def test_a_damaged_state_is_named_in_the_error(
    config: TrainConfig, tmp_path: Path, content: Any
) -> None:
    made = trainer(scheduled(config, steps=1), tmp_path / 'out')
    made.save()
    path = tmp_path / 'out' / STATE_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content == 0.5 else content)
    with pytest.raises(ValueError, match=r'state\.pt is damaged or of another run'):
        trainer(config, tmp_path / 'out').resume()


@pytest.mark.parametrize('other', ['network', 'trained blocks'])
def test_the_state_of_another_run_is_refused(
    config: TrainConfig, tmp_path: Path, other: str
) -> None:
    trainer(config, tmp_path / 'out').save()
    if other == 'network':
        network = dataclasses.replace(config.network, ffn_channels=48)
        changed = dataclasses.replace(config, network=network)
    else:
        changed = scheduled(config, trained_blocks=0)
    with pytest.raises(ValueError, match=r'state\.pt is damaged or of another run'):
        trainer(changed, tmp_path / 'out').resume()
