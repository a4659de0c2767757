# SPDX-License-Identifier: Apache-2.0
"""A page from a real server, for a robot double that records its requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hcat_ros.boxes import Box
from hcat_ros.select_page.view import ShownTrack, View

if TYPE_CHECKING:
    from hcat_ros.select_page.server import PageServer


class NotingRobot:
    """Records its requests and answers at once: `answer` is returned, or raised if an exception."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.watched: list[bool] = []
        self.answer: str | Exception | None = 'done'
        """Answer to every request; None: it never answers."""

    def name_target(self, stamp: int, box: Box) -> Future[str]:
        self.asked.append((stamp, box))
        return self._answered()

    def select_primary(self, target_id: str) -> Future[str]:
        self.asked.append(('primary', target_id))
        return self._answered()

    def drop(self, target_id: str) -> Future[str]:
        self.asked.append(('drop', target_id))
        return self._answered()

    def reset(self) -> Future[str]:
        self.asked.append('reset')
        return self._answered()

    def watch(self, watched: bool) -> None:
        self.watched.append(watched)

    def _answered(self) -> Future[str]:
        future: Future[str] = Future()
        if isinstance(self.answer, Exception):
            future.set_exception(self.answer)
        elif self.answer is not None:
            future.set_result(self.answer)
        return future


@pytest.fixture
def robot() -> NotingRobot:
    """The robot of the served page."""
    return NotingRobot()


@pytest.fixture
def serve(robot: NotingRobot) -> Iterator[Callable[..., PageServer]]:
    """A function that serves a page with these settings, on a free port of loopback
    unless they name one."""
    server_module = pytest.importorskip('hcat_ros.select_page.server', reason='needs aiohttp')
    made: list[PageServer] = []

    def make(**settings: Any) -> PageServer:
        server = server_module.PageServer(
            robot, server_module.PageSettings(**{'port': 0, **settings})
        )
        made.append(server)
        server.start()
        return server

    yield make
    for server in made:
        server.close()


@pytest.fixture
def seen(picture: Callable[..., np.ndarray]) -> Callable[..., View]:
    """Makes a view of a picture, (stamp, height, width, box of the track) -> View."""

    def make(
        stamp: int, height: int = 240, width: int = 320, box: tuple[float, ...] | None = None
    ) -> View:
        track = ShownTrack(Box(*box), '1', 'target', 0.9) if box else None
        pixels = picture(height, width, stamp % 1000)
        return View(stamp, lambda: (pixels, 'bgr8'), track)

    return make
