# SPDX-License-Identifier: Apache-2.0
"""Evaluates trackers on a data set; an interrupted evaluation resumes from its folder."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hcat_ros import __version__
from hcat_ros.evaluation.clips import ONE_FRAME, Clip
from hcat_ros.evaluation.passes import LeftOut, PassTask, resolve_tracker, try_passes
from hcat_ros.evaluation.protocols import Protocol, score_run
from hcat_ros.evaluation.realtime import Latency, RealTimeRule
from hcat_ros.evaluation.result_files import read_boxes
from hcat_ros.evaluation.results import SequenceResult, slug
from hcat_ros.evaluation.scored_run import RealTime, Run
from hcat_ros.evaluation.trackers import TrackerSpec
from hcat_ros.files import load_json, shown, write_text
from hcat_ros.files.pictures import file_size

RUN_FILE = 'run.json'
SUFFICIENT_SHARE = 0.95
"""An update rate is sufficient if the real-time score is at least this share of the offline one."""
FRAMES_PER_UPDATE = (1.1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 16, 20, 30)
"""Frame intervals per update that are tried in turn to find the smallest sufficient rate."""

Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]
"""Wraps results with a progress bar: (results, total, title)."""


@dataclass(frozen=True)
class Entry:
    """A tracker to evaluate, or a folder of results that another program wrote."""

    title: str
    tracker: TrackerSpec | Path
    configuration: dict[str, Any] = field(default_factory=dict)
    """Configuration of the tracker as it was loaded."""


@dataclass(frozen=True)
class Evaluation:
    """The settings of an evaluation."""

    protocol: Protocol
    clips: Sequence[Clip]
    data: Path
    """Folder of the data set. The report shows its name; results kept for another folder are
    refused."""
    folder: Path
    """Folder in which results are kept."""
    jobs: int = 1
    threads: int = 1
    """Threads of each process's tracker; 0: its own choice."""
    real_time: RealTimeRule | None = None
    """Rules of a real-time pass that follows the offline pass; None: no such pass."""
    least_rate: bool = False
    """Whether to find the smallest sufficient update rate at the fps of `real_time`; its latency is
    ignored. The result is fps itself if no smaller rate suffices."""
    left_out: Sequence[str] = ()
    """Parts of the data set that could not be read, a line each."""
    restart: bool = False
    """Whether to delete all kept results of each tracker and start over."""
    command: Sequence[str] = ()
    """Words of a command line that repeats the evaluation, for the report."""
    initialise: Callable[[], None] | None = None
    """Called once in the worker process that first loads a tracker, to show its log there."""

    def __post_init__(self) -> None:
        """Raise ValueError for two sequences whose results would be kept in one file."""
        names: dict[str, Clip] = {}
        for clip in self.clips:
            other = names.setdefault(slug(clip.name), clip)
            if other is not clip:
                raise ValueError(
                    f"the sequences '{other.name}' ({other.images[0].parent}) and '{clip.name}' "
                    f'({clip.images[0].parent}) would share one result file, {slug(clip.name)}.csv;'
                    ' rename one of them, or evaluate them into two folders (--out)'
                )

    def settle(self, entry: Entry) -> Entry:
        """Load an entry's tracker once, and return it with its engine, precision and versions.

        The entry's folder is prepared; with `restart`, its kept results are deleted. Raises
        ValueError for a folder that holds other results; OSError, EngineError, ModelError.
        """
        if isinstance(entry.tracker, Path):
            return replace(entry, configuration={'tracker': {'results': entry.tracker.name}})
        tracker, description = resolve_tracker(entry.tracker, self.threads, self.initialise)
        configuration = {'tracker': description, 'threads': self.threads}
        # Only run.json needs these two; the report shows the data and the version elsewhere.
        compared = {'data': str(self.data.resolve()), 'hcat_ros': __version__}
        self._prepare_folder(self.folder / slug(entry.title), configuration | compared)
        return Entry(entry.title, tracker, configuration)

    def try_answers(self, entry: Entry, progress: Progress) -> list[SequenceResult | LeftOut]:
        """Return a settled entry's answers for each clip, or why there are none.

        Raises ValueError for kept results that do not fit; OSError, EngineError.
        """
        if not isinstance(entry.tracker, Path):
            return self._results(entry, entry.tracker, 'offline', None, progress)
        found: list[SequenceResult | LeftOut] = []
        for clip in self.clips:
            try:
                count = len(clip.images) - int(clip.visible[0])
                found.append(read_boxes(entry.tracker, clip.name, count))
            except (OSError, ValueError) as error:
                found.append(LeftOut(str(error)))
        return found

    def run(self, entry: Entry, progress: Progress) -> Run:
        """Evaluate a settled entry on all usable sequences; `Run.remarks` names the others.

        Raises OSError, EngineError; ValueError if no sequence can be scored.
        """
        scorable = [clip for clip in self.clips if len(clip.visible) > 1]
        found = replace(self, clips=scorable).try_answers(entry, progress)
        kept, left_out = [], [*self.left_out]
        left_out += [f'{clip.name}: {ONE_FRAME}' for clip in self.clips if len(clip.visible) <= 1]
        for clip, answer in zip(scorable, found):
            if isinstance(answer, LeftOut):
                left_out.append(f'{clip.name}: {answer.reason}')
                continue
            try:
                frame_size(clip)
            except (OSError, ValueError) as error:  # results were found, but not the images
                left_out.append(f'{clip.name}: {error}')
                continue
            kept.append((clip, answer))
        if not kept:
            raise ValueError(f'{entry.title}: no sequence can be scored; {"; ".join(left_out)}')
        usable = replace(self, clips=[clip for clip, _ in kept])
        run = usable.score_results(entry, [answer for _, answer in kept])
        if left_out:
            total = len(kept) + len(left_out)
            remark = f'{len(kept)} of {total} sequences; left out: {"; ".join(left_out)}'
            run = replace(run, remarks=(remark,))
        if self.real_time is None or isinstance(entry.tracker, Path):
            return run
        real = usable.run_real_time(entry, entry.tracker, self.real_time, run, progress)
        return replace(run, real_time=real)

    def _results(
        self,
        entry: Entry,
        tracker: TrackerSpec,
        name: str,
        rule: RealTimeRule | None,
        progress: Progress,
    ) -> list[SequenceResult | LeftOut]:
        folder = self.folder / slug(entry.title) / name
        tasks = [
            PassTask(tracker, clip, 0, rule, self.threads, folder / f'{slug(clip.name)}.csv')
            for clip in self.clips
        ]
        running = try_passes(tasks, self.jobs)
        what = entry.title if rule is None else f'{entry.title}, {rule_name(rule)}'
        return list(progress(running, len(tasks), what))

    def _real_time_results(
        self, entry: Entry, tracker: TrackerSpec, rule: RealTimeRule, progress: Progress
    ) -> list[SequenceResult]:
        """Return the results in real time. Raises ValueError if a sequence could not be run."""
        found = self._results(entry, tracker, rule_name(rule), rule, progress)
        for answer in found:
            if isinstance(answer, LeftOut):
                raise ValueError(answer.reason)
        return [answer for answer in found if not isinstance(answer, LeftOut)]

    def run_real_time(
        self,
        entry: Entry,
        tracker: TrackerSpec,
        rule: RealTimeRule,
        offline: Run,
        progress: Progress,
    ) -> RealTime:
        """Run a tracker in real time, so that it skips the frames that come while it is busy.

        offline: the same tracker's run on every frame.
        """

        def headline(results: Sequence[SequenceResult]) -> float:
            return self.score_results(entry, results).score.measures[measure]

        measure = self.protocol.measures[0]
        before = offline.score.measures[measure]
        results = self._real_time_results(entry, tracker, rule, progress)
        later = np.concatenate([result.seconds[1:] for result in results])
        least = rule.fps if self.least_rate else None
        for frames in FRAMES_PER_UPDATE if self.least_rate else ():
            slower = replace(rule, latency=Latency(frames / rule.fps))
            answers = self._real_time_results(entry, tracker, slower, progress)
            if headline(answers) < SUFFICIENT_SHARE * before:
                break
            least = rule.fps / frames
        skipped = float(np.isnan(later).mean())
        return RealTime(rule.fps, before, headline(results), skipped, least)

    def score_results(self, entry: Entry, results: Sequence[SequenceResult]) -> Run:
        """Score an entry's results, one for each clip."""
        score = score_run(self.protocol, self.clips, results, self._sizes())
        whole = {
            **entry.configuration,
            'data': {'folder': self.data.resolve().name, 'sequences': len(self.clips)},
            'protocol': self.protocol.title,
            **({'real time': real_time_words(self.real_time)} if self.real_time else {}),
            'versions': versions(),
            'machine': machine(),
            **({'command': list(self.command)} if self.command else {}),
        }
        return Run(entry.title, whole, list(self.clips), list(results), score)

    def _sizes(self) -> list[tuple[int, int]]:
        return [frame_size(clip) for clip in self.clips]

    def _prepare_folder(self, home: Path, configuration: dict[str, Any]) -> None:
        """Write run.json into a folder for results, which `restart` empties first.

        Raises ValueError if it holds results that differ in a part of the configuration (tracker,
        threads, data folder, version of hcat_ros) or in a sequence's number of images, or results
        without a run.json. Keys that an older run.json lacks are neither compared nor added;
        `passes` still refuses results that started from other boxes.
        """
        wanted = json.loads(json.dumps(configuration))
        wanted['sequences'] = {clip.name: len(clip.images) for clip in self.clips}
        path, kept = home / RUN_FILE, list(home.glob('*/*.csv'))
        if self.restart:
            for old in kept:
                old.unlink()
        elif path.is_file():
            found = _load_run_file(path)
            if differences := _describe_differences(found, wanted):
                raise ValueError(
                    f'{home} holds results of another configuration ({", ".join(differences)} '
                    'differ); use another --out, or --restart to delete them'
                )
            # Sequences may be added to a run.
            wanted['sequences'] = {**found['sequences'], **wanted['sequences']}
            if kept:
                wanted = {key: value for key, value in wanted.items() if key in found}
        elif kept:
            raise ValueError(
                f'{home} holds {len(kept)} results but no {RUN_FILE} that describes them; use '
                'another --out, or --restart to delete them'
            )
        home.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(wanted, indent=2))


