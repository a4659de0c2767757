# SPDX-License-Identifier: Apache-2.0
"""Views and lessons on disk, with which any backbone can be trained without running a teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hcat_ros.files import whole_file
from hcat_ros.files.pictures import PictureError, decode_picture
from hcat_ros.training.groups import GroupDataset
from hcat_ros.training.kept_groups import (
    KeptGroups,
    Origin,
    claim,
    keep_truth,
    missing_parts,
    part_file,
    part_groups,
    truth_fields,
    write_rows,
)

JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]
if hasattr(cv2, 'IMWRITE_JPEG_SAMPLING_FACTOR'):  # from OpenCV 4.7 on
    JPEG += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]


def write_views(
    folder: Path,
    origin: Origin,
    data: GroupDataset,
    parts: Iterable[int] | None = None,
    progress: Callable[[int], None] = lambda groups: None,
) -> None:
    """Draw groups with their lessons and write them: crops as JPEG, teachers' scores as float16.

    parts: numbers of the parts to write, so that processes can share the work; None writes all
    missing parts. Existing parts are always complete. progress: called with 1 after each group.
    Raises ValueError for a folder of another origin.
    """
    claim(folder, origin)
    missing = missing_parts(folder, origin)
    for number in missing if parts is None else parts:
        groups = part_groups(origin, number)
        rows = np.zeros(len(groups), PackedGroups.fields(origin))
        blob = bytearray()
        for row, index in zip(rows, groups):
            group = data[index]
            bounds = [len(blob)]
            for crop in (*group.templates.numpy(), *group.searches.numpy()):
                blob += cv2.imencode('.jpg', crop[:, :, ::-1], JPEG)[1].tobytes()
                bounds.append(len(blob))
            row['bounds'] = bounds
            keep_truth(row, group)
            progress(1)
        # Write the rows last, because their file marks the part as complete.
        with whole_file(_crops_file(folder, number)) as partial:
            partial.write_bytes(blob)
        write_rows(part_file(folder, number), rows)


class PackedGroups(KeptGroups):
    """Groups of uint8 crops from the files of `write_views`."""

    has_crops = True

    def __init__(self, folder: Path, origin: Origin) -> None:
        super().__init__(folder, origin)
        for part in range(self.parts):
            path = _crops_file(folder, part)
            if not path.is_file() or path.stat().st_size != self.rows(part)['bounds'][-1, -1]:
                raise self._damage(part)

    @staticmethod
    def fields(origin: Origin) -> list[Any]:
        """Return the fields of a group: offsets of its crops in their file, truth and lesson."""
        return [('bounds', '<i8', (2 * origin['views'] + 1,)), *truth_fields(origin)]

    def inputs(self, part: int, row: Any) -> Sequence[NDArray[Any]]:
        """Return templates (V, 128, 128, 3) and search regions (V, 256, 256, 3), uint8 RGB."""
        images, first = [], row['bounds'][0]
        with _crops_file(self.folder, part).open('rb') as file:
            file.seek(first)
            found = file.read(row['bounds'][-1] - first)
        for start, end in pairwise(row['bounds'] - first):
            try:
                image = decode_picture(found[start:end], 'a crop')
            except PictureError:
                raise self._damage(part) from None
            images.append(image[:, :, ::-1])
        views = self.origin['views']
        return np.stack(images[:views]), np.stack(images[views:])

    def _damage(self, part: int) -> ValueError:
        # The file of rows marks the part as complete; without it hcat lessons writes both again.
        crops, rows = _crops_file(self.folder, part), part_file(self.folder, part)
        return ValueError(f'{crops} is damaged; delete {rows.name} and call hcat lessons again')


def _crops_file(folder: Path, part: int) -> Path:
    return part_file(folder, part).with_suffix('.crops')
