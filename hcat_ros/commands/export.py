# SPDX-License-Identifier: Apache-2.0
"""Export a checkpoint to a model folder (ONNX graphs and card) that every engine loads.

A run's file, as of config/paper/, gives the network that it describes, untrained: to try its speed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

RUN_SUFFIXES = ('.yaml', '.yml')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument(
        'checkpoint',
        type=Path,
        help="the authors' .pth or our .safetensors; or a run's .yaml, for its network untrained",
    )
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='model folder')
    parser.add_argument('--name', help='name in the card; the folder name unless given')
    parser.add_argument(
        '--window-penalty', type=float, default=0.42, help='default of the model, 0 to 1'
    )
    parser.add_argument(
        '--size-smoothing', type=float, default=1.0, help='default of the model, above 0 to 1'
    )
    parser.add_argument('--description', default='', help='a sentence for the card')
    parser.add_argument('--licence', default='', help='licence of the weights, for the card')
    parser.add_argument('--training', default='', help='what it was trained on, for the card')
    architecture = parser.add_argument_group(
        'architecture that no tensor shows (needed only where the file does not state it)'
    )
    architecture.add_argument('--heads', type=int, help='attention heads')
    wiring = architecture.add_mutually_exclusive_group()
    wiring.add_argument('--juxtaposed', action='store_true', help='not hierarchical')
    wiring.add_argument(
        '--hierarchical', action='store_true', help='TransT.H; a TransT is taken to be juxtaposed'
    )
    architecture.add_argument('--backbone', help='of timm: timm/NAME, convnext_tiny, mobilenetv2')
    architecture.add_argument('--self-attention', action='store_true', help='in the layers')
    architecture.add_argument('--box-anchor', action='store_true', help='boxes relative to cells')


def run(arguments: argparse.Namespace) -> None:
    """Load, export and verify. Raises CheckpointError, ValueError, ExportError, OSError."""
    try:
        from hcat_ros.network.checkpoint import load_checkpoint
        from hcat_ros.network.export import export_model
    except ImportError as error:
        raise RuntimeError(f"{error}; pip install 'hcat_ros[export]'") from error
    from hcat_ros.tracking import TrackerConfig

    tracking = {
        'window_penalty': arguments.window_penalty,
        'size_smoothing': arguments.size_smoothing,
    }
    TrackerConfig(**tracking)  # refuses values out of range before anything is written
    texts = {name: getattr(arguments, name) for name in ('description', 'licence', 'training')}
    overrides = _overrides(arguments)
    untrained = arguments.checkpoint.suffix in RUN_SUFFIXES
    if untrained:
        if overrides:
            raise ValueError(
                f'{", ".join(overrides)}: {arguments.checkpoint} says what the network is; change '
                'it there'
            )
        from hcat_ros.training.build import UNTRAINED, untrained_network

        try:
            model = untrained_network(arguments.checkpoint)
        except ModuleNotFoundError as error:  # timm
            raise RuntimeError(str(error)) from error
        texts['description'] = ' '.join(filter(None, (UNTRAINED, arguments.description)))
    else:
        model = load_checkpoint(arguments.checkpoint, **overrides)
    print(f'{arguments.checkpoint}: {model.config}')
    differences = export_model(
        model, arguments.out, arguments.name, card={**tracking, **texts}, progress=print
    )
    worst = ', '.join(f'{value:.1e} in {name}' for name, value in differences.items())
    print(f'wrote {arguments.out}; largest difference from PyTorch: {worst}')
    if untrained:
        print(f'warning: {arguments.out} is untrained; train it with hcat train, then export that')


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
