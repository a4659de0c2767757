# SPDX-License-Identifier: Apache-2.0
"""A parser of HTML pages that finds what the tests need."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

VOID = {'meta', 'link', 'img', 'br', 'input', 'hr', 'source', 'path', 'line', 'use', 'rect'}


class Page(HTMLParser):
    """Elements, their attributes and the texts of table cells."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.tables: list[list[list[str]]] = []
        self._open: list[str] = []
        self.feed(path.read_text(encoding='utf-8'))
        self.close()
        assert self._open == [], f'not closed: {self._open}'

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._note(tag, attributes)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._note(tag, attributes)
        if tag not in VOID:
            self._open.append(tag)

    def _note(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attributes]
        assert len(set(names)) == len(names), f'{tag} has an attribute twice: {names}'
        self.elements.append((tag, {name: value or '' for name, value in attributes}))
        if tag == 'table':
            self.tables.append([])
        elif tag == 'tr':
            self.tables[-1].append([])
        elif tag in ('td', 'th'):
            self.tables[-1][-1].append('')

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f'{tag} is closed where it is not open'

    def handle_data(self, data: str) -> None:
        if self._open[-1:] in (['script'], ['style']):
            return
        self.text.append(data)
        if {'td', 'th'} & set(self._open):
            self.tables[-1][-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        """Return the attributes of each element with this tag."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def pictures(self) -> list[dict[str, str]]:
        """The attributes of each image of a video frame."""
        return [image for image in self.all('img') if image.get('class') != 'chart']

    @property
    def words(self) -> str:
        """The whole text of the page."""
        return ' '.join(' '.join(self.text).split())
