# SPDX-License-Identifier: Apache-2.0
"""Agreement with the toolkit got10k 0.1.3, which also scores OTB, UAV123 and NfS."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from answers import a_clip, a_result, agree, plausible

from hcat_ros.evaluation.protocols import PROTOCOLS, RunScore, score_run

NAN = float('nan')
SIZE = (320, 240)


@pytest.fixture
def got10k(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The experiments of the toolkit, without downloads and plots."""
    experiments: ModuleType = pytest.importorskip(
        'got10k.experiments', reason='needs got10k 0.1.3 (make test installs it)'
    )
    datasets = sys.modules['got10k.datasets']
    monkeypatch.setattr(datasets.OTB, '_download', lambda *_: None)
    for experiment in (experiments.ExperimentOTB, experiments.ExperimentGOT10k):
        monkeypatch.setattr(experiment, 'plot_curves', lambda *_: None)
    return experiments


def write_rows(path: Path, rows: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows, fmt='%.3f', delimiter=',')


def write_images(folder: Path, count: int) -> None:
    """Write empty files, because the toolkit reads only their names."""
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        (folder / f'{number:08d}.jpg').touch()


def their_otb(performance: dict[str, Any]) -> dict[str, float]:
    """Return every number of a report of the OTB family, by the name that we use."""
    found = {}
    for name, values in {'': performance['overall'], **performance['seq_wise']}.items():
        found |= {
            f'{name} success AUC': values['success_score'],
            f'{name} precision': values['precision_score'],
            f'{name} SR 0.5': values['success_rate'],
        }
    overall = performance['overall']
    found |= {f'success {n}': value for n, value in enumerate(overall['success_curve'])}
    return found | {f'precision {n}': value for n, value in enumerate(overall['precision_curve'])}


def ours_as_one(found: RunScore) -> dict[str, float]:
    values = {f' {name}': value for name, value in found.measures.items()}
    for each in found.sequences:
        values |= {f'{each.name} {name}': value for name, value in each.measures.items()}
    values |= {f'success {n}': value for n, value in enumerate(found.success.tolist())}
    return values | {f'precision {n}': value for n, value in enumerate(found.precision.tolist())}


def scored(name: str, sequences: dict[str, tuple[np.ndarray, np.ndarray]]) -> RunScore:
    clips = [a_clip(truth, sequence) for sequence, (truth, _) in sequences.items()]
    results = [a_result(boxes) for _, boxes in sequences.values()]
    return score_run(PROTOCOLS[name], clips, results, [SIZE] * len(clips))


def otb_tree(root: Path, sequences: dict[str, tuple[np.ndarray, np.ndarray]], _: Any) -> None:
    for name, (truth, _boxes) in sequences.items():
        write_rows(root / name / 'groundtruth_rect.txt', truth)
        write_images(root / name / 'img', len(truth))


def nfs_tree(root: Path, sequences: dict[str, tuple[np.ndarray, np.ndarray]], _: Any) -> None:
    for name, (truth, _boxes) in sequences.items():
        corners = np.concatenate([truth[:, :2], truth[:, :2] + truth[:, 2:]], axis=1)
        numbers = np.arange(len(truth))[:, None]
        folder = root / name / '240'
        folder.mkdir(parents=True)
        np.savetxt(folder / f'{name}.txt', np.concatenate([numbers, corners], axis=1), fmt='%.6f')
        write_images(folder / name, len(truth))


def uav_tree(root: Path, sequences: dict[str, tuple[np.ndarray, np.ndarray]], _: Any) -> None:
    for name, (truth, _boxes) in sequences.items():
        write_rows(root / 'anno' / 'UAV123' / f'{name}.txt', truth)
    for name in ('data_seq', 'a', 'b'):  # the toolkit expects more than three entries
        (root / name).mkdir()


