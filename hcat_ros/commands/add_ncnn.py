# SPDX-License-Identifier: Apache-2.0
"""Add graphs for the engine ncnn, which runs on any processor, to a model folder."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from pathlib import Path

from hcat_ros.engines.ncnn_engine import NcnnEngine
from hcat_ros.engines.self_test import self_test
from hcat_ros.files import scratch_folder
from hcat_ros.models import REFERENCE_FILE, WEIGHTS_FILE, Model, add_to_model, load_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the verb's arguments."""
    parser.add_argument('model', help='name or folder of a model with weights.safetensors')


def run(arguments: argparse.Namespace) -> None:
    """Convert, test, write. Raises ModelError, CheckpointError, ExportError, EngineError, OSError.

    The model is unchanged until the new graphs have passed its self-test.
    """
    try:
        from hcat_ros.network.checkpoint import load_checkpoint
        from hcat_ros.network.ncnn_graph import write_ncnn_graphs
    except ImportError as error:
        raise RuntimeError(f"{error}; pip install 'hcat_ros[export-ncnn]'") from error
    model = load_model(arguments.model)
    model.file(REFERENCE_FILE)  # without it the self-test would accept any output
    network = load_checkpoint(model.file(WEIGHTS_FILE))
    with scratch_folder('hcat-add-ncnn') as made:
        files = write_ncnn_graphs(network, made)
        hashes = {file: sha256(made / file) for file in files}
        card = dataclasses.replace(model.card, sha256={**model.card.sha256, **hashes})
        engine = NcnnEngine(Model(made, card))
        self_test(engine, model)
        add_to_model(model, {file: made / file for file in files})
    print(f'{model.card.name} is ready for ncnn {engine.card.runtime_version}: {model.folder}')


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, as hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