def _load_run_file(path: Path) -> dict[str, Any]:
    """Return the content of a run.json. Raises OSError; ValueError, naming the file."""
    try:
        found = load_json(path)
    except ValueError as error:
        raise ValueError(f'{path} is damaged ({error}); use --restart') from error
    if not isinstance(found, dict) or not isinstance(found.setdefault('sequences', {}), dict):
        raise ValueError(
            f'{path} is damaged (expected an object with sequences, got {shown(found)}); use '
            '--restart'
        )
    return found


def _describe_differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return the differences between the run.json of kept results and the new one, in words."""
    differences = [key for key in ('tracker', 'threads') if found.get(key) != wanted[key]]
    differences += [
        f'{key} {found[key]} and now {wanted[key]}'
        for key in ('data', 'hcat_ros')
        if found.get(key, wanted[key]) != wanted[key]
    ]
    return differences + [
        name
        for name, count in found['sequences'].items()
        if wanted['sequences'].get(name, count) != count
    ]


_size_cache: dict[Path, tuple[int, int]] = {}


def frame_size(clip: Clip) -> tuple[int, int]:
    """Return (width, height) of a clip's first image, pixels. Raises OSError, ValueError."""
    path = clip.images[int(clip.visible[0])]
    if path not in _size_cache:
        _size_cache[path] = file_size(path)
    return _size_cache[path]


