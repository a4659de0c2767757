# SPDX-License-Identifier: Apache-2.0
"""The trackers that can be evaluated, by one line of text: ours, OpenCV's, a box that stays still.

`hcat_base`, `hcat_base:openvino:int8`, `opencv:csrt`, `opencv:nano:BACKBONE:HEAD`, `still`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import ArrayLike

from hcat_ros.boxes import Box
from hcat_ros.engines import ENGINES, load_engine
from hcat_ros.files import read_bytes
from hcat_ros.models import load_model
from hcat_ros.tracking import TargetState, Track, Tracker, TrackerConfig, warm_up
from hcat_ros.tracking.encodings import Image

OPENCV = 'opencv'
STILL = 'still'
FILES = {
    'nano': ('backbone', 'neckhead'),
    'vit': ('net',),
    'dasiamrpn': ('model', 'kernel_cls1', 'kernel_r1'),
}
"""Fields of OpenCV's parameters that name the files of a tracker that has some."""


class SingleObjectTracker(Protocol):
    """Follows one target through BGR frames; a new `init` begins anew."""

    def init(self, frame: Image, box: ArrayLike) -> None:
        """Take the target in a box x, y, w, h of this frame."""

    def update(self, frame: Image) -> Track:
        """Find it in the next frame."""


MakeTracker = Callable[[], SingleObjectTracker]


class TrackerSpec(Protocol):
    """Says which tracker; small, and the same in every process."""

    @property
    def title(self) -> str:
        """A name for tables and folders."""

    def load(self, threads: int) -> tuple[MakeTracker, dict[str, Any]]:
        """Load what it needs, once a process, to run with so many threads (0: its own choice).

        Returns a function that makes a tracker for a sequence, and what was loaded, in words and
        numbers. Raises ValueError, EngineError, ModelError.
        """

    def resolve(self, loaded: dict[str, Any]) -> TrackerSpec:
        """Return what was loaded, so described, with nothing left to be found out again."""


@dataclass(frozen=True)
class HcatSpec:
    """A model of ours in an engine."""

    model: str
    """Name or folder."""
    engine: str = 'auto'
    precision: str = 'auto'
    changes: tuple[tuple[str, float], ...] = ()
    """Fields of `TrackerConfig` that are to differ from the model's card."""

    @property
    def title(self) -> str:
        """The model's name, and what was asked for beyond it."""
        parts = [Path(self.model).name, *(p for p in (self.engine, self.precision) if p != 'auto')]
        return ' '.join([*parts, *(f'{name}={value:g}' for name, value in self.changes)])

    def load(self, threads: int) -> tuple[MakeTracker, dict[str, Any]]:
        """See `TrackerSpec`."""
        model = load_model(self.model)
        config = TrackerConfig(**{**model.card.tracking, **dict(self.changes)})
        engine = load_engine(model, self.engine, self.precision, threads)
        warm_up(engine)
        card = engine.card
        description = {
            'model': card.model,
            'weights': sorted(model.card.sha256.items()),
            'engine': f'{card.runtime} {card.runtime_version}',
            'precision': card.precision,
            'settings': asdict(config),
        }
        return (lambda: Tracker(engine, config)), description

    def resolve(self, loaded: dict[str, Any]) -> HcatSpec:
        """See `TrackerSpec`."""
        return replace(self, engine=loaded['engine'].split()[0], precision=loaded['precision'])


@dataclass(frozen=True)
class StillSpec:
    """A box that never moves: what a score is worth is seen beside its."""

    title: str = field(default=STILL, init=False)

    def load(self, threads: int) -> tuple[MakeTracker, dict[str, Any]]:
        """See `TrackerSpec`."""
        return StillTracker, {}

    def resolve(self, loaded: dict[str, Any]) -> StillSpec:
        """See `TrackerSpec`."""
        return self


class StillTracker:
    """Says that the target is where it was named."""

    def init(self, frame: Image, box: ArrayLike) -> None:
        """Keep the box."""
        self._box = Box(*np.asarray(box, np.float64).tolist())

    def update(self, frame: Image) -> Track:
        """Return it."""
        return Track(self._box, float('nan'), TargetState.TRACKING)


