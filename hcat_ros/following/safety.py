# SPDX-License-Identifier: Apache-2.0
"""Decides whether the platform may move, how fast, and why not."""

from __future__ import annotations

import math
from typing import NamedTuple

from hcat_ros.following.config import FollowConfig

CLOCK_TOLERANCE = 0.05
"""Seconds by which a stamp may be in the future: clocks of two machines differ by milliseconds."""
FADE = 0.5
"""Share of `stale_timeout` after which the speed starts to fade; it is zero at the timeout."""


class Verdict(NamedTuple):
    """Share of the speed that safety allows, with the reason."""

    share: float
    """Share of the speed, 0..1."""
    reason: str
    """Why the share is less than 1; empty at 1."""
    at_once: bool = False
    """Whether to stop at once, without the deceleration limit."""
    turning_only: bool = False
    """Whether the share is for turning only, while the other axes brake."""


class Safety:
    """Decides from the tracks so far whether the platform may move: `verdict(now)`.

    For a target with a low score the platform stops within its deceleration limits: all parts work,
    and a smooth stop neither tips the platform nor swings the camera away. For a lost target the
    platform brakes but keeps turning, less and less until `stale_timeout`, because a camera that
    stops at the first doubt lets a moving target leave the frame. With `lost_timeout`, for
    platforms on which turning is harmless, it turns along the target's course during the search.
    Trackers also report targets lost that only score less before another background, so tracks on
    that course extend the search.

    If it is unclear whether the parts work (no tracks, or only bad ones), and on the operator's
    hold, the command is zero at once: this stop must not depend on tuning, and the platform's own
    controller can still brake. Before that the speed fades out, so zero at once is hardly a step.
    """

    def __init__(self) -> None:
        self.holding = False
        self._active_since: float | None = None
        self.start_anew()

    def start_anew(self) -> None:
        """Forget all tracks."""
        self._arrival: float | None = None
        self._stamp = -math.inf
        self._score = 0.0
        self._newest = -math.inf
        self._lost = ''
        self._lost_since = math.inf
        self._heard = -math.inf
        self._replaced = False
        self._refusal = ''

    def activate(self, now: float) -> None:
        """Allow motion once a track arrives whose image was taken at or after `now`."""
        self._active_since = now
        self.start_anew()

    def deactivate(self) -> None:
        """Allow no motion."""
        self._active_since = None
        self.start_anew()

    @property
    def is_active(self) -> bool:
        """Whether motion is allowed at all."""
        return self._active_since is not None

    def refusal(self, stamp: float, now: float, config: FollowConfig) -> str:
        """Return why a track with this image stamp is refused at `now`, '' if it is not."""
        if self._active_since is None:
            return 'not active'
        if stamp < self._active_since:
            return 'image from before the activation'
        # A state from the future would have to be predicted backwards.
        if stamp > now + CLOCK_TOLERANCE:
            return f'image from {stamp - now:.2f} s in the future: are the clocks synchronised?'
        if now - stamp >= config.max_latency:
            return f'image {now - stamp:.2f} s old'
        if stamp <= self._newest:
            return 'image not newer than the last one'
        return ''

    def record_track(self, stamp: float, score: float, now: float, missing: int) -> None:
        """Record an accepted track; it counts if no more confirmations are `missing`."""
        self._newest = stamp
        if missing:
            self.record_refusal(
                f'{missing} more track{"s"[: missing > 1]} needed to be sure of the target'
            )
            return
        self._arrival, self._stamp, self._score = now, stamp, score
        self._lost = self._refusal = ''
        self._lost_since, self._heard = math.inf, -math.inf
        self._replaced = False

    def record_refusal(self, reason: str) -> None:
        """Record a track that was refused, or that does not count yet."""
        self._refusal = reason

    def record_blindness(self, reason: str) -> None:
        """Record that the images do not show the present scene."""
        self._arrival, self._heard = None, -math.inf
        self._lost, self._lost_since = reason, math.inf

    def record_loss(self, now: float) -> None:
        """Record that the target is lost, until the next good track."""
        self._lost = 'target lost'
        self._lost_since = min(self._lost_since, now)

    def record_search(
        self, stamp: float, now: float, on_course: bool, config: FollowConfig
    ) -> bool:
        """Record a track of a lost target. on_course: it lies where the target is expected.

        Returns whether the platform keeps turning after the target.
        """
        turning = (
            self._arrival is not None
            and now - max(self._arrival, self._heard) < config.stale_timeout
            and now - self._lost_since < config.lost_timeout
        )
        if turning:
            self._newest, self._heard = stamp, now
            if on_course:
                self._lost_since = now
        return turning

    def record_replacement(self) -> None:
        """Record that another target is followed, whose first tracks have to agree."""
        self._lost, self._replaced = 'another target', True
        self._lost_since, self._heard = math.inf, -math.inf

    def motion_ends(self, config: FollowConfig) -> float:
        """Return when `verdict` stops the platform at once unless another good track arrives."""
        if self._arrival is None:
            return -math.inf
        if self._heard > self._arrival:
            return min(self._heard + config.stale_timeout, self._lost_since + config.lost_timeout)
        return min(self._arrival + config.stale_timeout, self._stamp + config.max_latency)

    def verdict(self, now: float, config: FollowConfig) -> Verdict:
        """Return the motion that is allowed now."""
        if self._active_since is None:
            return Verdict(0.0, 'not active', True)
        if self.holding:
            return Verdict(0.0, 'on hold', True)
        why = f' ({self._refusal})' if self._refusal else ''
        if self._arrival is None:
            return Verdict(0.0, (self._lost or 'waiting for a track') + why, True)
        by_score = _ramp(self._score, config.score_low, config.score_high)
        if self._heard > self._arrival:
            silence, search = now - self._heard, now - self._lost_since
            left = min(1 - silence / config.stale_timeout, _left(search, config.lost_timeout))
            share = by_score * _ramp(left, 0.0, 1 - FADE)
            return Verdict(share, self._lost + why, at_once=left <= 0, turning_only=True)
        age, image_age = now - self._arrival, now - self._stamp
        if age >= config.stale_timeout:
            return Verdict(0.0, (self._lost or f'no good track for {age:.2f} s') + why, True)
        if image_age >= config.max_latency:
            return Verdict(0.0, f'image {image_age:.2f} s old', True)
        left = 1 - age / config.stale_timeout
        by_age = _ramp(left, 0.0, 1 - FADE)
        share = by_score * by_age
        if self._replaced:
            return Verdict(0.0, self._lost + why)
        if self._lost:
            return Verdict(share, self._lost + why, turning_only=True)
        if share == 1:
            return Verdict(1.0, '')
        if by_score <= by_age:
            return Verdict(share, f'score {self._score:.2f}{why}')
        return Verdict(share, f'no good track for {age:.2f} s{why}')


def _left(elapsed: float, timeout: float) -> float:
    """Return the share of a timeout that is left; 0 if the timeout has been set to 0."""
    return 1 - elapsed / timeout if timeout > 0 else 0.0


def _ramp(value: float, low: float, high: float) -> float:
    """Return 0 up to `low`, 1 from `high`, straight in between."""
    return min(max((value - low) / (high - low), 0.0), 1.0)
