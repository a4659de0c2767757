# SPDX-License-Identifier: Apache-2.0
"""The log of a training run: lines of JSON and, if TensorBoard is installed, its events."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hcat_ros.files import read_text, write_text
from hcat_ros.tracking.encodings import Image
from hcat_ros.training.losses import Losses

LOG_FILE = 'log.jsonl'
VALIDATION_FILE = 'validation.jsonl'


class TrainingLog:
    """Writes mean losses every `every` steps, and the results of validations.

    step: the step at which the run starts. Rows of later steps, which an interrupted run may have
    written, are removed.
    """

    def __init__(self, folder: Path, every: int, step: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.every = folder, every
        self._rows: list[list[float]] = []
        for name in (LOG_FILE, VALIDATION_FILE):
            path = folder / name
            if path.is_file():
                kept = [row for row in read_rows(path) if row['step'] <= step]
                write_text(path, ''.join(json.dumps(row) + '\n' for row in kept))
        self._board = _board(folder, step)

    def add(self, step: int, losses: Losses, pairs: float) -> None:
        """Add a step's losses. pairs: pairs trained per second."""
        self._rows.append([*(float(value.detach()) for value in losses), pairs])
        if step % self.every == 0:
            means = np.mean(self._rows, axis=0).round(4).tolist()
            self._rows.clear()
            self._write(LOG_FILE, step, dict(zip((*Losses._fields, 'pairs_per_second'), means)))

    def record_validation(self, step: int, overlaps: dict[str, float]) -> None:
        """Write the overlaps that a validation measured."""
        self._write(VALIDATION_FILE, step, {k: round(v, 4) for k, v in overlaps.items()})

    def best(self) -> float:
        """Return the best mean overlap so far, -1 before the first validation."""
        path = self.folder / VALIDATION_FILE
        means = (row.get('mean') for row in read_rows(path))
        return max((float(mean) for mean in means if isinstance(mean, int | float)), default=-1.0)

    def picture(self, name: str, make: Callable[[], Image]) -> None:
        """Show a BGR picture in TensorBoard; `make` is only called if TensorBoard is installed."""
        if self._board is not None:
            self._board.add_image(name, make()[:, :, ::-1].copy(), dataformats='HWC')

    def close(self) -> None:
        """Flush and close TensorBoard's writer."""
        if self._board is not None:
            self._board.close()

    def _write(self, name: str, step: int, values: dict[str, float]) -> None:
        with (self.folder / name).open('a', encoding='utf-8') as file:
            file.write(json.dumps({'step': step, **values}) + '\n')
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(f'{Path(name).stem}/{key}', value, step)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a log, skipping damaged lines, which a killed process may leave.

    A line without a step counts as damaged. Raises OSError; ValueError that names the file if it is
    not text.
    """
    rows = []
    for line in read_text(path).splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and isinstance(row.get('step'), int):
            rows.append(row)
    return rows


def _board(folder: Path, step: int) -> Any:
    """Return TensorBoard's writer, None if TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / 'tensorboard'), purge_step=step + 1)
