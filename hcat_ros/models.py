# SPDX-License-Identifier: Apache-2.0
"""Finds a model by name or path and reads its card.

A model is a folder with `template.onnx`, `search.onnx` and `model.yaml`, the card. It may also hold
`reference.npz` for the self-test, `weights.safetensors` for PyTorch and further training, INT8
search graphs and ncnn graphs.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import site
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hcat_ros.files import (
    describe_stand_in,
    load_yaml,
    parse_yaml,
    read_bytes,
    shown,
    whole_file,
    write_text,
)

DEFAULT_MODEL = 'hcat_base'
CARD_FILE = 'model.yaml'
TEMPLATE_FILE = 'template.onnx'
SEARCH_FILE = 'search.onnx'
REFERENCE_FILE = 'reference.npz'
"""Crops `template` and `search`, and the network's output for them: `scores`, `boxes`."""
WEIGHTS_FILE = 'weights.safetensors'
INT8_SEARCH_FILE = 'search.int8.onnx'
INT8_TENSORRT_FILE = 'search.int8.tensorrt.onnx'
"""Search graphs in INT8 (QuantizeLinear, DequantizeLinear), for CPUs and for TensorRT."""
ACCEPTED_DROP = 0.01
"""Largest drop in average overlap (AO), compared with fp32, at which an INT8 graph is accepted."""
TEMPLATE_NCNN = 'template.ncnn'
SEARCH_NCNN = 'search.ncnn'
"""Stems of ncnn's files: each graph has a .param file (layers) and a .bin file (weights)."""

TRACKING_FIELDS = (
    'window_penalty',
    'size_smoothing',
    'box_correction',
    'uncertain_threshold',
    'lost_threshold',
    'found_threshold',
)
"""Fields of a card with tracker settings for the model."""
TEXTS = ('description', 'licence', 'training')


class ModelError(ValueError):
    """A model is missing, incomplete or damaged, or its card is unusable."""


@dataclass(frozen=True)
class ModelCard:
    """Content of `model.yaml`, a model's card."""

    name: str
    template_size: int
    search_size: int
    grid: int
    sha256: dict[str, str]
    """SHA-256 of each file's content, by file name."""
    window_penalty: float = 0.42
    size_smoothing: float = 1.0
    box_correction: float = 0.0
    uncertain_threshold: float = 0.0
    lost_threshold: float = 0.0
    found_threshold: float = 0.95
    description: str = ''
    licence: str = ''
    network: dict[str, Any] = field(default_factory=dict)
    """Fields of `HCATConfig`, the network's configuration."""
    training: str = ''
    """Description of the data and the run that produced the weights."""
    scores: dict[str, Any] = field(default_factory=dict)
    """Accuracy of the model. The entry `INT8`, which `hcat quantize` writes, has the AO in float as
    `fp32`, and for each INT8 graph a mapping with its `AO`, measured in the same way."""

    def __post_init__(self) -> None:
        for name, longest in (('name', 100), *dict.fromkeys(TEXTS, 10_000).items()):
            value = getattr(self, name)
            if not isinstance(value, str) or len(value) > longest:
                raise ValueError(
                    f'{name} {shown(value)}: expected a text of at most {longest} characters'
                )
        if not self.name.strip() or not self.name.isprintable():
            raise ValueError(f'name {shown(self.name)}: expected printable characters')
        for name, most in (('template_size', 4096), ('search_size', 4096), ('grid', 256)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f'{name} {shown(value)}: expected a whole number of 1 to {most}')
        for name in TRACKING_FIELDS:
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 <= value <= 1:
                raise ValueError(f'{name} {shown(value)}: expected a number of 0 to 1')
        if self.size_smoothing == 0:
            raise ValueError('size_smoothing 0: expected above 0')
        rising = [value for value in (self.lost_threshold, self.uncertain_threshold) if value]
        if rising != sorted(rising) or (rising and rising[-1] > self.found_threshold):
            raise ValueError(
                f'lost_threshold {self.lost_threshold}, uncertain_threshold '
                f'{self.uncertain_threshold}, found_threshold {self.found_threshold}: expected '
                'lost <= uncertain <= found (0 turns lost or uncertain off)'
            )
        for name in ('sha256', 'network', 'scores'):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(f'{name} {shown(getattr(self, name))}: expected a mapping')
        for file, digest in self.sha256.items():
            if not isinstance(file, str) or not re.fullmatch(r'[\w.-]+', file):
                raise ValueError(f'sha256 of {shown(file)}: expected the name of a file')
            if not isinstance(digest, str) or not re.fullmatch('[0-9a-f]{64}', digest):
                raise ValueError(
                    f'sha256 of {file} {shown(digest)}: expected 64 hexadecimal digits'
                )

    @property
    def tracking(self) -> dict[str, Any]:
        """The tracker settings that suit this model, as fields of `TrackerConfig`."""
        return {name: getattr(self, name) for name in TRACKING_FIELDS}


def accepted_precisions(card: ModelCard) -> tuple[str, ...]:
    """Return the CPU precisions that precision auto may choose: fp32, and int8 if accepted."""
    return ('fp32',) if int8_objection(card) else ('fp32', 'int8')


