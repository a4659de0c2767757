# SPDX-License-Identifier: Apache-2.0
"""What was not as it should be, told at the end and not a thousand times."""

from __future__ import annotations

from collections.abc import Iterator


class Findings:
    """Counts things by kind, and keeps the first of each kind in words."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._first: dict[str, str] = {}
        self._notes: dict[str, None] = {}

    def add(self, kind: str, detail: str) -> None:
        """Count one. kind: what it is, in the plural."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._first.setdefault(kind, detail)

    def note(self, text: str) -> None:
        """Keep a sentence; the same one counts once."""
        self._notes[text] = None

    def __iter__(self) -> Iterator[str]:
        """Yield a line for each sentence and each kind."""
        yield from self._notes
        for kind, count in self.counts.items():
            yield f'{kind}: {count}, the first: {self._first[kind]}'
