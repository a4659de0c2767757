# SPDX-License-Identifier: Apache-2.0
"""What the page shows, and what it may ask of the robot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

from hcat_ros.boxes import Box
from hcat_ros.tracking.encodings import Image

LONGEST = 500
"""Characters of a text that others send and the page shows."""


class ShownTrack(NamedTuple):
    """A track as the page draws it."""

    box: Box
    """Box in pixels of the full image."""
    target_id: str
    class_id: str
    score: float | None
    """Raw score in 0..1, None while the target is lost."""

    def as_json(self) -> dict[str, Any]:
        """Return what goes over the wire."""
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
    """Nanoseconds, of the image."""
    read: Callable[[], tuple[Image, str]]
    """Returns the pixels and their encoding; raises ValueError if there is none to be had.

    Called once somebody wants the picture, off the thread that made the view.
    """
    track: ShownTrack | None = None
    """Track of the primary target."""
    others: tuple[ShownTrack, ...] = ()
    """Tracks of the other targets."""


@dataclass(frozen=True)
class Status:
    """How tracking goes."""

    state: str = 'starting'
    """Tracking, lost, no target, no image, no tracker, inactive, engine failing or starting."""
    detail: str = ''
    """Explanation for a person."""
    problem: str = ''
    """Why the last request was refused; empty when it was not."""

    def as_json(self) -> dict[str, str]:
        """Return what goes over the wire; others' texts are cut to what a person reads."""
        return {name: text[:LONGEST] for name, text in asdict(self).items()}


class Robot(Protocol):
    """What the page asks of the robot. Called on the server's thread; answers come by futures.

    An answer is a line for the operator. A request that cannot be met fails with ValueError.
    """

    def name_target(self, stamp: int, box: Box) -> Future[str]:
        """Start on this box, in pixels of the full image with this stamp in nanoseconds."""

    def reset(self) -> Future[str]:
        """Drop all targets."""

    def select_primary(self, target_id: str) -> Future[str]:
        """Make the target with this id the primary one."""

    def drop(self, target_id: str) -> Future[str]:
        """Drop the target with this id; the others are followed on."""

    def watch(self, watched: bool) -> None:
        """Hear that somebody looks now, or that nobody does any more."""


class Feed:
    """The newest view and status: set from any thread, awaited on the server's loop.

    Whoever is slow misses what came between: nothing is queued.
    """

    def __init__(self) -> None:
        self.view: View | None = None
        self.status = Status()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event: asyncio.Event | None = None

    def attach(self) -> None:
        """Take the running loop as the one that waits."""
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
        """Wait until the view or the status is another."""
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
        # All that wait now go on; who waits from here on waits for the next change.
        self._event.set()
        self._event = asyncio.Event()