def int8_objection(card: ModelCard) -> str:
    """Return why the card does not accept the INT8 graph for CPUs, '' if it does.

    The graph is accepted if the card lists it with an average overlap (AO) of at most
    `ACCEPTED_DROP` below the AO in fp32.
    """
    if INT8_SEARCH_FILE not in card.sha256:
        return f'the card lists no {INT8_SEARCH_FILE}; hcat quantize creates it'
    scores = card.scores.get('INT8')
    scores = scores if isinstance(scores, dict) else {}
    entry = scores.get(INT8_SEARCH_FILE)
    in_float, in_int8 = scores.get('fp32'), entry.get('AO') if isinstance(entry, dict) else None
    if not isinstance(in_float, (int, float)) or not isinstance(in_int8, (int, float)):
        return f'the card has no AO of {INT8_SEARCH_FILE} and of fp32 (scores: INT8)'
    drop = round(in_float - in_int8, 6)
    if not drop <= ACCEPTED_DROP:
        lost = f'{drop:.3g} below fp32, more than {ACCEPTED_DROP:g}'
        return f'the card gives {INT8_SEARCH_FILE} an AO {lost}'
    return ''


@dataclass(frozen=True)
class Model:
    """A model folder whose card has been read."""

    folder: Path
    card: ModelCard

    def content(self, name: str) -> bytes:
        """Return the content of the model's file `name`, verified against the card's hash.

        The hash is computed from the returned bytes. Raises ModelError for a file that is missing,
        is not a regular file, or has another hash than the card lists.
        """
        path = self.folder / name
        expected = self.card.sha256.get(name)
        if expected is None:
            raise ModelError(f'{self.folder / CARD_FILE} lists no sha256 for {name}')
        try:
            content = read_bytes(path)
        except OSError as error:
            raise ModelError(f'cannot read {path}: {error.strerror}') from error
        except ValueError as error:
            raise ModelError(str(error)) from error
        found = hashlib.sha256(content).hexdigest()
        if found != expected and (what := describe_stand_in(content)):
            raise ModelError(f'{path} {what}')
        if found != expected:
            raise ModelError(
                f'{path} is damaged or was replaced: its sha256 is {found}, the card says '
                f'{expected}; install the model again or run hcat export'
            )
        return content

    def file(self, name: str) -> Path:
        """Return the path of the model's file `name`, verified by `content`.

        Use it for libraries that only accept a path, or to check the file.
        """
        self.content(name)
        return self.folder / name


def installed_folders(name: str) -> list[Path]:
    """Return the installed data folders of this name, in the order of precedence."""
    share = Path('share/hcat_ros') / name
    prefixes = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    candidates = [
        Path(__file__).resolve().parents[1] / name,  # a source checkout
        *(Path(prefix) / share for prefix in prefixes if prefix),
        Path(sysconfig.get_path('data')) / share,
        Path(site.getuserbase()) / share,
    ]
    return [path for path in candidates if path.is_dir()]


def model_folders() -> list[Path]:
    """Return the folders that hold installed models, in the order of precedence."""
    return installed_folders('models')


def available_models() -> dict[str, Path]:
    """Return the installed models, name to folder."""
    found: dict[str, Path] = {}
    for folder in model_folders():
        for card in sorted(folder.glob(f'*/{CARD_FILE}')):
            found.setdefault(card.parent.name, card.parent)
    return found


def load_model(name_or_path: str | os.PathLike[str] = DEFAULT_MODEL) -> Model:
    """Return the model with this name, or in this folder.

    Raises ModelError, listing the installed models, if it does not exist, or if its card is
    unusable.
    """
    text = os.fspath(name_or_path)
    folder = Path(text).expanduser()
    if not (folder / CARD_FILE).is_file():
        models = available_models()
        if text not in models:
            if folder.is_dir():
                raise ModelError(f'{folder} has no {CARD_FILE}; make a model with hcat export')
            raise ModelError(
                f"no model '{text}': expected a folder with {CARD_FILE} or one of "
                f'{", ".join(models) or "(none installed)"}'
            )
        folder = models[text]
    return Model(folder, _read_card(folder / CARD_FILE))


def _read_card(path: Path) -> ModelCard:
    try:
        content = load_yaml(path)
    except (OSError, ValueError) as error:
        raise ModelError(f'cannot read {path}: {error}') from error
    return _card_of(content, path)


def _card_of(content: Any, path: Path) -> ModelCard:
    """Return the card with these fields. path: path of the card in messages. Raises ModelError."""
    try:
        if not isinstance(content, dict):
            raise ValueError(f'expected a mapping of fields, got {shown(content)}')
        return ModelCard(**content)
    except (TypeError, ValueError) as error:
        reason = str(error).replace('ModelCard.__init__() ', '')
        raise ModelError(f'{path}: {reason}') from error


def card_text(content: Mapping[str, Any]) -> str:
    """Return the fields of a card as the text of `model.yaml`."""
    # The way through JSON removes shared values, for which YAML would write aliases.
    plain = json.loads(json.dumps(content))
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def add_to_model(model: Model, files: Mapping[str, Path], **changes: Any) -> Model:
    """Copy files into a model's folder under these names, change its card, return the new model.

    changes: new values of fields of `ModelCard`. Each file is replaced in one step, the card last.
    After an interruption the old card's hashes no longer match, so that a partly changed model is
    refused. Raises ValueError or ModelError if the new card would be unusable, and leaves the model
    unchanged; OSError, which counts as an interruption if it happens while writing.
    """
    path = model.folder / CARD_FILE
    content = load_yaml(path) | changes
    _card_of(content, path)
    added = {name: read_bytes(source) for name, source in files.items()}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in added.items()}
    content['sha256'] = {**content['sha256'], **hashes}
    try:
        text = card_text(content)
        card = _card_of(parse_yaml(text, str(path)), path)
    except (TypeError, ValueError) as error:  # values that YAML or JSON cannot hold
        raise error if isinstance(error, ModelError) else ModelError(f'{path}: {error}') from error
    for name, data in added.items():
        with whole_file(model.folder / name) as partial:
            partial.write_bytes(data)
    write_text(path, text)
    return Model(model.folder, card)
