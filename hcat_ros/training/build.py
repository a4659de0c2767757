# SPDX-License-Identifier: Apache-2.0
"""Builds the data and the network of a run from its configuration."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import cv2
import numpy as np
import torch

from hcat_ros.evaluation.clips import Clip, DataSetError, read_clips
from hcat_ros.files import read_text
from hcat_ros.files.pictures import UNCHANGED, read_picture
from hcat_ros.network import HCAT, load_checkpoint
from hcat_ros.tracking.encodings import Image
from hcat_ros.training.backbone_weights import load_backbone
from hcat_ros.training.cached_features import CachedGroups, features_folder
from hcat_ros.training.config import DataConfig, TrainConfig, load_config
from hcat_ros.training.groups import GroupDataset
from hcat_ros.training.kept_groups import KeptGroups, ShuffledEpochs, features_origin, read_origin
from hcat_ros.training.packed_views import PackedGroups
from hcat_ros.training.sources import ClipSource, PasteSource, PhotoSource, Source, image_paths
from hcat_ros.training.teachers import (
    GRID,
    SEARCH_SIZE,
    TEMPLATE_SIZE,
    Committee,
    load_teacher,
)

UNTRAINED = 'Untrained: random weights, made to measure speed; it follows nothing.'
"""Description of an `untrained_network` in a model's card."""
DISTRACTOR_SIDE = 128
"""Longest side of distractors in memory, pixels; larger ones are reduced."""


def build_network(config: TrainConfig) -> HCAT:
    """Return the network to train, with the weights that the run starts from."""
    if config.start:
        model = load_checkpoint(config.start)
        if model.config != config.network:
            raise ValueError(f'{config.start} has {model.config}, but the run has {config.network}')
        return model
    torch.manual_seed(config.schedule.seed)
    model = HCAT(config.network)
    if config.backbone:
        load_backbone(model, Path(config.backbone))
    return model


def untrained_network(path: Path) -> HCAT:
    """Return the network of a run file with random weights, which depend only on its seed.

    Raises what `load_config` raises; ModuleNotFoundError if the backbone needs timm.
    """
    config = load_config(path)
    torch.manual_seed(config.schedule.seed)
    return HCAT(config.network)


def open_lessons(config: TrainConfig, model: HCAT) -> ShuffledEpochs:
    """Return the groups in a run's lesson folders: features if its backbone is frozen, else crops.

    Raises ValueError for a folder that is incomplete or does not fit the network's sizes.
    """
    kept: list[KeptGroups] = []
    for folder in map(Path, config.lessons):
        origin = read_origin(folder)
        sizes = [config.network.template_size, config.network.search_size]
        if origin.get('sizes') != sizes:
            raise ValueError(
                f'{folder} has crops of {origin.get("sizes")} px, expected {sizes}; make '
                'others with hcat lessons'
            )
        grid = config.network.search_grid
        if origin.get('teachers') and grid != GRID:
            raise ValueError(
                f'{folder} has lessons of {GRID} x {GRID} cells, but the network has '
                f'{grid} x {grid}'
            )
        if config.schedule.trained_blocks:
            kept.append(PackedGroups(folder, origin))
        else:
            of_features = features_origin(origin, model)
            kept.append(CachedGroups(features_folder(folder, of_features), of_features))
    return ShuffledEpochs(kept, config.schedule.seed)


def build_data(config: TrainConfig) -> GroupDataset:
    """Return the data set of a run. Raises DataSetError for an empty or missing one."""
    network, schedule = config.network, config.schedule
    needed = (TEMPLATE_SIZE, SEARCH_SIZE, SEARCH_SIZE // GRID)
    found = (network.template_size, network.search_size, network.stride)
    if config.teachers and found != needed:
        raise ValueError(
            'teachers: expected a network of template_size, search_size and stride '
            f'{needed}, got {found}'
        )
    return GroupDataset(
        [_source(row) for row in config.data],
        [row.share for row in config.data],
        schedule.views,
        schedule.seed,
        template_size=network.template_size,
        search_size=network.search_size,
        chances=config.chances,
        geometry=config.geometry,
        cache_bytes=int(schedule.cache_gib * 2**30),
        surroundings=image_paths(Path(config.surroundings)) if config.surroundings else [],
        committee=Committee([load_teacher(row) for row in config.teachers])
        if config.teachers
        else None,
        cutouts=_distractors(Path(config.distractors)) if config.distractors else [],
    )


def _source(row: DataConfig) -> Source:
    if row.kind == 'clips':
        clips = read_clips(row.layout, Path(row.root), np.float32)
        if row.names or row.names_file:
            listed = read_text(Path(row.names_file)).split() if row.names_file else []
            clips = _named(clips, [*row.names, *listed])
            if not clips:
                wanted = row.names_file or ' or '.join(row.names)
                raise DataSetError(f'{row.root}: no clip has a name from {wanted}')
        return ClipSource(clips, row.max_gap)
    if row.kind == 'photos':
        return PhotoSource(image_paths(Path(row.root)))
    if row.kind == 'paste':
        return PasteSource(image_paths(Path(row.cutouts)), image_paths(Path(row.backgrounds)))
    raise DataSetError(f"data kind '{row.kind}': expected clips, photos or paste")


def _named(clips: list[Clip], patterns: list[str]) -> list[Clip]:
    """Return the clips whose names match one of the patterns."""
    names = {pattern for pattern in patterns if not any(sign in pattern for sign in '*?[')}
    rest = [pattern for pattern in patterns if pattern not in names]
    return [c for c in clips if c.name in names or any(fnmatch(c.name, p) for p in rest)]


def _distractors(folder: Path) -> list[Image]:
    found = []
    for path in image_paths(folder):
        try:
            image = read_picture(path, UNCHANGED)
        except (OSError, ValueError):
            continue
        if image.shape[2:] != (4,):
            continue
        scale = min(1.0, DISTRACTOR_SIDE / max(image.shape[:2]))
        size = (max(2, round(image.shape[1] * scale)), max(2, round(image.shape[0] * scale)))
        found.append(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8))
    if not found:
        raise DataSetError(f'{folder}: no images with alpha to use as distractors')
    return found