@dataclass(frozen=True)
class OpenCvSpec:
    """A tracker that OpenCV's Python module has, with its own defaults."""

    name: str
    """As in cv2.Tracker<name>_create, in any case."""
    files: tuple[str, ...] = ()
    """Files that `FILES` asks for."""

    @property
    def title(self) -> str:
        """As 'OpenCV CSRT'."""
        return f'OpenCV {opencv_trackers().get(self.name.lower(), self.name)}'

    def load(self, threads: int) -> tuple[MakeTracker, dict[str, Any]]:
        """See `TrackerSpec`."""
        there = opencv_trackers()
        if self.name.lower() not in there:
            raise ValueError(
                f"no tracker '{self.name}' in OpenCV {cv2.__version__}: it has "
                f'{", ".join(sorted(there))}; CSRT and KCF come with opencv-contrib-python-headless'
            )
        if threads:
            cv2.setNumThreads(threads)
        name = there[self.name.lower()]
        needed = FILES.get(self.name.lower(), ())
        if len(self.files) != len(needed):
            expected = ':'.join((OPENCV, self.name, *(part.upper() for part in needed)))
            raise ValueError(f'{OPENCV}:{self.name}: expected {expected}')
        for file in self.files:
            if not Path(file).is_file():
                raise ValueError(f'{OPENCV}:{self.name}: no file {file}')

        def make() -> SingleObjectTracker:
            parameters = getattr(cv2, f'Tracker{name}_Params')()
            for attribute, file in zip(needed, self.files):
                setattr(parameters, attribute, file)
            try:
                tracker = getattr(cv2, f'Tracker{name}_create')(parameters)
            except cv2.error as error:
                raise ValueError(
                    f'{OPENCV}:{self.name}: OpenCV cannot load {", ".join(self.files) or "it"}: '
                    f'{_one_line(error)}; a Git LFS pointer has to be fetched (git lfs pull)'
                ) from None
            return OpenCvTracker(tracker, self.title)

        make()  # files that it cannot read are told of now
        hashes = [
            (Path(file).name, hashlib.sha256(read_bytes(Path(file))).hexdigest())
            for file in self.files
        ]
        return make, {'OpenCV': cv2.__version__, 'files': hashes}

    def resolve(self, loaded: dict[str, Any]) -> OpenCvSpec:
        """See `TrackerSpec`."""
        return self


class OpenCvTracker:
    """One of OpenCV's trackers. Where it says that it failed, the last box stays, as lost."""

    def __init__(self, tracker: Any, title: str = 'OpenCV') -> None:
        """title: the tracker's, for messages."""
        self._tracker, self._title = tracker, title
        self._box = Box(0.0, 0.0, 0.0, 0.0)

    def init(self, frame: Image, box: ArrayLike) -> None:
        """Take the target; OpenCV knows whole pixels only. Raises ValueError if it refuses."""
        x, y, w, h = (round(float(value)) for value in np.asarray(box, np.float64))
        self._box = Box(*np.asarray(box, np.float64).tolist())
        try:
            self._tracker.init(frame, (x, y, max(w, 1), max(h, 1)))
        except cv2.error as error:  # MIL's of a box over the image's edge, for one
            raise ValueError(
                f'{self._title} cannot start from the box {x} {y} {w} {h} in an image of '
                f'{frame.shape[1]}x{frame.shape[0]}: {_one_line(error)}'
            ) from None

    def update(self, frame: Image) -> Track:
        """Find it in the next frame."""
        try:
            found, box = self._tracker.update(frame)
        except cv2.error:  # some raise when the target has left the frame
            found = False
        if not found:
            return Track(self._box, 0.0, TargetState.LOST)
        self._box = Box(*map(float, box))
        # Not all have a score: some are without the method, OpenCV 5's MIL says -1.
        score = getattr(self._tracker, 'getTrackingScore', lambda: -1.0)()
        return Track(self._box, score if score >= 0 else float('nan'), TargetState.TRACKING)


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split())


def opencv_trackers() -> dict[str, str]:
    """Return the trackers of this OpenCV: the name in small letters to that in cv2."""
    begin, end = 'Tracker', '_create'
    names = [
        name[len(begin) : -len(end)]
        for name in dir(cv2)
        if name.startswith(begin) and name.endswith(end)
    ]
    # Deep learning trackers of OpenCV's own choice of files have none to be made by.
    return {name.lower(): name for name in names if hasattr(cv2, f'{begin}{name}_Params')}


def parse_changes(texts: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Return NAME=VALUE texts as `HcatSpec.changes`. Raises ValueError."""
    defaults = TrackerConfig()
    names = [item.name for item in fields(defaults)]
    changes = []
    for text in texts:
        name, _, value = text.partition('=')
        if name not in names:
            raise ValueError(f"setting '{text}': expected NAME=VALUE, of {', '.join(names)}")
        kind = type(getattr(defaults, name))
        try:
            changes.append((name, kind(value)))
        except ValueError:
            raise ValueError(
                f"setting '{text}': expected a {'whole ' * (kind is int)}number"
            ) from None
    TrackerConfig(**dict(changes))  # refuses what is out of range
    return tuple(changes)


def parse_tracker(text: str) -> TrackerSpec:
    """Return what a text says: see the module. Raises ValueError for an empty part."""
    kind, *parts = text.split(':')
    if not kind or not all(parts):
        raise ValueError(f"tracker '{text}': a part between colons is empty")
    if kind == STILL and not parts:
        return StillSpec()
    if kind == OPENCV:
        if not parts:
            raise ValueError(
                f"tracker '{text}': expected {OPENCV}:NAME, of {', '.join(opencv_trackers())}"
            )
        return OpenCvSpec(parts[0], tuple(parts[1:]))
    if len(parts) > 2:
        raise ValueError(
            f"tracker '{text}': expected MODEL, MODEL:ENGINE or MODEL:ENGINE:PRECISION"
        )
    engine, precision = [*parts, 'auto', 'auto'][:2]
    if engine not in ('auto', *ENGINES):
        raise ValueError(f"tracker '{text}': no engine '{engine}'; there are {', '.join(ENGINES)}")
    return HcatSpec(kind, engine, precision)
