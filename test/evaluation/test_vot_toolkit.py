# SPDX-License-Identifier: Apache-2.0
"""Agreement with vot-toolkit 0.9.0: its experiments, files and analyses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from answers import a_clip, a_result, agree

from hcat_ros.evaluation.benchmarks import vot_box
from hcat_ros.evaluation.metrics import overlaps
from hcat_ros.evaluation.protocols import PROTOCOLS, score_run
from hcat_ros.evaluation.vot import (
    Anchor,
    anchored_run,
    anchors,
    multi_start,
    pixel_overlaps,
    read_anchors,
)

NAN = float('nan')
SIZE = (320, 240)


@pytest.fixture(scope='module')
def vot() -> SimpleNamespace:
    reason = 'needs vot-toolkit 0.9.0 (make test installs it)'
    pytest.importorskip('vot.analysis', reason=reason)
    pytest.importorskip('vot.workspace', reason=reason)
    import vot.analysis.accuracy
    import vot.analysis.multistart
    import vot.dataset
    import vot.experiment.multirun
    import vot.experiment.multistart
    import vot.region
    import vot.tracker
    import vot.utilities.data
    import vot.workspace.storage

    return SimpleNamespace(
        accuracy=vot.analysis.accuracy,
        multistart=vot.analysis.multistart,
        load_sequence=vot.dataset.load_sequence,
        Unsupervised=vot.experiment.multirun.UnsupervisedExperiment,
        MultiStart=vot.experiment.multistart.MultiStartExperiment,
        Rectangle=vot.region.Rectangle,
        Special=vot.region.Special,
        calculate_overlaps=vot.region.calculate_overlaps,
        Tracker=vot.tracker.Tracker,
        Trajectory=vot.tracker.Trajectory,
        Grid=vot.utilities.data.Grid,
        LocalStorage=vot.workspace.storage.LocalStorage,
    )


def region(vot: SimpleNamespace, box: np.ndarray) -> Any:
    return vot.Special(0) if np.isnan(box).any() else vot.Rectangle(*box)


def a_sequence(
    vot: SimpleNamespace,
    folder: Path,
    truth: np.ndarray,
    starts: Sequence[Anchor] = (),
    empty_masks: Sequence[int] = (),
) -> Any:
    """Write the files of a VOT sequence for the toolkit, which opens no images here."""
    folder.mkdir()
    about = {'name': folder.name, 'fps': 30, 'length': len(truth), 'channels.color': 'color'}
    about |= {'width': SIZE[0], 'height': SIZE[1], 'channel.default': 'color'}
    (folder / 'sequence').write_text(''.join(f'{key}={about[key]}\n' for key in about))
    lines = [
        '0' if np.isnan(box).any() else ','.join(repr(float(value)) for value in box)
        for box in truth
    ]
    for number in empty_masks:
        lines[number] = 'm0,0,0,0,0,1'  # as the toolkit writes it
    (folder / 'groundtruth.txt').write_text('\n'.join(lines))
    marks = [0] * len(truth)
    for start in starts:
        marks[start.frame] = -1 if start.backward else 1
    (folder / 'anchor.value').write_text('\n'.join(map(str, marks)))
    return vot.load_sequence(str(folder))


def walk(rng: np.random.Generator, count: int) -> np.ndarray:
    truth = np.empty((count, 4))
    truth[:, :2] = np.array([140, 100]) + np.cumsum(rng.normal(0, 3, (count, 2)), axis=0)
    truth[:, 2:] = 40 * np.exp(np.cumsum(rng.normal(0, 0.01, (count, 2)), axis=0))
    return truth


def follow(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    """Return boxes of a tracker that drifts and loses the target for a while or for good."""
    boxes = truth + rng.normal(0, 4, truth.shape)
    start, length = rng.integers(1, len(truth) + 1), rng.choice([3, 9, 10, 11, 1000])
    boxes[start : start + length, :2] += 150
    boxes[rng.random(len(boxes)) < 0.02] = NAN
    return boxes


def test_pixel_overlaps_agree_with_the_toolkit(vot: SimpleNamespace) -> None:
    rng = np.random.default_rng(17)
    truth = np.concatenate(
        [
            rng.uniform([-60, -60, 0, 0], [340, 260, 90, 90], (1500, 4)),
            rng.integers([-3, -3, 0, 0], [4, 4, 4, 4], (1500, 4)),  # one pixel or none
            rng.integers(-20, 60, (500, 4)) / 2 + [100, 80, 0, 0],  # halves, odd sizes
        ]
    )
    truth[:, 2:] = np.abs(truth[:, 2:])
    boxes = truth + rng.normal(0, 8, truth.shape).round(1) * rng.choice([0, 0.3, 1], (3500, 1))
    boxes[1500:3000] = rng.integers([-3, -3, 0, 0], [4, 4, 4, 4], (1500, 4))
    boxes[:, 2:] = np.abs(boxes[:, 2:])
    boxes[::50] = NAN
    theirs = vot.calculate_overlaps(
        [region(vot, box) for box in boxes], [region(vot, box) for box in truth], SIZE
    )
    ours = pixel_overlaps(boxes, truth, SIZE)
    assert 0.2 < np.mean(ours > 0.5) < 0.8
    names = [f'{box} on {real}' for box, real in zip(boxes, truth)]
    agree(dict(zip(names, theirs)), dict(zip(names, ours)), 'overlap')
    # The effect of whole pixels: IoU of realistic boxes in whole pixels against the exact IoU.
    whole = walk(rng, 2000) % [240, 160, 1000, 1000]
    near = whole + rng.normal(0, 3, whole.shape)
    apart = np.abs(pixel_overlaps(near, whole, SIZE) - overlaps(near, whole))
    print(f'pixels against exact boxes of 40: mean {apart.mean():.4f}, largest {apart.max():.4f}')
    assert apart.mean() < 0.03


def test_the_multi_start_experiment_agrees_with_the_toolkit(
    vot: SimpleNamespace, tmp_path: Path
) -> None:
    rng = np.random.default_rng(19)
    experiment = vot.MultiStart(_identifier='baseline', _storage=vot.LocalStorage(str(tmp_path)))
    tracker = vot.Tracker('ours', '', None)
    low, high = 20, 150
    sequences, runs = [], []
    for number, count in enumerate((130, 75, 220, 12)):
        truth = walk(rng, count)
        truth[rng.integers(1, count, 3)] = [0, 0, 0, 0]  # VOT's mark of a hidden target
        usable = (truth[:, 2:] > 0).all(axis=1)
        starts = anchors(count, usable=usable)
        sequence = a_sequence(vot, tmp_path / f'sequence{number}', truth, starts)
        assert read_anchors(tmp_path / sequence.name / 'anchor.value', count) == starts
        scored = []
        for anchor in starts:
            order = list(anchor.order(count))
            boxes = follow(rng, truth[order])
            trajectory = vot.Trajectory(len(order))
            trajectory.set(0, vot.Special(vot.Trajectory.INITIALIZATION))
            for row, box in enumerate(boxes[1:], 1):
                trajectory.set(row, region(vot, box))
            trajectory.write(
                experiment.results(tracker, sequence), f'{sequence.name}_{anchor.frame:08d}'
            )
            scored.append(anchored_run(anchor, boxes, truth, SIZE))
        assert experiment.scan(tracker, sequence)[0]
        sequences.append(sequence)
        runs.append(scored)
    assert {run.failed for each in runs for run in each} == {False, True}
    ours = multi_start(runs, (low, high))

    robust = vot.multistart.AccuracyRobustness()
    parts = [robust.subcompute(experiment, tracker, each, []) for each in sequences]
    accuracy, robustness, *_ = vot.multistart.AverageAccuracyRobustness().aggregate(
        tracker, sequences, parts
    )
    curves = vot.multistart.EAOCurves(high=high)
    parts = [curves.subcompute(experiment, tracker, each, []) for each in sequences]
    average = vot.multistart.EAOCurve(high=high)
    (curve,) = average.aggregate(tracker, sequences, parts)
    score = vot.multistart.EAOScore(low=low, high=high)
    grid = score.compute(experiment, [tracker], sequences, [vot.Grid.scalar((curve,))])
    theirs = {'accuracy': accuracy, 'robustness': robustness, 'EAO': grid[0, 0][0]}
    mine = {'accuracy': ours.accuracy, 'robustness': ours.robustness, 'EAO': ours.eao}
    theirs |= {f'EAO curve {n}': value for n, value in enumerate(curve)}
    mine |= {f'EAO curve {n}': value for n, value in enumerate(ours.eao_curve)}
    for sequence, each in zip(sequences, runs):
        single = robust.subcompute(experiment, tracker, sequence, [])
        alone = multi_start([each], (low, high))
        theirs |= {f'{sequence.name} accuracy': single[0], f'{sequence.name} rest': single[1]}
        mine |= {f'{sequence.name} accuracy': alone.accuracy}
        mine |= {f'{sequence.name} rest': alone.robustness}
    assert 0.1 < ours.eao < 0.9
    agree(theirs, mine, 'multi-start')


def test_the_ao_of_one_pass_agrees_with_the_toolkit(vot: SimpleNamespace, tmp_path: Path) -> None:
    rng = np.random.default_rng(23)
    storage = vot.LocalStorage(str(tmp_path))
    experiment = vot.Unsupervised(_identifier='unsupervised', _storage=storage)
    tracker = vot.Tracker('ours', '', None)
    analysis = vot.accuracy.SequenceAccuracy(burnin=1)
    clips, results, parts, sequences = [], [], [], []
    for number, count in enumerate((90, 40, 66)):
        truth = walk(rng, count)
        boxes = follow(rng, truth)
        # The toolkit would leave out a frame without an answer.
        boxes[np.isnan(boxes)] = 0
        # VOT's marks of an absent target, which counts, and of an unknown one, which does not.
        truth[[7, 20, 21]], truth[9] = 0, NAN
        boxes[21] = 0
        sequence = a_sequence(vot, tmp_path / f'sequence{number}', truth, empty_masks=(20,))
        trajectory = vot.Trajectory(count)
        trajectory.set(0, vot.Special(vot.Trajectory.INITIALIZATION))
        for row, box in enumerate(boxes[1:], 1):
            trajectory.set(row, vot.Rectangle(*box))
        trajectory.write(experiment.results(tracker, sequence), f'{sequence.name}_001')
        lines = (tmp_path / sequence.name / 'groundtruth.txt').read_text().splitlines()
        clips.append(a_clip([vot_box(line) for line in lines], sequence.name))
        results.append(a_result(boxes))
        sequences.append(sequence)
        parts.append(analysis.subcompute(experiment, tracker, sequence, []))
    grid = vot.Grid(len(parts), 1)
    for number, part in enumerate(parts):
        grid[number, 0] = part
    average = vot.accuracy.AverageAccuracy(burnin=1)
    (theirs,) = average.aggregate(tracker, sequences, grid)
    ours = score_run(PROTOCOLS['vot'], clips, results, [SIZE] * 3)
    agree(
        {'run': theirs, **{clip.name: part for clip, (part,) in zip(clips, parts)}},
        {'run': ours.measures['AO'], **{s.name: s.measures['AO'] for s in ours.sequences}},
        'one pass',
    )