def rule_name(rule: RealTimeRule) -> str:
    """Return a unique folder name for the results of a real-time rule."""
    latency = 'measured'
    if rule.latency:
        latency = '+-'.join(f'{1e3 * value:g}ms' for value in rule.latency)
    predict = '' if rule.predict == 'none' else f'-{rule.predict}'
    permitted = '' if rule.permitted == 1 else f'-permitted-{rule.permitted:g}'
    return f'{rule.fps:g}fps-{latency}{permitted}{predict}'


def real_time_words(rule: RealTimeRule) -> dict[str, Any]:
    """Return a rule in the words of the report."""
    latency: Any = 'measured on this machine'
    if rule.latency:
        latency = {f'{name} [ms]': 1e3 * value for name, value in rule.latency._asdict().items()}
    return {**asdict(rule), 'latency': latency}


def versions() -> dict[str, str]:
    """Return the versions of the packages that the figures depend on."""
    return {
        'hcat_ros': __version__,
        'Python': platform.python_version(),
        'numpy': metadata.version('numpy'),
        'OpenCV': cv2.__version__,
    }


def machine() -> dict[str, str]:
    """Return the names of the processor and the operating system."""
    name = platform.processor()
    try:
        for line in _lines(Path('/proc/cpuinfo')):
            if line.startswith(('model name', 'Model')):
                name = line.split(':', 1)[1].strip()
                break
    except OSError:
        pass
    return {'processor': name or platform.machine(), 'system': platform.platform(terse=True)}


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding='utf-8', errors='replace') as file:
        yield from file
