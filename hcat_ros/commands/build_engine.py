# SPDX-License-Identifier: Apache-2.0
"""Build a model's TensorRT engines for this machine and store them for later starts."""

from __future__ import annotations

import argparse

from hcat_ros.engines.self_test import self_test
from hcat_ros.engines.tensorrt_engine import TensorRtEngine
from hcat_ros.engines.tensorrt_plans import GRAPHS, TensorRtPlans
from hcat_ros.models import load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('model', help='name or folder of a model')
    parser.add_argument(
        '--precision',
        choices=('auto', 'fp16', 'int8', 'fp32'),
        default='auto',
        help='auto: fp16 where the chip has it',
    )
    parser.add_argument(
        '--workspace',
        type=int,
        metavar='MIB',
        help='memory limit of a kernel; no limit unless given',
    )
    parser.add_argument(
        '--dla', type=int, metavar='CORE', help='run on this core of the deep learning accelerator'
    )
    parser.add_argument(
        '--force', action='store_true', help='rebuild engines that are in the cache'
    )


def run(arguments: argparse.Namespace) -> None:
    """Build, store and test both engines. Raises EngineError, ModelError."""
    model = load_model(arguments.model)
    options = {'workspace': arguments.workspace, 'dla': arguments.dla}
    plans = TensorRtPlans(model, arguments.precision, **options)
    plans.cache.check_writable()
    for graph in GRAPHS:
        if not arguments.force and plans.cached(graph) is not None:
            print(f'{plans.cache.path(plans.key(graph))} already exists')
        else:
            print(f'stored {plans.store(graph, plans.build(graph))}')
    engine = TensorRtEngine(model, plans.precision, build_if_missing=False, **options)
    self_test(engine, model)
    card = engine.card
    print(f'{card.model} is ready: TensorRT {card.runtime_version}, {card.precision}')