@pytest.mark.parametrize(
    ('name', 'experiment', 'tree', 'results'),
    [
        ('otb', 'ExperimentOTB', otb_tree, 'OTB2015'),
        ('nfs', 'ExperimentNfS', nfs_tree, 'NfS/240'),
        ('uav123', 'ExperimentUAV123', uav_tree, 'UAV123'),
    ],
)
def test_the_otb_family_agrees_with_got10k(
    name: str,
    experiment: str,
    tree: Callable[..., None],
    results: str,
    got10k: ModuleType,
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(7)
    names, lengths = ['Basketball', 'Biker', 'Bolt'], [60, 35, 110]
    if name == 'uav123':  # the toolkit has the lengths of all sequences
        listing = Path(got10k.__file__).parents[1] / 'datasets' / 'uav123.json'
        listed = json.loads(listing.read_text())['UAV123']
        sizes = {
            key: value['end_frame'] - value['start_frame'] + 1 for key, value in listed.items()
        }
        names = sorted(sizes, key=lambda key: sizes[key])[:3]
        lengths = [sizes[key] for key in names]
    sequences = {key: plausible(rng, length) for key, length in zip(names, lengths)}
    if name == 'uav123':
        for truth, _boxes in sequences.values():
            truth[rng.integers(1, len(truth), 9)] = NAN
    tree(tmp_path / 'data', sequences, rng)
    for key, (_truth, boxes) in sequences.items():
        write_rows(tmp_path / 'results' / results / 'ours' / f'{key}.txt', boxes)
    kind = getattr(got10k, experiment)
    reporter = kind(
        str(tmp_path / 'data'),
        result_dir=str(tmp_path / 'results'),
        report_dir=str(tmp_path / 'reports'),
    )
    theirs = reporter.report(['ours'])['ours']
    written = json.loads(next((tmp_path / 'reports').rglob('performance.json')).read_text())
    assert written['ours'] == theirs
    agree(their_otb(theirs), ours_as_one(scored(name, sequences)), f'{experiment} of got10k')


def test_the_got10k_protocol_agrees_with_its_toolkit(got10k: ModuleType, tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    names = [f'GOT-10k_Val_{number:06d}' for number in (1, 2, 3)]
    sequences = {key: plausible(rng, length) for key, length in zip(names, (80, 30, 55))}
    for key, (truth, boxes) in sequences.items():
        folder = tmp_path / 'val' / key
        write_images(folder, len(truth))
        write_rows(folder / 'groundtruth.txt', truth)
        cover = rng.integers(0, 9, len(truth))
        cover[0] = 8
        np.savetxt(folder / 'cover.label', cover, fmt='%d')
        np.savetxt(folder / 'absence.label', cover == 0, fmt='%d')
        np.savetxt(folder / 'cut_by_image.label', np.zeros(len(truth)), fmt='%d')
        (folder / 'meta_info.ini').write_text(f'[METAINFO]\nresolution: {SIZE}\n')
        write_rows(tmp_path / 'results' / 'GOT-10k' / 'ours' / key / f'{key}_001.txt', boxes)
        times = tmp_path / 'results' / 'GOT-10k' / 'ours' / key / f'{key}_time.txt'
        times.write_text('0.01\n' * len(truth))
        truth[cover == 0] = NAN
    (tmp_path / 'val' / 'list.txt').write_text('\n'.join(names))
    reporter = got10k.ExperimentGOT10k(
        str(tmp_path), 'val', str(tmp_path / 'results'), str(tmp_path / 'reports')
    )
    theirs = reporter.report(['ours'])['ours']
    written = json.loads((tmp_path / 'reports/GOT-10k/ours/performance.json').read_text())
    assert written['ours'] == theirs
    found = scored('got10k', sequences)
    ours = ours_as_one(found)
    expected = {}
    for key, values in {'': theirs['overall'], **theirs['seq_wise']}.items():
        expected |= {f'{key} AO': values['ao'], f'{key} SR 0.5': values['sr']}
    # Their curve has 101 thresholds, of which every fifth is one of ours.
    expected |= {f'success {n}': v for n, v in enumerate(theirs['overall']['succ_curve'][::5])}
    agree(expected, ours, 'ExperimentGOT10k of got10k')


def test_lasot_agrees_with_the_formulas_of_got10k(got10k: ModuleType) -> None:
    """The package does not score LaSOT, so its box measures and curves are combined here."""
    measures = sys.modules['got10k.utils.metrics']
    truth, boxes = plausible(np.random.default_rng(13), 200)
    boxes[0] = truth[0]
    absent = np.zeros(len(truth), bool)
    absent[50:63] = True
    # Boxes scaled by the sides of the true box give the normalised error.
    sides = np.tile(truth[:, 2:], 2)
    experiment = got10k.ExperimentOTB.__new__(got10k.ExperimentOTB)
    experiment.nbins_iou, experiment.nbins_ce = 21, 51
    there = ~absent
    overlap = measures.rect_iou(boxes[there], truth[there])
    errors = measures.center_error(boxes[there], truth[there])
    scaled = measures.center_error((boxes / sides)[there], (truth / sides)[there])
    success, precise = experiment._calc_curves(overlap, errors)  # noqa: SLF001, of got10k
    normalised = (scaled[:, None] <= np.linspace(0, 0.5, 51)).mean(axis=0)
    share = there.mean()
    truth[absent] = NAN
    found = scored('lasot', {'': (truth, boxes)})
    ours = ours_as_one(found)
    expected = {
        ' success AUC': success.mean() * share,
        ' precision': precise[20] * share,
        ' normalised precision 0.2': normalised[20] * share,
        ' normalised precision': normalised.mean() * share,
    }
    expected |= {f'success {n}': value for n, value in enumerate(success * share)}
    expected |= {f'precision {n}': value for n, value in enumerate(precise * share)}
    agree(expected, ours, 'LaSOT with got10k')
