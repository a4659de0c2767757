# SPDX-License-Identifier: Apache-2.0
"""The training loop, in one or several processes (DDP), resumable at the exact step."""

from __future__ import annotations

import copy
import gc
import math
import os
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.utils.data import DataLoader, Sampler

from hcat_ros.files import whole_file
from hcat_ros.network import HCAT, save_checkpoint
from hcat_ros.network.hcat import NetworkOutput, without_backbone
from hcat_ros.training.backbone_weights import freeze_backbone, trained_parts
from hcat_ros.training.config import DistillationConfig, ScheduleConfig
from hcat_ros.training.groups import Group, GroupDataset, collate
from hcat_ros.training.kept_groups import ShuffledEpochs
from hcat_ros.training.losses import Losses, Taught, hcat_losses
from hcat_ros.training.pairs import Pairs, pairs_of_groups

STATE_FILE = 'state.pt'
WEIGHTS_FILE = 'weights.safetensors'


class StepSampler(Sampler[int]):
    """Yields the group indices of each step; every process gets its own range."""

    def __init__(self, steps: range, groups: int, rank: int, world: int) -> None:
        self.steps, self.groups, self.rank, self.world = steps, groups, rank, world

    def __iter__(self) -> Iterator[int]:
        for step in self.steps:
            start = (step * self.world + self.rank) * self.groups
            yield from range(start, start + self.groups)


class PairModel(nn.Module):
    """Runs the network on a batch of groups; each image passes the backbone only once."""

    def __init__(self, model: HCAT) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, templates: Tensor, searches: Tensor, first: Tensor, second: Tensor
    ) -> NetworkOutput:
        """Return the predictions of P pairs.

        templates (T, 128, 128, 3), searches (S, 256, 256, 3): uint8 crops, or their backbone
        features, (T, C, 8, 8) and (S, C, 16, 16) floats. first, second: (P,), each pair's index
        into templates and into searches.
        """
        model = self.model
        if templates.is_floating_point():
            model, z, x = without_backbone(model), templates.float(), searches.float()
        else:
            z, x = model.normalise(templates), model.normalise(searches)
        features = model.template(z)
        fx = model.search_features(x)
        chosen = {name: value[first] for name, value in features.items()}
        return model.match(fx[second], chosen)


