# SPDX-License-Identifier: Apache-2.0
"""Frames from a video file, a folder of images or a camera, by OpenCV."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from hcat_ros.tracking.encodings import READ_COLOUR, Image

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
DEFAULT_FPS = 30.0


@dataclass(frozen=True)
class Frame:
    """One frame."""

    index: int
    time: float
    """Seconds since the first frame, by the source's own rate."""
    image: Image
    """BGR, (H, W, 3)."""


class FrameSource:
    """Opens a video file, a folder of images (in natural order) or a camera, and yields frames.

    source: a path, or for a camera its number or device, '0' or '/dev/video0'. fps: overrides
    the rate that the file states; folders state none and have `DEFAULT_FPS`. start, count: the
    first frame and how many, of a file or folder; count 0 for all.

    Raises FileNotFoundError or ValueError, naming the source, for what cannot be opened.
    """

    def __init__(self, source: str, fps: float = 0.0, start: int = 0, count: int = 0) -> None:
        if fps < 0 or start < 0 or count < 0:
            raise ValueError(f'fps {fps:g}, start {start}, count {count}: expected 0 or more')
        self.source = source
        self.is_camera = bool(re.fullmatch(r'\d+|/dev/video\d+', source))
        self._start = start
        self._images: list[Path] = []
        self._capture: cv2.VideoCapture | None = None
        path = Path(source).expanduser()
        if not self.is_camera and not path.exists():
            raise FileNotFoundError(f'no video, image folder or camera {source}')
        stated, total = DEFAULT_FPS, 0
        if path.is_dir():
            self._images = image_files(path)
            total = len(self._images)
            if total == 0:
                raise ValueError(f'{source} holds no images ({", ".join(IMAGE_SUFFIXES)})')
        else:
            self._capture = cv2.VideoCapture(int(source) if source.isdigit() else str(path))
            if not self._capture.isOpened():
                raise ValueError(f'OpenCV cannot open {source} as a video or camera')
            stated = self._capture.get(cv2.CAP_PROP_FPS)
            if not self.is_camera:
                total = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        if total and start >= total:
            raise ValueError(f'{source} has {total} frames, none at {start}')
        # Cameras and some files state 0 or nonsense.
        self.fps = fps or (stated if 0 < stated <= 1000 else DEFAULT_FPS)
        self.count = min(count or total, total - start) if total else count
        """Frames that will come, 0 if unknown."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames from the start; a file or folder can be iterated again.

        Raises ValueError for an image that cannot be read.
        """
        if self._capture is not None and not self.is_camera:
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            for _ in range(self._start):  # exact in every container, unlike seeking
                self._capture.grab()
        index = 0
        while not self.count or index < self.count:
            image = self._read(index)
            if image is None:
                return
            yield Frame(index, index / self.fps, image)
            index += 1

    def _read(self, index: int) -> Image | None:
        if self._capture is not None:
            found, image = self._capture.read()
            return np.asarray(image, np.uint8) if found else None
        path = self._images[self._start + index]
        read = cv2.imread(str(path), READ_COLOUR)
        if read is None:
            raise ValueError(f'{path} is not a readable image')
        return np.asarray(read, np.uint8)

    def close(self) -> None:
        """Release the file or camera."""
        if self._capture is not None:
            self._capture.release()


def image_files(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order: 2.png before 10.png."""

    def key(path: Path) -> list[tuple[str, int]]:
        return [(text, int(part or 0)) for text, part in re.findall(r'(\D*)(\d*)', path.name)]

    return sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES), key=key)
