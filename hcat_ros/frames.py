# SPDX-License-Identifier: Apache-2.0
"""Reads frames from a video file, a folder of images or a camera with OpenCV."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hcat_ros.files import check_name, describe_stand_in, shown
from hcat_ros.files.pictures import (
    IMAGE_SUFFIXES,
    MAX_IMAGE_PIXELS,
    count_pictures,
    file_size,
    image_files,
    read_picture,
)
from hcat_ros.tracking.encodings import Image

DEFAULT_FPS = 30.0
PATIENCE = 100
"""Number of consecutive failed reads, in addition to the stated frames that remain, after which a
file has ended."""
MOST_FAILURES = 10_000
"""Number of consecutive failed reads after which a file has ended, whatever length it states."""
LEAST_MISSING = 2.5
"""Number of frames above which a gap between two timestamps means that frames are lost; a camera
itself may leave out one or two."""
REGULAR = 0.95
"""Least share of steps of one frame between the timestamps of a video of a constant rate."""
_PTS = getattr(cv2, 'CAP_PROP_PTS', -1)
"""OpenCV's property of a frame's time in the file, in units of 1 / fps; older versions say 0."""


@dataclass(frozen=True)
class Frame:
    """A frame with its number and time."""

    index: int
    """Number of the frame, counted from `start`, which has the index 0. Unreadable frames count."""
    time: float
    """Seconds since the first frame: from the file's timestamps; from `index` for a folder or if
    `fps` was given; from this machine's clock for a camera."""
    image: Image
    """BGR, (H, W, 3)."""


