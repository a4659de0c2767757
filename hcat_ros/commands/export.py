# SPDX-License-Identifier: Apache-2.0
"""Export a checkpoint to a model folder (ONNX graphs and card) that every engine loads.

A run file, for example in config/paper/, is exported as an untrained network, to try its speed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hcat_ros.models import (
    CARD_FILE,
    TEXTS,
    TRACKING_FIELDS,
    WEIGHTS_FILE,
    Model,
    add_to_model,
    load_model,
)

RUN_SUFFIXES = ('.yaml', '.yml')


TUNED = ('window_penalty', 'size_smoothing', 'box_correction')
KEPT = (*TEXTS, *TRACKING_FIELDS)
"""Fields of a card that are kept when the weights are exported again."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument(
        'checkpoint',
        type=Path,
        help="the authors' .pth, our .safetensors, or a run file, .yaml, for an untrained network",
    )
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='model folder')
    parser.add_argument('--name', help='name in the card; the folder name unless given')
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help="replace the model in the folder; its card's texts and tracker settings are kept, "
        'scores and further graphs only if the weights are the same',
    )
    parser.add_argument('--window-penalty', type=float, help='default of the model, 0 to 1')
    parser.add_argument('--size-smoothing', type=float, help='default of the model, above 0 to 1')
    parser.add_argument('--box-correction', type=float, help='default of the model, 0 to 1')
    parser.add_argument('--description', help='a sentence for the card')
    parser.add_argument('--licence', help='licence of the weights, for the card')
    parser.add_argument('--training', help='data and run of the training, for the card')
    architecture = parser.add_argument_group(
        'architecture that no tensor shows (needed only if the file does not state it)'
    )
    architecture.add_argument('--heads', type=int, help='attention heads')
    wiring = architecture.add_mutually_exclusive_group()
    wiring.add_argument('--juxtaposed', action='store_true', help='not hierarchical')
    wiring.add_argument(
        '--hierarchical', action='store_true', help='TransT.H; otherwise a TransT is juxtaposed'
    )
    architecture.add_argument('--backbone', help='timm/NAME, convnext_tiny or mobilenetv2')
    architecture.add_argument(
        '--self-attention', action='store_true', help='layers have self-attention'
    )
    architecture.add_argument('--box-anchor', action='store_true', help='boxes relative to cells')


def run(arguments: argparse.Namespace) -> None:
    """Load, export and verify. Raises CheckpointError, ValueError, ExportError, OSError."""
    try:
        from hcat_ros.network.checkpoint import load_checkpoint
        from hcat_ros.network.export import export_model
    except ImportError as error:
        raise RuntimeError(f"{error}; pip install 'hcat_ros[export]'") from error
    from hcat_ros.tracking import TrackerConfig

    before = _before(arguments.out, arguments.overwrite)
    kept = {name: getattr(before.card, name) for name in KEPT} if before else {}
    given = {name: getattr(arguments, name) for name in (*TEXTS, *TUNED)}
    card = kept | {name: value for name, value in given.items() if value is not None}
    # Refuses values out of range before anything is written.
    TrackerConfig(**{name: card[name] for name in TRACKING_FIELDS if name in card})
    overrides = _overrides(arguments)
    untrained = arguments.checkpoint.suffix in RUN_SUFFIXES
    if untrained:
        if overrides:
            raise ValueError(
                f'{", ".join(overrides)}: {arguments.checkpoint} defines the network; change it '
                'there'
            )
        from hcat_ros.training.build import UNTRAINED, untrained_network

        try:
            model = untrained_network(arguments.checkpoint)
        except ModuleNotFoundError as error:  # timm
            raise RuntimeError(str(error)) from error
        card['description'] = ' '.join(filter(None, (UNTRAINED, arguments.description)))
    else:
        model = load_checkpoint(arguments.checkpoint, **overrides)
    print(f'{arguments.checkpoint}: {model.config}')
    name = arguments.name or (before.card.name if before else None)
    differences = export_model(model, arguments.out, name, card=card, progress=print)
    if before:
        _keep(before, load_model(arguments.out))
    worst = ', '.join(f'{value:.1e} in {name}' for name, value in differences.items())
    print(f'wrote {arguments.out}; largest difference from PyTorch: {worst}')
    if untrained:
        print(
            f'warning: {arguments.out} is untrained; train it with hcat train and export the result'
        )


def _before(folder: Path, overwrite: bool) -> Model | None:
    """Return the model in the folder, if any. Raises ValueError unless it may be replaced."""
    if not (folder / CARD_FILE).exists():
        return None
    if not overwrite:
        raise ValueError(
            f'{folder} holds a model; choose another --out, or replace it with --overwrite'
        )
    return load_model(folder)


def _keep(before: Model, after: Model) -> None:
    """Keep scores and further graphs if the weights are the same, else remove the graphs."""
    further = before.card.sha256.keys() - after.card.sha256.keys()
    if before.card.sha256.get(WEIGHTS_FILE) == after.card.sha256[WEIGHTS_FILE]:
        hashes = after.card.sha256 | {name: before.card.sha256[name] for name in further}
        add_to_model(after, {}, sha256=hashes, scores=before.card.scores)
        return
    for name in sorted(further):
        (after.folder / name).unlink(missing_ok=True)
        print(f'removed {after.folder / name}, which belonged to the previous weights')


def _overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of the network's configuration that the command line names."""
    named = {
        'heads': arguments.heads,
        'hierarchical': False if arguments.juxtaposed else arguments.hierarchical or None,
        'backbone': arguments.backbone,
        'attention': 'self' if arguments.self_attention else None,
        'box_anchor': arguments.box_anchor or None,
    }
    return {name: value for name, value in named.items() if value is not None}
