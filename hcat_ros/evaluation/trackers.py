# SPDX-License-Identifier: Apache-2.0
"""The trackers that can be evaluated: ours, OpenCV's, and a box that never moves.

Each is named by a text such as `hcat_base`, `hcat_base:openvino:int8`, `opencv:csrt`,
`opencv:nano:BACKBONE:HEAD` or `still`.
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
from hcat_ros.engines import ENGINES, check_threads, load_engine
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
"""Fields of OpenCV's parameters that hold file names, by tracker."""


class SingleObjectTracker(Protocol):
    """Follows one target through BGR frames; another `init` starts on another target."""

    def init(self, frame: Image, box: ArrayLike) -> None:
        """Start on the target in a box x, y, w, h of this frame."""

    def update(self, frame: Image) -> Track:
        """Find the target in the next frame."""


MakeTracker = Callable[[], SingleObjectTracker]


class TrackerSpec(Protocol):
    """Describes a tracker to be loaded; small, so that it can be passed to worker processes."""

    @property
    def title(self) -> str:
        """Name for tables and folders."""

    def load(self, threads: int) -> tuple[MakeTracker, dict[str, Any]]:
        """Load the tracker, once per process. threads: to run with; 0: the tracker's own choice.

        Returns a function that makes a tracker for a sequence, and a description of what was
        loaded. Raises ValueError, EngineError, ModelError.
        """

    def resolve(self, loaded: dict[str, Any]) -> TrackerSpec:
        """Return this spec with the choices of `load`, given its description, made explicit."""


@dataclass(frozen=True)
class HcatSpec:
    """A model of ours in an engine."""

    model: str
    """Name or folder of the model."""
    engine: str = 'auto'
    precision: str = 'auto'
    changes: tuple[tuple[str, float], ...] = ()
    """Fields of `TrackerConfig` that differ from the model card."""

    @property
    def title(self) -> str:
        """Name of the model, and all options that differ from the defaults."""
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
    """A box that never moves: the baseline that shows what other scores are worth."""

    title: str = field(default=STILL, init=False)

    def load(self, threads: int) -> tuple[MakeTracker, dict[str, Any]]:
        """See `TrackerSpec`."""
        return StillTracker, {}

    def resolve(self, loaded: dict[str, Any]) -> StillSpec:
        """See `TrackerSpec`."""
        return self


class StillTracker:
    """Always reports the box that it was given."""

    def init(self, frame: Image, box: ArrayLike) -> None:
        """Keep the box."""
        self._box = Box(*np.asarray(box, np.float64).tolist())

    def update(self, frame: Image) -> Track:
        """Return the kept box."""
        return Track(self._box, float('nan'), TargetState.TRACKING)


@dataclass(frozen=True)
class OpenCvSpec:
    """A tracker of OpenCV's Python module, with its default parameters."""

    name: str
    """Name as in cv2.Tracker<name>_create; its case does not matter."""
    files: tuple[str, ...] = ()
    """Files for the fields in `FILES`."""

    @property
    def title(self) -> str:
        """Title such as 'OpenCV CSRT'."""
        return f'OpenCV {opencv_trackers().get(self.name.lower(), self.name)}'

    def load(self, threads: int) -> tuple[MakeTracker, dict[str, Any]]:
        """See `TrackerSpec`."""
        available = opencv_trackers()
        if self.name.lower() not in available:
            raise ValueError(
                f"no tracker '{self.name}' in OpenCV {cv2.__version__}: it has "
                f'{", ".join(sorted(available))}; CSRT and KCF come with '
                'opencv-contrib-python-headless'
            )
        check_threads(threads)
        if threads:
            cv2.setNumThreads(threads)
        name = available[self.name.lower()]
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

        make()  # report unreadable files before the evaluation starts
        hashes = [
            (Path(file).name, hashlib.sha256(read_bytes(Path(file))).hexdigest())
            for file in self.files
        ]
        return make, {'OpenCV': cv2.__version__, 'files': hashes}

    def resolve(self, loaded: dict[str, Any]) -> OpenCvSpec:
        """See `TrackerSpec`."""
        return self


class OpenCvTracker:
    """One of OpenCV's trackers. When it reports a failure, its last box is returned as lost."""

    def __init__(self, tracker: Any, title: str = 'OpenCV') -> None:
        """title: name of the tracker in error messages."""
        self._tracker, self._title = tracker, title
        self._box = Box(0.0, 0.0, 0.0, 0.0)

    def init(self, frame: Image, box: ArrayLike) -> None:
        """Start on a box rounded to whole pixels. Raises ValueError if OpenCV refuses it."""
        x, y, w, h = (round(float(value)) for value in np.asarray(box, np.float64))
        self._box = Box(*np.asarray(box, np.float64).tolist())
        try:
            self._tracker.init(frame, (x, y, max(w, 1), max(h, 1)))
        except cv2.error as error:  # MIL refuses a box over the image's edge
            raise ValueError(
                f'{self._title} cannot start from the box {x} {y} {w} {h} in an image of '
                f'{frame.shape[1]}x{frame.shape[0]}: {_one_line(error)}'
            ) from None

    def update(self, frame: Image) -> Track:
        """Find the target in the next frame."""
        try:
            found, box = self._tracker.update(frame)
        except cv2.error:  # some raise when the target has left the frame
            found = False
        if not found:
            return Track(self._box, 0.0, TargetState.LOST)
        self._box = Box(*map(float, box))
        # Not all trackers have a score: some lack the method, and OpenCV 5's MIL returns -1.
        score = getattr(self._tracker, 'getTrackingScore', lambda: -1.0)()
        return Track(self._box, score if score >= 0 else float('nan'), TargetState.TRACKING)


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split())


def opencv_trackers() -> dict[str, str]:
    """Return the trackers of this OpenCV, as lower-case name to name in cv2."""
    begin, end = 'Tracker', '_create'
    names = [
        name[len(begin) : -len(end)]
        for name in dir(cv2)
        if name.startswith(begin) and name.endswith(end)
    ]
    # `OpenCvSpec.load` needs a class of parameters, which some trackers lack.
    return {name.lower(): name for name in names if hasattr(cv2, f'{begin}{name}_Params')}


def parse_changes(texts: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Parse NAME=VALUE texts into `HcatSpec.changes`. Raises ValueError."""
    defaults = TrackerConfig()
    names = [item.name for item in fields(defaults)]
    changes = []
    for text in texts:
        name, _, value = text.partition('=')
        if name not in names:
            raise ValueError(
                f"setting '{text}': expected NAME=VALUE, NAME one of {', '.join(names)}"
            )
        kind = type(getattr(defaults, name))
        try:
            changes.append((name, kind(value)))
        except ValueError:
            raise ValueError(
                f"setting '{text}': expected a {'whole ' * (kind is int)}number"
            ) from None
    TrackerConfig(**dict(changes))  # raises ValueError for a value out of range
    return tuple(changes)


def parse_tracker(text: str) -> TrackerSpec:
    """Parse the text that names a tracker; see the module. Raises ValueError for other texts."""
    kind, *parts = text.split(':')
    if not kind or not all(parts):
        raise ValueError(f"tracker '{text}': a part between colons is empty")
    if kind == STILL and not parts:
        return StillSpec()
    if kind == OPENCV:
        if not parts:
            raise ValueError(
                f"tracker '{text}': expected {OPENCV}:NAME, NAME one of "
                f'{", ".join(opencv_trackers())}'
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
