# SPDX-License-Identifier: Apache-2.0
"""Compute the training views of a run and its teachers' answers, and store both."""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
from tqdm import tqdm

from hcat_ros.evaluation.workers import worker_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from hcat_ros.training.config import TrainConfig
    from hcat_ros.training.kept_groups import Origin


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('config', type=Path, help='run file; its field lessons names the folder')
    parser.add_argument('--jobs', type=int, default=1, help='processes')


def run(arguments: argparse.Namespace) -> None:
    """Write the missing files. Raises ValueError, DataSetError, CheckpointError."""
    try:
        from hcat_ros.training.build import build_network
        from hcat_ros.training.cached_features import features_folder
        from hcat_ros.training.config import load_config
        from hcat_ros.training.kept_groups import (
            features_origin,
            missing_parts,
            read_origin,
            views_origin,
        )
    except ImportError as error:
        raise RuntimeError(f"{error}; pip install 'hcat_ros[export]'") from error
    config = load_config(arguments.config)
    if not config.lessons:
        raise ValueError(f'{arguments.config}: lessons: expected a folder for the lessons')
    with worker_pool(arguments.jobs) as pool:
        if config.lesson_groups:
            folder = config.lessons[0]
            origin = views_origin(config, config.lesson_groups)
            parts = missing_parts(Path(folder), origin)
            _work(pool, _write_views, (config, folder, origin), parts, 'views and lessons')
        if config.schedule.trained_blocks == 0:
            model = build_network(config)
            for folder in config.lessons:
                origin = features_origin(read_origin(Path(folder)), model)
                parts = missing_parts(features_folder(Path(folder), origin), origin)
                _work(pool, _write_features, (config, folder, origin), parts, 'features')


def _work(
    pool: ProcessPoolExecutor,
    write: Callable[[TrainConfig, str, Origin, int], None],
    what: tuple[TrainConfig, str, Origin],
    parts: list[int],
    title: str,
) -> None:
    waiting = [pool.submit(write, *what, number) for number in parts]
    for one in tqdm(waiting, desc=title, unit='file', disable=None):
        one.result()


_opened: dict[str, object] = {}
"""Data, network and views of this worker process, each opened once."""


def _write_views(config: TrainConfig, folder: str, origin: Origin, number: int) -> None:
    from hcat_ros.training.build import build_data
    from hcat_ros.training.groups import GroupDataset
    from hcat_ros.training.packed_views import write_views

    if 'data' not in _opened:
        cv2.setNumThreads(1)
        _opened['data'] = build_data(config)
    data = _opened['data']
    assert isinstance(data, GroupDataset)
    write_views(Path(folder), origin, data, [number])


def _write_features(config: TrainConfig, folder: str, origin: Origin, number: int) -> None:
    import torch

    from hcat_ros.network.hcat import HCAT
    from hcat_ros.training.build import build_network
    from hcat_ros.training.cached_features import features_folder, write_features
    from hcat_ros.training.kept_groups import read_origin
    from hcat_ros.training.packed_views import PackedGroups

    if 'model' not in _opened:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        _opened['model'] = build_network(config)
    if folder not in _opened:
        _opened[folder] = PackedGroups(Path(folder), read_origin(Path(folder)))
    views, model = _opened[folder], _opened['model']
    assert isinstance(views, PackedGroups)
    assert isinstance(model, HCAT)
    write_features(features_folder(Path(folder), origin), origin, views, model, [number])
