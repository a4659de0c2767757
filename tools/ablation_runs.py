# SPDX-License-Identifier: Apache-2.0
"""One run of the ablation: configuration, training on stored features, export and evaluation.

PyTorch is imported inside the functions that use it, because evaluation processes do not need it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hcat_ros.evaluation.results import SequenceResult
    from hcat_ros.network import HCAT
    from hcat_ros.training.config import TrainConfig
    from hcat_ros.training.groups import Group, GroupDataset
    from hcat_ros.training.kept_groups import Origin, ShuffledEpochs

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_DATA = ROOT / 'data' / 'train'
"""Folder in which the configurations expect their data."""
REPORTS = 10
"""Number of progress lines for each training."""


@dataclass(frozen=True)
class Plan:
    """Settings that all runs share."""

    configs: Path
    """Folder of the rows' configurations."""
    data: Path
    sequences: Path
    backbone: Path
    out: Path
    pairs: int
    groups: int
    """Number of groups of views that are stored for training."""
    held_out: int
    """Number of additional groups, which measure the IoU."""
    penalties: tuple[float, ...]
    """Window penalties; each run is evaluated with all of them."""
    smoothing: float
    threads: int


def configuration(plan: Plan, row: str, seed: int | None = None) -> TrainConfig:
    """Return the training settings of a row. seed: replaces the data's seed. Raises ValueError."""
    from hcat_ros.training.config import load_config

    path = plan.configs / f'{row}.yaml'
    config = load_config(path)
    schedule = replace(config.schedule, threads=plan.threads)
    schedule = replace(schedule, steps=max(1, plan.pairs // schedule.batch))
    if seed is not None:
        schedule = replace(schedule, seed=seed)

    def there(text: str) -> str:
        """Move a path from the default data folder to `plan.data`."""
        if not text:
            return text
        try:
            inner = Path(text).relative_to(DEFAULT_DATA.resolve())
        except ValueError:
            raise ValueError(f'{path}: {text} is not below {DEFAULT_DATA}') from None
        return str(plan.data.resolve() / inner)

    rows = [
        replace(
            source,
            root=there(source.root),
            cutouts=there(source.cutouts),
            backgrounds=there(source.backgrounds),
        )
        for source in config.data
    ]
    return replace(
        config,
        data=tuple(rows),
        schedule=schedule,
        backbone=str(plan.backbone.resolve()),
        distractors=there(config.distractors),
        surroundings=there(config.surroundings),
    )


@lru_cache(maxsize=1)
def _drawn(plan: Plan, row: str) -> tuple[Origin, GroupDataset, HCAT]:
    """Return the origin of the features, their data and a network with the backbone."""
    import cv2
    import torch

    from hcat_ros.training.build import build_data, build_network

    torch.set_num_threads(plan.threads)
    cv2.setNumThreads(1)
    config = configuration(plan, row)
    model = build_network(config)
    return _origin(plan, config, model), build_data(config), model


def _origin(plan: Plan, config: TrainConfig, model: HCAT) -> Origin:
    """Return the origin of the plan's features. config: a configuration with the data's seed."""
    from hcat_ros.training.kept_groups import features_origin, views_origin

    return features_origin(views_origin(config, plan.groups + plan.held_out), model)


def features_to_do(plan: Plan, row: str) -> list[int]:
    """Return the numbers of the feature files that are still missing."""
    from hcat_ros.training.kept_groups import missing_parts

    return missing_parts(plan.out / 'features', _drawn(plan, row)[0])


def write_part(plan: Plan, row: str, number: int) -> None:
    """Write one file of features."""
    from hcat_ros.training.cached_features import write_features

    origin, data, model = _drawn(plan, row)
    write_features(plan.out / 'features', origin, data, model, [number])


def measured(plan: Plan, row: str, seed: int) -> dict[str, Any]:
    """Train a row with a seed, or resume its training, evaluate it and return the results."""
    from hcat_ros.network.checkpoint import load_checkpoint
    from hcat_ros.network.export import export_model
    from hcat_ros.training.cached_features import CachedGroups
    from hcat_ros.training.kept_groups import ShuffledEpochs, claim
    from hcat_ros.training.loop import WEIGHTS_FILE

    started = time.monotonic()
    _drawn.cache_clear()  # frees gigabytes of decoded images
    folder = plan.out / 'runs' / f'{row}-{seed}'
    config = configuration(plan, row, seed)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / 'run.json').is_file():
        raise ValueError(f'{folder} is of an earlier version of this tool; delete it')
    claim(folder, {'config': asdict(config), 'groups': plan.groups}, 'run.json')
    cached = CachedGroups(
        plan.out / 'features', _origin(plan, configuration(plan, row), _network(config))
    )
    _train(config, ShuffledEpochs([cached], seed, plan.groups), folder)
    trained = time.monotonic()
    model = load_checkpoint(folder / WEIGHTS_FILE)
    kept = held_out(model, [cached[number] for number in range(plan.groups, len(cached))])
    words = {
        'window_penalty': plan.penalties[0],
        'size_smoothing': plan.smoothing,
        'description': f'Ablation: {row}, seed {seed}',
        'training': f'{plan.pairs} pairs, backbone frozen',
    }
    export_model(model, folder / 'model', f'{row}-{seed}', card=words)
    found = {
        f'{penalty:g}': _overlaps(plan, folder / 'model', penalty) for penalty in plan.penalties
    }
    return {
        'row': row,
        'seed': seed,
        'ao': {penalty: ao for penalty, (ao, _) in found.items()},
        **kept,
        'parameters': sum(parameter.numel() for parameter in model.parameters()),
        'sequences': {penalty: each for penalty, (_, each) in found.items()},
        'training_s': round(trained - started, 1),
        'evaluation_s': round(time.monotonic() - trained, 1),
    }


def _network(config: TrainConfig) -> HCAT:
    from hcat_ros.training.build import build_network

    return build_network(config)


def _train(config: TrainConfig, groups: ShuffledEpochs, folder: Path) -> None:
    """Train to the end, resuming an earlier attempt if there is one."""
    from hcat_ros.training.loop import Trainer
    from hcat_ros.training.losses import Losses

    steps = config.schedule.steps
    trainer = Trainer(_network(config), groups, config.schedule, folder)
    trainer.resume()

    def on_step(step: int, losses: Losses, pairs: float) -> None:
        if step % max(1, steps // REPORTS) == 0:
            loss, iou = losses.total.item(), losses.iou.item()
            text = f'loss {loss:.2f}, IoU {iou:.2f}, {pairs:.0f} pairs/s'
            print(f'{folder.name}: step {step} of {steps}, {text}', file=sys.stderr, flush=True)

    trainer.run(on_step)


def held_out(model: HCAT, groups: Sequence[Group]) -> dict[str, float]:
    """Measure a network on all pairs of views of each group.

    iou: mean IoU of the boxes at positive cells. hits: share of the pairs whose best cell is
    positive. wrong_hits: the same share with the templates of the next group. A network with as
    many wrong_hits as hits ignores the template and uses only the search region.
    """
    import numpy as np
    import torch

    from hcat_ros.training.loop import PairModel
    from hcat_ros.training.losses import hcat_losses, positive_cells
    from hcat_ros.training.pairs import pairs_of_groups

    learner, ious, hits = PairModel(model.eval()), [], {'hits': [], 'wrong_hits': []}
    for group, other in zip(groups, [*groups[1:], groups[0]]):
        first, second, _ = pairs_of_groups(1, len(group.shown), 0, 0.0, np.random.default_rng(0))
        boxes, shown = group.boxes[second], group.shown[second]
        if not shown.any():
            continue
        positive = positive_cells(boxes, model.config.search_grid)
        for name, templates in (('hits', group.templates), ('wrong_hits', other.templates)):
            with torch.inference_mode():
                prediction = learner(templates, group.searches, first, second)
            best = (prediction.logits[..., 0] - prediction.logits[..., 1]).argmax(1, keepdim=True)
            hits[name] += positive.gather(1, best)[shown].flatten().tolist()
            if name == 'hits':
                ious.append(float(hcat_losses(prediction, boxes, shown).iou))
    if not ious:
        return dict.fromkeys(('iou', *hits), float('nan'))
    return {'iou': float(np.mean(ious)), **{name: float(np.mean(hits[name])) for name in hits}}


def _overlaps(plan: Plan, model: Path, penalty: float) -> tuple[float, dict[str, float]]:
    """Return the AO as in `hcat evaluate` (ONNX Runtime, fp32), and the AO of each sequence."""
    from hcat_ros.evaluation.trackers import HcatSpec

    settings = (('window_penalty', penalty), ('size_smoothing', plan.smoothing))
    tracker = HcatSpec(str(model), 'onnxruntime', 'fp32', settings)
    return evaluate(plan, f'{model.parent.name} penalty {penalty:g}', tracker)


def evaluate(plan: Plan, title: str, tracker: Any) -> tuple[float, dict[str, float]]:
    """Return the AO over all sequences and of each one; the result is stored in the folder."""
    from hcat_ros.evaluation.clips import read_clips
    from hcat_ros.evaluation.protocols import PROTOCOLS
    from hcat_ros.evaluation.runs import Entry, Evaluation

    def quietly(
        results: Iterable[SequenceResult], total: int, what: str
    ) -> Iterable[SequenceResult]:
        return results

    evaluation = Evaluation(
        PROTOCOLS['plain'],
        read_clips('plain', plan.sequences),
        plan.sequences,
        plan.out / 'evaluation',
        threads=plan.threads,
    )
    score = evaluation.run(evaluation.settle(Entry(title, tracker)), quietly).score
    each = {sequence.name: sequence.measures['AO'] for sequence in score.sequences}
    return score.measures['AO'], each
