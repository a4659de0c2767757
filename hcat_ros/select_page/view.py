# SPDX-License-Identifier: Apache-2.0
"""The content of the page, and the requests that it can send to the robot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

from hcat_ros.boxes import Box
from hcat_ros.tracking.encodings import Image

LONGEST = 500
"""Most characters of a text from the network that the page shows."""


class ShownTrack(NamedTuple):
    """A track as the page draws it."""

    box: Box
    """Box in pixels of the full image."""
    target_id: str
    class_id: str
    score: float | None
    """Raw score in 0..1, None while the target is lost."""

    def as_json(self) -> dict[str, Any]:
        """Return the track as JSON data."""
        return {
            'box': list(self.box),
            'id': self.target_id,
            'class': self.class_id,
            'score': self.score,
        }


@dataclass(frozen=True)
class View:
    """One image and the tracks in it."""

    stamp: int
    """Stamp of the image, nanoseconds."""
    read: Callable[[], tuple[Image, str]]
    """Function that returns the pixels and their encoding; raises ValueError for a bad image.

    It is called when a client needs the picture, on another thread than the view's maker.
    """
    track: ShownTrack | None = None
    """Track of the primary target."""
    others: tuple[ShownTrack, ...] = ()
    """Tracks of the other targets."""


@dataclass(frozen=True)
class Status:
    """State of tracking, for people."""

    state: str = 'starting'
    """Tracking, lost, no target, no image, no tracker, inactive, engine failing or starting."""
    detail: str = ''
    """Explanation for a person."""
    problem: str = ''
    """Why the last request was refused; empty when it was not."""

    def as_json(self) -> dict[str, str]:
        """Return the status as JSON data, with texts cut to `LONGEST` characters."""
        return {name: text[:LONGEST] for name, text in asdict(self).items()}


class Robot(Protocol):
    """Requests of the page to the robot, called on the server's thread; they return futures.

    The result is a line for the operator. A request that cannot be met fails with ValueError.
    """

    def name_target(self, stamp: int, box: Box) -> Future[str]:
        """Name the target in a box, in pixels of the full image with this stamp (ns)."""

    def reset(self) -> Future[str]:
        """Drop all targets."""

    def select_primary(self, target_id: str) -> Future[str]:
        """Make the target with this id the primary one."""

    def drop(self, target_id: str) -> Future[str]:
        """Drop the target with this id; the tracker keeps the others."""

    def watch(self, watched: bool) -> None:
        """Report that the first client is watching, or that none is watching any more."""


class Feed:
    """The newest view and status: set from any thread, awaited on the server's loop.

    Nothing is queued: a slow client misses the views in between.
    """

    def __init__(self) -> None:
        self.view: View | None = None
        self.status = Status()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None

    def attach(self) -> None:
        """Use the running loop as the one on which clients wait."""
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()

    def show(self, view: View | None) -> None:
        """Set the newest view; None when there is none to show."""
        self.view = view
        self._notify()

    def tell(self, status: Status) -> None:
        """Set the status."""
        if status != self.status:
            self.status = status
            self._notify()

    async def changed(self) -> None:
        """Wait until the view or the status changes."""
        assert self._event is not None
        await self._event.wait()

    def _notify(self) -> None:
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._wake)
            except RuntimeError:  # the loop has ended
                self._loop = None

    def _wake(self) -> None:
        assert self._event is not None
        # Wake everybody who waits now; those who wait from here on wait for the next change.
        self._event.set()
        self._event = asyncio.Event()