class FrameSource:
    """Opens a video file, a folder of images (in natural order) or a camera, and yields frames.

    source: a path, or for a camera its number or device, '0' or '/dev/video0'. fps: frame rate that
    replaces a file's own timestamps; 0 keeps the timestamps, and means `DEFAULT_FPS` for a folder.
    A camera's frames have the time of their arrival. start: first frame of a file or folder; 0
    for a camera. count: number of frames, unreadable ones included; 0 for all.

    Raises FileNotFoundError or ValueError, naming the source, if it cannot be opened.
    """

    def __init__(self, source: str, fps: float = 0.0, start: int = 0, count: int = 0) -> None:
        if fps < 0 or start < 0 or count < 0:
            raise ValueError(f'fps {fps:g}, start {start}, count {count}: expected 0 or more')
        path = Path(source).expanduser()
        check_name(path)
        self.source = source
        # A folder may be called 0001, as in KITTI.
        is_number = source.isdecimal() and not path.is_dir()
        self.is_camera = is_number or path.is_char_device()
        self._start, self._asked, self._own_times = start, count, not fps
        self._images: list[Path] = []
        self._capture: cv2.VideoCapture | None = None
        self._was_read = False
        # Other containers state only a duration.
        self._is_counted = path.suffix.lower() in ('.mp4', '.mov', '.m4v', '.avi')
        if self.is_camera and start:
            raise ValueError(f'start {start}: expected 0, a camera starts with its next frame')
        if not self.is_camera and not path.exists():
            raise FileNotFoundError(
                f'{source} does not exist; expected a video, an image folder or a camera'
            )
        stated, self._stated = DEFAULT_FPS, 0
        is_picture = False
        if not self.is_camera and path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
            file_size(path)  # raises for a file that is no picture
            # FFmpeg would cut 16 bits to 8 and take a%03d.png for the pattern of other names.
            is_picture = count_pictures(path) == 1
        if path.is_dir() or is_picture:
            self._own_times = False
            self._images = [path] if is_picture else image_files(path)
            self._stated = len(self._images)
            if self._stated == 0:
                raise ValueError(f'{source} holds no images ({", ".join(IMAGE_SUFFIXES)})')
        else:
            self._capture = self._open_capture()
            stated = self._capture.get(cv2.CAP_PROP_FPS)
            if not self.is_camera:
                self._stated = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        if self._images and start >= self._stated:
            raise ValueError(f'{source} has {self._stated} frames, none at {start}')
        # Cameras and some files state 0 or nonsense.
        self._own_fps = stated if 0 < stated <= 1000 else DEFAULT_FPS
        self.fps = fps or self._own_fps
        left = max(0, self._stated - start)
        self.count = min(count or left, left) if left else count
        """Expected number of frames, 0 if unknown. A video may have more frames than it states."""
        self.remarks: list[str] = []
        """Messages about frames that the last pass over the source could not read."""

    def _open_capture(self) -> cv2.VideoCapture:
        path = Path(self.source).expanduser()
        if not self.is_camera and not path.is_file():
            raise ValueError(f'{self.source} is a FIFO, socket or device; expected a video file')
        if path.suffix.lower() in ('.tif', '.tiff', '.webp') and count_pictures(path) > 1:
            raise ValueError(
                f'{self.source} holds several pictures; FFmpeg reads at most the first. Save each '
                'picture as a separate file and give the folder'
            )
        # In a relative path such as 12:30.mp4, FFmpeg takes the part before the colon for a
        # protocol.
        place = int(self.source) if self.source.isdecimal() else str(path.absolute())
        check_name(path.absolute())  # the working directory belongs to it
        capture = cv2.VideoCapture(place)
        if not capture.isOpened():
            if not self.is_camera:
                with path.open('rb') as file:
                    if what := describe_stand_in(file.read(64)):
                        raise ValueError(f'{self.source} {what}')
            raise ValueError(f'OpenCV cannot open {self.source} as a video or camera')
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MAX_IMAGE_PIXELS:
            raise ValueError(
                f'{self.source} has frames of {width} x {height}, more than {MAX_IMAGE_PIXELS} '
                'pixels'
            )
        if (bits := _grey_bits(int(capture.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)))) > 8:
            raise ValueError(
                f'{self.source} is a grey video of {bits} bits; OpenCV keeps only 8, so that a '
                'thermal scene may be black. Scale its values to 8 bits first'
            )
        return capture

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames; a file or folder can be iterated again, from `start` each time.

        Unreadable frames are skipped and reported in `remarks`. Raises ValueError for a folder
        without a readable image, and for a video without a readable frame at or after `start`. If a
        camera sends no frame, nothing is yielded.
        """
        self.remarks = []
        if self._images:
            yield from self._read_folder()
        elif self._capture is not None:
            if self._was_read and not self.is_camera:
                # Open the file again: seeking loses frames of transport streams (H.264: all).
                self._capture.release()
                self._capture = self._open_capture()
            self._was_read = True
            yield from self._read_capture(self._capture)

    def _read_folder(self) -> Iterator[Frame]:
        end = self._start + self.count
        reason: Exception | None = None
        unreadable = 0
        for index, path in enumerate(self._images[self._start : end]):
            try:
                image = read_picture(path)
            except (OSError, ValueError) as error:
                reason = reason or error
                unreadable += 1
                continue
            yield Frame(index, index / self.fps, image)
        if reason is not None and unreadable == self.count:
            raise ValueError(f'{self.source} has no readable image: {reason}')
        if reason is not None:
            self.remarks.append(f'{unreadable} of {self.count} images left out: {reason}')

    def _read_capture(self, capture: cv2.VideoCapture) -> Iterator[Frame]:
        clock = _Clock(self._own_fps)
        began: float | None = None
        index, good, failures = -self._start, 0, 0  # frames before the start have a negative index
        delay = 0.0
        conversion = _Conversion(is_checked=not self.is_camera)
        while not self._asked or index < self._asked:
            found, image = capture.grab(), None
            if found and index + failures >= 0:
                found, image = conversion.retrieve(capture)
            if not found:
                failures += 1
                # The file ends here, unless it states more frames: damaged frames fail one by one.
                left = self._stated - self._start - index
                if self.is_camera or failures > min(max(left, 0) + PATIENCE, MOST_FAILURES):
                    break
                continue
            if failures:
                first = max(index, 0)
                index += failures
                failures = 0
                if index > first:
                    self.remarks.append(f'{index - first} unreadable frames from frame {first} on')
                if self._asked and index >= self._asked:
                    break
            if index < 0 or image is None:
                index += 1
                if not good and conversion.refused > PATIENCE:
                    break
                continue
            now = time.monotonic()
            began = now if began is None else began
            if good == 0:
                delay = (capture.get(_PTS) - self._start - index) / self._own_fps
            stamp = clock.at(capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3, index)
            if self.is_camera:
                stamp = now - began
            elif not self._own_times:
                stamp = index / self.fps
            yield Frame(index, stamp, np.asarray(image, np.uint8))
            index += 1
            good += 1
        if self.is_camera:
            return
        if conversion.refused:
            self._report_interlacing(conversion.refused, good)
        if good == 0 and self._start:
            raise ValueError(f'{self.source} has {self._stated} frames, none at {self._start}')
        if good == 0:
            code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
            codec = shown(code.to_bytes(4, 'little').decode('ascii', 'replace'))
            raise ValueError(
                f'{self.source} has no readable frame ({self._stated} are stated, codec {codec}). '
                'If players show it, OpenCV lacks the codec: ffmpeg -i IN -c:v libx264 OUT.mp4'
            )
        if self._stated and not self._asked:
            self._check_end(good + conversion.refused, clock, delay)
        if not self._is_counted and (missing := clock.missing()):
            self.remarks.append(missing)

    def _report_interlacing(self, refused: int, good: int) -> None:
        """Add a remark about frames that OpenCV cannot convert. Raises ValueError if all are."""
        what = (
            f'OpenCV {cv2.__version__} cannot convert interlaced frames; deinterlace the video '
            'first: ffmpeg -i IN -vf yadif OUT'
        )
        if good == 0:
            raise ValueError(f'{self.source} is interlaced: {what}')
        self.remarks.append(f'{refused} interlaced frames left out: {what}')

    def _check_end(self, good: int, clock: _Clock, delay: float) -> None:
        """Add a remark if fewer frames were read than the file states.

        Some containers state only a duration. OpenCV computes the number of frames from it, which
        is wrong if the frame rate varies; for these containers the time of the last frame decides.
        A duration begins at time 0 or with the sound, which is `delay` seconds before the video.
        """
        stated = self._stated - self._start
        duration = stated / self._own_fps
        # A greater delay is a clock of broadcasting.
        last = clock.last + (delay if delay < duration else 0.0)
        whole = clock.last > 0 and last + max(1.0, 0.02 * duration) >= duration
        if good < stated and (self._is_counted or not whole):
            self.remarks.append(f'{stated} frames stated, {good} read')

    def close(self) -> None:
        """Release the file or camera."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


