# SPDX-License-Identifier: Apache-2.0
"""Train a network from a run file; an interrupted run continues where it stopped."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from hcat_ros.files import check_outputs
from hcat_ros.files.pictures import write_picture

if TYPE_CHECKING:
    from hcat_ros.evaluation.clips import Clip
    from hcat_ros.network import HCAT
    from hcat_ros.tracking.encodings import Image
    from hcat_ros.training.config import TrainConfig
    from hcat_ros.training.groups import GroupDataset
    from hcat_ros.training.log import TrainingLog
    from hcat_ros.training.losses import Losses

BEST_FILE = 'best.safetensors'
SHOWN_GROUPS = 6


def _count(text: str) -> int:
    """Return a number of steps, 1 or more."""
    if int(text) < 1:
        raise ValueError(text)
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('config', type=Path, help='run file, such as config/train/lite0_cpu.yaml')
    parser.add_argument('--out', type=Path, metavar='DIR', help='folder of the run')
    parser.add_argument('--steps', type=_count, help='steps in place of those in the file')
    parser.add_argument('--device', default='cpu', help='cpu, cuda or cuda:<n>')
    parser.add_argument('--save-every', type=_count, default=500, metavar='STEPS')
    parser.add_argument('--log-every', type=_count, default=50, metavar='STEPS')
    parser.add_argument(
        '--validate', type=Path, metavar='DIR', help='sequences (images, groundtruth.txt) for AO'
    )
    parser.add_argument('--validate-every', type=_count, default=1000, metavar='STEPS')
    parser.add_argument(
        '--show-pairs', type=Path, metavar='PNG', help='draw training examples, and exit'
    )


def run(arguments: argparse.Namespace) -> None:
    """Train. Raises ValueError for an unusable run, DataSetError, CheckpointError."""
    try:
        from hcat_ros.evaluation.clips import read_clips
        from hcat_ros.training.build import build_data
        from hcat_ros.training.config import load_config
    except ImportError as error:
        raise RuntimeError(f"{error}; pip install 'hcat_ros[export]'") from error
    overrides = {} if arguments.steps is None else {'steps': arguments.steps}
    config = load_config(arguments.config, **overrides)
    sources = [path for row in config.data for path in (row.root, row.cutouts, row.backgrounds)]
    check_outputs((arguments.show_pairs,), [arguments.config, *filter(None, sources)])
    # The lessons hold the teachers' answers, so that the teachers' files are not needed.
    data = build_data(dataclasses.replace(config, teachers=()) if config.lessons else config)
    if arguments.show_pairs:
        _write(arguments.show_pairs, _draw_pairs(data, config))
        return
    if arguments.out is None:
        raise ValueError('--out DIR, the folder of the run, is required')
    # Read before the first step, so that a wrong folder does not end the run after hours.
    clips = read_clips('plain', arguments.validate) if arguments.validate else []
    device = join_other_processes(arguments.device)
    try:
        _train(config, data, clips, device, arguments)
    except FloatingPointError as error:
        raise RuntimeError(f'{error}; try a lower learning_rate or precision fp32') from error
    finally:
        _leave_other_processes()
    if data.unreadable:
        print(f'{data.unreadable} times an image could not be read; the warnings name the files')


def _train(
    config: TrainConfig,
    data: GroupDataset,
    clips: list[Clip],
    device: str,
    arguments: argparse.Namespace,
) -> None:
    from hcat_ros.training.build import build_network, open_lessons
    from hcat_ros.training.log import TrainingLog
    from hcat_ros.training.loop import Trainer

    model = build_network(config)
    source = open_lessons(config, model) if config.lessons else data
    trainer = Trainer(model, source, config.schedule, arguments.out, device, config.distillation)
    first = trainer.rank == 0
    if trainer.resume() and first:
        print(f'resuming from step {trainer.step} in {arguments.out}')
    log = TrainingLog(arguments.out, arguments.log_every, trainer.step) if first else None
    if log is not None:
        log.picture('pairs', lambda: _draw_pairs(data, config))
    bar = tqdm(initial=trainer.step, total=config.schedule.steps, disable=None if first else True)

    def on_step(step: int, losses: Losses, pairs: float) -> None:
        if log is not None:
            log.add(step, losses, pairs)
        bar.set_postfix(loss=f'{losses.total.item():.2f}', pairs=f'{pairs:.0f}/s', refresh=False)
        bar.update()

    def validate(model: HCAT, step: int) -> None:
        if log is not None:
            _validate(model, step, clips, log)

    trainer.run(on_step, arguments.save_every, arguments.validate_every if clips else 0, validate)
    bar.close()
    if log is not None:
        log.close()


def join_other_processes(device: str) -> str:
    """Under torchrun, join the group of its processes; return the device of this process."""
    if int(os.environ.get('WORLD_SIZE', 1)) == 1:
        return device
    import torch

    if device == 'cuda':
        device = f'cuda:{os.environ["LOCAL_RANK"]}'
    if device.startswith('cuda'):
        torch.cuda.set_device(device)
    torch.distributed.init_process_group('nccl' if device.startswith('cuda') else 'gloo')
    return device


def _leave_other_processes() -> None:
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _validate(model: HCAT, step: int, clips: list[Clip], log: TrainingLog) -> None:
    """Measure and log the AO, and save the weights if they are the best so far."""
    from hcat_ros.network import save_checkpoint
    from hcat_ros.tracking import TrackerConfig
    from hcat_ros.training.validation import average_overlaps

    overlaps = average_overlaps(model, clips, TrackerConfig())
    mean = float(np.mean(list(overlaps.values())))
    tqdm.write(f'step {step}: AO {mean:.3f}')
    if round(mean, 4) > log.best():
        save_checkpoint(model, log.folder / BEST_FILE)
    log.record_validation(step, {'mean': mean, **overlaps})


def _draw_pairs(data: GroupDataset, config: TrainConfig) -> Image:
    """Return a picture of the first objects in the training data."""
    from hcat_ros.training.pictures import draw_group

    grid = config.network.search_grid
    return np.vstack([draw_group(data[number], grid) for number in range(SHOWN_GROUPS)])


def _write(path: Path, picture: Image) -> None:
    write_picture(path, picture)
    print(f'wrote {path}')
