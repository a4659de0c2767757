# SPDX-License-Identifier: Apache-2.0
"""Collects the problems of an input, so that each kind is reported once, at the end."""

from __future__ import annotations

from collections.abc import Iterator


class Findings:
    """Counts problems by kind, and describes the first of each kind."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._first: dict[str, str] = {}
        self._notes: dict[str, bool] = {}
        """Sentences, and whether each is about a part of the input that was left out."""
        self._left_out: set[str] = set()

    def add(self, kind: str, detail: str, *, left_out: bool = False) -> None:
        """Count a problem. kind: its name in the plural; left_out: see the property."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._first.setdefault(kind, detail)
        if left_out:
            self._left_out.add(kind)

    def note(self, text: str, *, left_out: bool = False) -> None:
        """Keep a sentence; a repeated sentence is kept once. left_out: see the property."""
        self._notes[text] = left_out or self._notes.get(text, False)

    def __iter__(self) -> Iterator[str]:
        """Yield a line for each sentence and each kind."""
        yield from self._notes
        for kind in self.counts:
            yield self._line(kind)

    @property
    def left_out(self) -> list[str]:
        """Lines about parts of the input that should have been used but could not be."""
        sentences = [text for text, left_out in self._notes.items() if left_out]
        return sentences + [self._line(kind) for kind in self.counts if kind in self._left_out]

    def _line(self, kind: str) -> str:
        return f'{kind}: {self.counts[kind]}, the first: {self._first[kind]}'