class _Clock:
    """Computes times that never go back from timestamps that may be missing, restart or swap.

    It also counts the frames that are missing by the timestamps.
    """

    def __init__(self, fps: float) -> None:
        self._frame = 1.0 / fps
        self._raw = self._shift = 0.0
        self._index = -1
        self._turn: tuple[float, float] | None = None
        """Timestamp and shift before the timestamps went back, until they are restored."""
        self.last = 0.0
        self._steps = self._regular = 0
        self._missing = 0
        self._gap = 0

    def at(self, raw: float, index: int) -> float:
        """Return the seconds since the first frame, from a frame's own timestamp."""
        frames = index - self._index
        if self._index < 0:
            self._shift = -raw
            self.last = -self._frame
        elif raw <= self._raw:  # joined files restart; some have no timestamps
            self._turn = self._turn or (self._raw, self._shift)
            self._shift = self.last + self._frame * frames - raw
        elif self._turn and raw > self._turn[0] and raw + self._turn[1] > self.last - self._frame:
            # Frames were out of order, as they are after damage in H.264; no file began.
            self._shift, self._turn = self._turn[1], None
        else:
            self._count_missing((raw - self._raw) / self._frame - frames)
        self._raw, self._index = raw, index
        self.last = max(raw + self._shift, self.last + self._frame / 100)
        return self.last

    def _count_missing(self, missing: float) -> None:
        self._steps += 1
        self._regular += abs(missing) < 0.3
        if missing > LEAST_MISSING:
            if not self._missing:
                self._gap = self._index + 1
            self._missing += round(missing)

    def missing(self) -> str:
        """Return a remark about frames that are missing, '' if none are or the rate varies."""
        if not self._missing or self._regular < REGULAR * self._steps:
            return ''
        return (
            f'{self._missing} frames are missing by the timestamps, first before frame {self._gap}'
        )


class _Conversion:
    """Retrieves a video's frames and notices those that FFmpeg refuses to convert to BGR.

    OpenCV since 4.13 does not check for FFmpeg's error: it returns the pixels of the frame before,
    or at first those of any memory. The error shows only on standard error, where it is looked for
    if a frame is the first or equals the one before.
    """

    def __init__(self, is_checked: bool) -> None:
        self.refused = 0
        self._is_checked = is_checked  # a camera's frame can be retrieved only once
        self._before = np.empty(0, np.uint8)  # every 16th row

    def retrieve(self, capture: cv2.VideoCapture) -> tuple[bool, Image | None]:
        """Return whether the grabbed frame was decoded, and its pixels, None if refused."""
        if self._is_checked and (self._before.size == 0 or self.refused):
            found, image, is_refused = _retrieve_and_watch(capture)
        else:
            found, image = capture.retrieve()
            is_refused = False
            if self._is_checked and found and np.array_equal(image[::16], self._before):
                found, image, is_refused = _retrieve_and_watch(capture)
        if self._is_checked and found:
            self._before = image[::16].copy()
        self.refused += is_refused
        return found, None if is_refused else image


def _retrieve_and_watch(capture: cv2.VideoCapture) -> tuple[bool, Any, bool]:
    """Retrieve a frame; return OpenCV's answer and whether FFmpeg refuses to convert the frame."""
    try:
        standard_error = os.dup(2)
    except OSError:  # closed
        return *capture.retrieve(), False
    with open(os.memfd_create('messages'), 'r+b', buffering=0) as messages:
        try:
            os.dup2(messages.fileno(), 2)
            found, image = capture.retrieve()
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
        messages.seek(0)
        text = messages.read()
    is_refused = b'Cannot convert interlaced' in text
    if not is_refused:
        with contextlib.suppress(OSError):
            os.write(2, text)
    return found, image, is_refused


def _grey_bits(fourcc: int) -> int:
    """Return the bits of a grey pixel by FFmpeg's code of a raw format, 0 for other formats."""
    code = (fourcc & 0xFFFFFFFF).to_bytes(4, 'little')
    if code[:2] == b'Y1':  # 'Y1', 0, bits; for big-endian pixels in reverse order
        return code[3] if code[2] == 0 else 0
    return code[0] if re.fullmatch(rb'.\x001Y', code, re.DOTALL) else 0
