# SPDX-License-Identifier: Apache-2.0
"""Reads the result files of other trackers and writes the archives that benchmark servers take."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcat_ros.evaluation.annotation_files import parse_number, read_table
from hcat_ros.evaluation.image_clip import Clip
from hcat_ros.evaluation.results import SequenceResult, read_result, slug
from hcat_ros.files import read_text, whole_file

RESULT_FILES = ('{0}.csv', '{0}.txt', '{0}/{0}_001.txt')
"""Possible files of a sequence's boxes in a folder of results."""
TIME_FILES = ('times/{0}_time.txt', '{0}_time.txt', '{0}/{0}_time.txt')
"""Possible files of a sequence's times, s."""


def read_boxes(folder: Path, clip_name: str, count: int) -> SequenceResult:
    """Return a tracker's answers for a clip from a folder of results.

    The function looks for <name>.csv, which `results.write_result` writes, then for boxes x y w h
    in <name>.txt (OTB, TrackingNet and most others) and <name>/<name>_001.txt (GOT-10k), separated
    by commas, tabs or spaces; then for the same files with the `slug` of the name. Times in seconds
    are read from <name>_time.txt beside them or in times/; if that file cannot be used, a warning
    says so. A row that is not finite counts as lost and without a box (NaN). count: expected number
    of rows, including the first frame.

    Raises FileNotFoundError; ValueError, naming the file, if it cannot be read or has another
    number of rows.
    """
    names = [clip_name]
    if target := re.fullmatch(r'(.+)\.(\d)', clip_name):  # one of two targets of OTB
        names += [f'{target[1]}{sign}{target[2]}' for sign in '-_']
    if slug(clip_name) != clip_name:  # the file name in `hcat evaluate --out`
        names.append(slug(clip_name))
    places = [(name, form.format(name)) for name in names for form in RESULT_FILES]
    found = next((place for place in places if (folder / place[1]).is_file()), None)
    if found is None:
        looked_for = ', '.join(file for _, file in places)
        raise FileNotFoundError(f'{folder} has no result of {clip_name}: looked for {looked_for}')
    name, path = found[0], folder / found[1]
    if path.suffix == '.csv':
        result = read_result(path)
        _check_rows(path, len(result.boxes), count)
        return result
    boxes = _read_regions(path)
    _check_rows(path, len(boxes), count)
    lost = np.array(~np.isfinite(boxes).all(axis=1), np.bool_)
    seconds = _seconds(folder, name, count)
    # NaN, because a box of zeros lies in the corner, and its centre may be near the true one.
    return SequenceResult(
        np.where(lost[:, None], np.nan, boxes), np.full(count, np.nan), lost, seconds
    )


def _read_regions(path: Path) -> NDArray[np.float64]:
    """Return the boxes of a file, (n, 4); NaN for VOT's codes 1 (start), 2 (failure), 0 (skip)."""
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        words = re.split(r'[,;\s]+', line.strip().strip(',;'))
        if words == [''] or words[0].startswith('#'):
            continue
        if len(words) == 1 and words[0] in ('0', '1', '2'):
            words = ['nan'] * 4
        try:
            row = [parse_number(word) for word in words]
        except ValueError as error:
            raise ValueError(f'{path}, line {number}: {error}; expected x y w h') from None
        if len(row) != 4:
            raise ValueError(f'{path}, line {number}: expected x y w h, got {len(row)} numbers')
        rows.append(row)
    return np.array(rows, np.float64).reshape(-1, 4)


def _seconds(folder: Path, name: str, count: int) -> NDArray[np.float64]:
    """Return the times of a sequence; NaN, with a warning, if their file cannot be used."""
    unknown = np.full(count, np.nan)
    paths = (folder / form.format(name) for form in TIME_FILES)
    path = next(filter(Path.is_file, paths), None)
    if path is None:
        return unknown
    try:
        times = read_table(path)
        _check_rows(path, len(times), count)
    except (OSError, ValueError) as error:  # the boxes are scored without it
        warnings.warn(f'{error}; the speed on {name} is not known', stacklevel=2)
        return unknown
    seconds = times.reshape(count, -1)[:, 0]  # one column per repetition
    return np.where(np.isfinite(seconds) & (seconds > 0), seconds, np.nan)


def _check_rows(path: Path, rows: int, frames: int) -> None:
    if rows != frames:
        raise ValueError(f'{path} has {rows} rows for {frames} frames')


def find_test_split(layout: str, root: Path) -> Path:
    """Return the folder of the sequences that a benchmark's server scores.

    It is <root>/test or <root>/TEST if that exists, otherwise `root` if it is itself a test split.
    Raises ValueError for a layout without a server and for a data set without a test split.
    """
    _check_layout(layout)
    name = TEST_SPLITS[layout]
    if (root / name).is_dir():
        return root / name
    if name in (root.name, root.resolve().name) or any(root.glob('GOT-10k_Test*')):
        return root
    raise ValueError(
        f'--submission: no folder {root / name} with the sequences that the server of {layout} '
        'scores; name the folder of the whole benchmark, or that of its test split'
    )


def _check_layout(layout: str) -> None:
    if layout not in SUBMISSIONS:
        raise ValueError(
            f"'{layout}' has no server to send results to; these have: {', '.join(SUBMISSIONS)}"
        )


def write_submission(
    layout: str,
    clips: Sequence[Clip],
    results: Sequence[SequenceResult | None],
    path: Path,
) -> None:
    """Write the zip file that a benchmark's server takes; an error leaves no incomplete file.

    layout: one of `SUBMISSIONS`. Equal results give equal files, byte for byte.

    Raises ValueError for a layout without a server, for two clips of the same name and for a clip
    without a box for every frame; OSError.
    """
    _check_layout(layout)
    files: dict[str, str] = {}
    for clip, result in zip(clips, results, strict=True):
        if result is None or len(result.boxes) != len(clip.images):
            count = 0 if result is None else len(result.boxes)
            raise ValueError(f'{clip.name}: {count} boxes for {len(clip.images)} frames')
        if not np.isfinite(result.boxes).all():
            raise ValueError(f'{clip.name}: the box of a frame is not finite')
        clip_files = SUBMISSIONS[layout](clip.name, result)
        if files.keys() & clip_files.keys():
            raise ValueError(f'two clips are called {clip.name}')
        files.update(clip_files)
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        whole_file(path) as partial,
        zipfile.ZipFile(partial, 'w', zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, text in sorted(files.items()):
            entry = zipfile.ZipInfo(name)  # dated 1980: equal results, equal files
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, text)


def _got10k(name: str, result: SequenceResult) -> dict[str, str]:
    """<name>/<name>_001.txt and <name>_time.txt, as the benchmark's toolkit writes them."""
    return {
        f'{name}/{name}_001.txt': _lines(result.boxes, '%.3f'),
        f'{name}/{name}_time.txt': _lines(result.seconds[:, None], '%.8f'),
    }


def _trackingnet(name: str, result: SequenceResult) -> dict[str, str]:
    """<name>.txt, without a folder."""
    return {f'{name}.txt': _lines(result.boxes, '%.3f')}


def _lines(table: NDArray[np.float64], form: str) -> str:
    return ''.join(','.join(form % value for value in row) + '\n' for row in table)


TEST_SPLITS = {'got10k': 'test', 'trackingnet': 'TEST'}
"""Folder of the sequences that a server scores, by layout."""
SUBMISSIONS: dict[str, Callable[[str, SequenceResult], dict[str, str]]] = {
    'got10k': _got10k,
    'trackingnet': _trackingnet,
}
"""Functions that return the files of a clip (text by name), by layout of a benchmark that scores on
a server."""
