# SPDX-License-Identifier: Apache-2.0
"""Reads training images, caches decoded images and counts unreadable images."""

from __future__ import annotations

import multiprocessing
import warnings
from collections import OrderedDict
from pathlib import Path

from hcat_ros.files.pictures import AS_STORED, UNCHANGED, read_picture
from hcat_ros.tracking.encodings import Image


class ImageCache:
    """Reads images as BGR or BGRA and keeps the most recently used, up to a limit of bytes."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._unreadable = multiprocessing.Value('q', 0)  # shared with the loader's processes
        self._images: OrderedDict[tuple[Path, bool], Image] = OrderedDict()
        self._bytes = 0

    @property
    def unreadable(self) -> int:
        """Number of failed reads of an image, in this process and the processes it started."""
        return int(self._unreadable.value)

    def read(self, path: Path, alpha: bool = False) -> Image | None:
        """Return the image (H, W, 3), with `alpha` (H, W, 4).

        If it is unreadable, warn, count it and return None.
        """
        key = (path, alpha)
        if key in self._images:
            self._images.move_to_end(key)
            return self._images[key]
        try:
            image = read_picture(path, UNCHANGED if alpha else AS_STORED)
            if alpha and image.shape[2:] != (4,):
                raise ValueError(f'{path} has no alpha channel')
        except (OSError, ValueError) as error:
            with self._unreadable.get_lock():
                self._unreadable.value += 1
            warnings.warn(f'skipped: {error}', stacklevel=2)
            return None
        self._images[key] = image
        self._bytes += image.nbytes
        while self._bytes > self.max_bytes:
            self._bytes -= self._images.popitem(last=False)[1].nbytes
        return image
