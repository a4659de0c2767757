# SPDX-License-Identifier: Apache-2.0
"""Remembers which engine was the fastest on this machine, so that engines are timed only once.

An entry is a JSON file in `cache_folder()` / timings. It is used only if its key is the requested
one: the machine, the versions, the model's files and the candidates. A file that is damaged, stale
or cannot be written is not an error; the engines are timed again.
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
"""Version of how engines are loaded and timed; increasing it makes old entries stale."""
LARGEST = 65536
"""Largest number of bytes read from an entry, which normally has about 2000."""

LOG = logging.getLogger(__name__)


class Timed(NamedTuple):
    """A candidate that passed the self-test, and how fast it was."""

    candidate: Candidate
    version: str
    """Version of the runtime."""
    milliseconds: float
    """Median duration of a search, ms."""

    def __str__(self) -> str:
        engine, precision = self.candidate
        return f'{engine} {self.version} {precision} {self.milliseconds:.1f} ms'


class Timing(NamedTuple):
    """Result of timing the candidates on this machine."""

    ranking: list[Timed]
    """Timed candidates, the fastest first."""
    day: str
    """Date of the timing, UTC, such as 2026-01-31."""


def timing_key(card: ModelCard, candidates: Sequence[Candidate], threads: int) -> dict[str, Any]:
    """Return the key of a timing: everything that its result depends on."""
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
    """Return the path of this key's entry, which need not exist."""
    return cache_folder() / 'timings' / f'{digest(key)}.json'


def read_timing(key: dict[str, Any]) -> Timing | None:
    """Return this key's entry, None if there is no usable one."""
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
            raise ValueError('its times are not finite')
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
        LOG.debug('cannot write %s (%s); the next start times the engines again', path, error)
    return Timing(list(ranking), day)
