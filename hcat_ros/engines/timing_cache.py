# SPDX-License-Identifier: Apache-2.0
"""Remembers which engine was the fastest on this machine, so that it is timed once.

An entry is a JSON file in `cache_folder()` / timings. It is used only if its key is the one asked
for: the machine, the versions, the model's files, the candidates. A file that is damaged, stale or
cannot be written costs another timing and is no error.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from hcat_ros import __version__
from hcat_ros.engines.base import cache_folder
from hcat_ros.engines.candidates import Candidate
from hcat_ros.engines.machine import gpu, processor, runtime_versions, usable_processors
from hcat_ros.engines.tensorrt_cache import digest
from hcat_ros.files import write_text
from hcat_ros.models import ModelCard

RECIPE = 1
"""Counted up when engines are loaded or timed in another way, so that older entries are stale."""
LARGEST = 65536
"""Bytes of an entry that is read; a real one has about 2000."""

LOG = logging.getLogger(__name__)


class Timed(NamedTuple):
    """A candidate that passed the self-test, and how fast it was."""

    candidate: Candidate
    version: str
    """Version of its runtime."""
    milliseconds: float
    """Median of a search."""

    def __str__(self) -> str:
        engine, precision = self.candidate
        return f'{engine} {self.version} {precision} {self.milliseconds:.1f} ms'


class Timing(NamedTuple):
    """What was found on this machine."""

    ranking: list[Timed]
    """The fastest first."""
    day: str
    """When it was timed, UTC, as 2026-01-31."""


def timing_key(card: ModelCard, candidates: Sequence[Candidate], threads: int) -> dict[str, Any]:
    """Return what a timing of these candidates holds for."""
    versions = runtime_versions()
    return {
        'recipe': RECIPE,
        'hcat_ros': __version__,
        'processor': processor(),
        'processors': usable_processors(),
        'gpu': gpu() if 'onnxruntime-gpu' in versions else '',
        'threads': threads,
        'versions': versions,
        'candidates': [list(candidate) for candidate in candidates],
        'files': card.sha256,
    }


def timing_path(key: dict[str, Any]) -> Path:
    """Return where the entry of this key is, or will be."""
    return cache_folder() / 'timings' / f'{digest(key)}.json'


def read_timing(key: dict[str, Any]) -> Timing | None:
    """Return the entry of this key, None if there is none that can be used."""
    path = timing_path(key)
    try:
        with path.open('rb') as file:
            content = json.loads(file.read(LARGEST))
        if content['key'] != key:
            raise ValueError('it was made for another machine, version or model')
        ranking = [
            Timed(Candidate(str(engine), str(precision)), str(version), float(milliseconds))
            for engine, precision, version, milliseconds in content['ranking']
        ]
        known = {tuple(candidate) for candidate in key['candidates']}
        if not ranking or not {timed.candidate for timed in ranking} <= known:
            raise ValueError('its ranking is empty or names other candidates')
        if not all(math.isfinite(timed.milliseconds) for timed in ranking):
            raise ValueError('its times are no numbers')
        return Timing(ranking, str(content['day'])[:10])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        LOG.debug('%s is not used (%s: %s)', path, type(error).__name__, error)
        return None


def write_timing(key: dict[str, Any], ranking: Sequence[Timed]) -> Timing:
    """Store a ranking, the fastest first, and return it as an entry."""
    path, day = timing_path(key), datetime.now(timezone.utc).date().isoformat()
    rows = [[*timed.candidate, timed.version, round(timed.milliseconds, 3)] for timed in ranking]
    content = {'key': key, 'ranking': rows, 'day': day}
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_text(path, json.dumps(content, indent=1))
    except OSError as error:
        LOG.debug('cannot write %s (%s); the next start times again', path, error)
    return Timing(list(ranking), day)
