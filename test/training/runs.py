# SPDX-License-Identifier: Apache-2.0
"""Helpers for tiny training runs: the trainer of a configuration, and comparing weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hcat_ros.training.build import build_data, build_network
from hcat_ros.training.config import TrainConfig
from hcat_ros.training.loop import Trainer
from hcat_ros.training.losses import Losses


class Stopped(Exception):
    """Stands for anything that ends a process in the middle of a run."""


def scheduled(config: TrainConfig, **fields: Any) -> TrainConfig:
    return dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, **fields))


def trainer(config: TrainConfig, folder: Path) -> Trainer:
    return Trainer(
        build_network(config),
        build_data(config),
        config.schedule,
        folder,
        distillation=config.distillation,
    )


def stop_at(last: int) -> Callable[..., None]:
    def on_step(step: int, losses: Losses, pairs: float) -> None:
        if step == last:
            raise Stopped

    return on_step


def assert_same(one: nn.Module, other: nn.Module) -> None:
    found = other.state_dict()
    for name, value in one.state_dict().items():
        assert torch.equal(value, found[name]), name


def differ(one: nn.Module, other: nn.Module) -> bool:
    found = other.state_dict()
    return any(not torch.equal(value, found[name]) for name, value in one.state_dict().items())
