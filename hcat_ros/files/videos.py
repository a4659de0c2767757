# SPDX-License-Identifier: Apache-2.0
"""Writes videos with OpenCV and checks that the written file can be read."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hcat_ros.files.reading import check_name, printable
from hcat_ros.files.writing import whole_file

CODECS = {'.mp4': 'mp4v', '.mov': 'mp4v', '.mkv': 'mp4v', '.avi': 'MJPG'}
FULL = 1 << 20
"""Free bytes below which a file system counts as full."""


class VideoWriter:
    """Writes BGR frames (H, W, 3); the first frame sets the size of the video.

    Frames of another size are scaled to fit, with black borders; `fitted` counts them. The codecs
    cannot store odd sides, so that such a frame gets a copy of its last row or column.
    """

    def __init__(self, path: Path, partial: Path, fps: float) -> None:
        self._path, self._partial, self._fps = path, partial, fps
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self.frames = 0
        self.fitted = 0

    def write(self, image: NDArray[np.uint8]) -> None:
        """Add a frame. Raises OSError if the file cannot be opened."""
        height, width = image.shape[:2]
        if self._writer is None:
            self._size = (width, height)
            self._writer = self._open(width + width % 2, height + height % 2)
        if (width, height) != self._size:
            self.fitted += 1
            image = _fit(image, self._size)
        width, height = self._size
        if width % 2 or height % 2:
            border = (0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            image = np.asarray(cv2.copyMakeBorder(image, *border), np.uint8)
        self._writer.write(image)
        self.frames += 1

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        fourcc = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        # OpenCV makes a decimal fraction of the rate, whose numerator MPEG-4 limits to 65535.
        decimals = 3 if self._fps < 65 else 2 if self._fps < 655 else 1
        fps = round(self._fps, decimals)
        writer = cv2.VideoWriter(str(self._partial), fourcc, fps, (width, height))
        if not writer.isOpened():
            raise self._failure('OpenCV cannot write it; check that it was built with FFmpeg')
        return writer

    def finish(self) -> None:
        """Close the file and check that it can be read. Raises OSError if it is incomplete.

        OpenCV does not report a failed write, for example on a full disk.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        reader = cv2.VideoCapture(str(self._partial))
        try:
            stated = int(reader.get(cv2.CAP_PROP_FRAME_COUNT)) if reader.isOpened() else 0
            # Read the last frame: the index may be complete although frames are missing. The file
            # may have a frame more than counted, if a signal came between writing and counting.
            last = stated >= self.frames and reader.set(cv2.CAP_PROP_POS_FRAMES, stated - 1)
            whole = last and reader.read()[0]
        finally:
            reader.release()
        if not whole:
            raise self._failure(f'incomplete: {stated} frames stated, {self.frames} written')

    def _failure(self, otherwise: str) -> OSError:
        folder = self._partial.parent
        if shutil.disk_usage(folder).free < FULL:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        if not os.access(folder, os.W_OK):
            return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self._path))
        return OSError(f'{self._path}: {otherwise}')

    def close(self) -> None:
        """Release the file without a check."""
        if self._writer is not None:
            self._writer.release()


@contextlib.contextmanager
def whole_video(path: Path, fps: float) -> Iterator[VideoWriter]:
    """Yield a writer; the video appears at `path` when it is complete and can be read.

    Frames that were written before a KeyboardInterrupt are kept. Raises ValueError for an unknown
    suffix; OSError, which names `path`.
    """
    if path.suffix.lower() not in CODECS:
        raise ValueError(f'{printable(path)}: expected a name that ends in {", ".join(CODECS)}')
    check_name(Path(os.path.realpath(path)))  # the folder may be a link
    stopped: KeyboardInterrupt | None = None
    with whole_file(path, suffixed=True) as partial:
        writer = VideoWriter(path, partial, fps)
        try:
            yield writer
        except KeyboardInterrupt as interruption:
            stopped = interruption
        except BaseException:
            writer.close()
            raise
        writer.finish()
    if stopped is not None:
        raise stopped


def _fit(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the image scaled to fit a size (width, height), in proportion, with black borders."""
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0])
    width, height = (max(1, round(scale * side)) for side in (image.shape[1], image.shape[0]))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    canvas[top : top + height, left : left + width] = cv2.resize(
        image, (width, height), interpolation=cv2.INTER_AREA
    )
    return canvas