class Trainer:
    """Trains a network on groups and keeps the state and the weights in `folder`.

    If WORLD_SIZE is above 1, the caller must have initialised torch's process group.
    """

    def __init__(
        self,
        model: HCAT,
        data: GroupDataset | ShuffledEpochs,
        schedule: ScheduleConfig,
        folder: Path,
        device: str = 'cpu',
        distillation: DistillationConfig | None = None,
    ) -> None:
        if isinstance(data, ShuffledEpochs) and not data.has_crops and schedule.trained_blocks:
            raise ValueError(
                f'trained_blocks {schedule.trained_blocks}: expected 0, because stored features '
                'come from a frozen backbone'
            )
        self.schedule, self.data, self.folder = schedule, data, folder
        self.distillation = distillation or DistillationConfig()
        self.rank = int(os.environ.get('RANK', 0))
        self.world = int(os.environ.get('WORLD_SIZE', 1))
        self.device = torch.device(device)
        self.step = 0
        torch.manual_seed(schedule.seed)
        trained = freeze_backbone(model, schedule.trained_blocks, schedule.frozen_batchnorm)
        ids = {id(parameter) for parameter in model.backbone.parameters()}
        rest = [parameter for parameter in model.parameters() if id(parameter) not in ids]
        self.model = model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.pair_model: nn.Module = PairModel(model)
        if self.world > 1:  # this also gives all processes the weights of the first
            self.pair_model = nn.parallel.DistributedDataParallel(self.pair_model)
        self.ema_model = copy.deepcopy(model) if schedule.ema else model
        """Model with the averaged weights; the trained model itself if `ema` is 0."""
        self.optimiser = torch.optim.AdamW(
            [{'params': rest, 'scale': 1.0}]
            + ([{'params': trained, 'scale': schedule.backbone_rate}] if trained else []),
            lr=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
        )
        self.scaler = torch.amp.GradScaler(
            self.device.type, enabled=schedule.precision == 'fp16' and self.device.type == 'cuda'
        )

    def learning_rate_factor(self, step: int) -> float:
        """Return the factor by which the schedule scales the learning rates at a step."""
        schedule = self.schedule
        if step < schedule.warm_up:
            return (step + 1) / schedule.warm_up
        if schedule.decay == 'step':
            return 0.1 if step >= schedule.decay_at * schedule.steps else 1.0
        done = (step - schedule.warm_up) / max(1, schedule.steps - schedule.warm_up)
        share = (1 + math.cos(math.pi * min(1.0, done))) / 2
        return schedule.final + (1 - schedule.final) * share

    def run(
        self,
        on_step: Callable[[int, Losses, float], None] = lambda step, losses, pairs_per_second: None,
        save_every: int = 500,
        validate_every: int = 0,
        validate: Callable[[HCAT, int], None] = lambda model, step: None,
    ) -> None:
        """Train from the current step to the last one.

        on_step: called with step, losses and pairs per second after each step. validate: called
        with the model of the averaged weights and the step every `validate_every` steps (0: never)
        and at the end, in the first process only.
        """
        schedule = self.schedule
        torch.set_num_threads(schedule.threads)
        # Before the loader forks, because its processes inherit the setting; a forked process that
        # calls it itself hangs.
        cv2.setNumThreads(1)
        # Destroy unreferenced ONNX Runtime sessions before the fork. A forked process that destroys
        # one waits forever for the session's threads, which exist only in the parent.
        gc.collect()
        steps = range(self.step, schedule.steps)
        loader = DataLoader(
            self.data,
            batch_size=schedule.groups,
            sampler=StepSampler(steps, schedule.groups, self.rank, self.world),
            num_workers=schedule.workers,
            collate_fn=collate,
            prefetch_factor=4 if schedule.workers else None,
        )
        started = time.perf_counter()
        for batch in loader:
            losses, pairs = self.train_step(batch)
            # Time from the end of one step to the end of the next, including the wait for views.
            ended = time.perf_counter()
            on_step(self.step, losses, pairs * self.world / (ended - started))
            started = ended
            last = self.step == schedule.steps
            if self.rank == 0 and (last or self.step % save_every == 0):
                self.save()
            if self.rank == 0 and validate_every and (last or self.step % validate_every == 0):
                validate(self.ema_model.eval(), self.step)

    def train_step(self, group: Group) -> tuple[Losses, int]:
        """Train one step on a batch of groups; return its losses and the number of pairs.

        Raises FloatingPointError for a loss or a gradient that is not finite.
        """
        schedule, step = self.schedule, self.step
        # The seed depends on the step, not on a generator's state, so a resumed run repeats the
        # same draws.
        seed = [schedule.seed, step, self.rank, 1]
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        groups, views = group.boxes.shape[:2]
        draw = np.random.default_rng(seed)
        pairs = pairs_of_groups(groups, views, schedule.batch, schedule.negatives, draw)
        self.model.train()
        # The backbone's BatchNorms keep their statistics, except in trained blocks if
        # frozen_batchnorm is false.
        self.model.backbone.eval()
        if not schedule.frozen_batchnorm:
            for part in trained_parts(self.model.backbone, schedule.trained_blocks):
                part.train()
        for settings in self.optimiser.param_groups:
            settings['lr'] = (
                schedule.learning_rate * settings['scale'] * self.learning_rate_factor(step)
            )
        kind = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
        dtype = kind[schedule.precision]
        with torch.autocast(self.device.type, dtype, enabled=dtype != torch.float32):
            prediction = self.pair_model(
                group.templates.flatten(0, 1).to(self.device),
                group.searches.flatten(0, 1).to(self.device),
                pairs.template.to(self.device),
                pairs.search.to(self.device),
            )
        losses = hcat_losses(
            prediction,
            group.boxes.flatten(0, 1)[pairs.search].to(self.device),
            (pairs.present & group.shown.flatten()[pairs.search]).to(self.device),
            schedule.iou_aware,
            self._taught(group, pairs),
            (self.distillation.scores, self.distillation.boxes),
        )
        if not torch.isfinite(losses.total):
            raise FloatingPointError(f'the loss is {losses.total.item()} at step {step}')
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(losses.total).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimiser)
        trained = [p for p in self.pair_model.parameters() if p.requires_grad]
        norm = nn.utils.clip_grad_norm_(trained, schedule.clip or math.inf)
        if not self.scaler.is_enabled() and not torch.isfinite(norm):
            raise FloatingPointError(f'the gradient is {norm.item()} at step {step}')
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self._update_ema()
        self.step += 1
        return losses, len(pairs.present)

    def _taught(self, group: Group, pairs: Pairs) -> Taught | None:
        """Return the teachers' answers for the pairs, None without teachers.

        Negative pairs get NaN, because teachers answer only for templates of the same object.
        """
        if group.lesson is None:
            return None
        views = group.boxes.shape[1]
        same_object = pairs.template // views == pairs.search // views
        found = []
        for values in group.lesson:
            of_pair = values.flatten(0, 1)[pairs.template, pairs.search % views]
            found.append(torch.where(same_object[:, None], of_pair, torch.nan).to(self.device))
        return Taught(*found)

    @torch.no_grad()
    def _update_ema(self) -> None:
        """Update the averaged weights, with a shorter memory early in training."""
        if not self.schedule.ema:
            return
        decay = min(self.schedule.ema, (1 + self.step) / (10 + self.step))
        for averaged, new in zip(self.ema_model.parameters(), self.model.parameters()):
            if new.requires_grad:
                averaged.lerp_(new, 1 - decay)
        if not self.schedule.frozen_batchnorm:
            for statistic, newest in zip(self.ema_model.buffers(), self.model.buffers()):
                statistic.copy_(newest)

    def save(self) -> None:
        """Write state and averaged weights atomically, so that readers never see a partial file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {
            'step': self.step,
            'model': self.model.state_dict(),
            'average': self.ema_model.state_dict(),
            'optimiser': self.optimiser.state_dict(),
            'scaler': self.scaler.state_dict(),
        }
        with whole_file(self.folder / STATE_FILE) as partial:
            torch.save(state, partial)
        save_checkpoint(self.ema_model, self.folder / WEIGHTS_FILE)

    def resume(self) -> bool:
        """Load the state in the folder, if there is one; return whether training resumes from it.

        Call this in every process. Raises ValueError for a state that is damaged or of another run,
        RuntimeError if the processes do not see the same state.
        """
        path = self.folder / STATE_FILE
        if path.is_file():
            try:
                state = torch.load(path, map_location=self.device, weights_only=True)
                self.model.load_state_dict(state['model'])
                self.ema_model.load_state_dict(state['average'])
                self.optimiser.load_state_dict(state['optimiser'])
                self.scaler.load_state_dict(state['scaler'])
                self.step = int(state['step'])
            except (
                RuntimeError,
                KeyError,
                TypeError,
                ValueError,
                EOFError,
                pickle.UnpicklingError,
            ) as error:
                raise ValueError(f'{path} is damaged or of another run: {error}') from error
        if self.world > 1:
            steps = [0] * self.world
            distributed.all_gather_object(steps, self.step)
            if len(set(steps)) > 1:
                raise RuntimeError(f'not every process sees {path}: they are at steps {steps}')
        return self.step > 0
