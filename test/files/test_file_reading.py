# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import socket
import tracemalloc
from pathlib import Path

import pytest

from hcat_ros.files import check_name, load_json, load_yaml, read_bytes, read_text, shown


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        (b'1,2\n', '1,2\n'),
        (b'\xef\xbb\xbf1,2\n', '1,2\n'),
        ('1,2\n'.encode('utf-16'), '1,2\n'),
        (b'\xfe\xff\x001\x00,', '1,'),
        ('Zürich'.encode(), 'Zürich'),
    ],
)
def test_texts_are_read_in_utf8_and_utf16(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / 'a.txt').write_bytes(content)
    assert read_text(tmp_path / 'a.txt') == text


def test_invalid_utf8_error_names_line_and_byte(tmp_path: Path) -> None:
    (tmp_path / 'a.txt').write_bytes(b'one\ntwo\nZ\xfcrich\n')
    with pytest.raises(ValueError, match=r'a\.txt, line 3: byte 0xfc is not UTF-8'):
        read_text(tmp_path / 'a.txt')


def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(ValueError, match='pipe is a FIFO; expected a file'):
        read_bytes(tmp_path / 'pipe')


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the whole path may be longer than a socket's name
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind('talk')
        with pytest.raises(ValueError, match='talk is a socket; expected a file'):
            read_bytes(Path('talk'))


@pytest.mark.parametrize(('path', 'kind'), [('/dev/zero', 'a device'), ('/tmp', 'a folder')])
def test_device_or_folder_is_refused(path: str, kind: str) -> None:
    with pytest.raises(ValueError, match=f'{path} is {kind}'):
        read_bytes(Path(path))


def test_terabyte_file_is_refused_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / 'huge').open('wb') as file:
        file.truncate(1 << 40)  # sparse: it uses no disk space
    with pytest.raises(ValueError, match=f'huge has {1 << 40} bytes; expected at most'):
        read_bytes(tmp_path / 'huge')


def yaml_bomb(levels: int) -> str:
    """YAML of a few lines whose nested aliases expand to 9 ** `levels` values."""
    lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]']
    for level in range(1, levels):
        names = ', '.join([f'*a{level - 1}'] * 9)
        lines.append(f'a{level}: &a{level} [{names}]')
    return '\n'.join(lines)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        (yaml_bomb(30), r'line 2: write the value in place of the alias'),
        # Newer versions of libyaml refuse this themselves, with the second message.
        (
            'a: ' + '[' * 1000 + ']' * 1000,
            'line 1: more than 32 levels|exceeded maximum nesting depth',
        ),
        ('[' + '1,' * 150_000 + '1]', 'line 1: more than 100000 values'),
        ('a: ' + 'x' * 100_000, 'line 1: a value of 100000 characters'),
        ('a: [', 'is not YAML'),
        ('a: !!python/object/apply:os.system [true]', 'is not YAML'),
    ],
)
def test_yaml_bombs_and_invalid_yaml_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / 'model.yaml').write_text(text)
    with pytest.raises(ValueError, match=rf'model\.yaml.*{reason}'):
        load_yaml(tmp_path / 'model.yaml')


@pytest.mark.parametrize(
    'text', ['name: !!bool maybe', 'grid: !!int ""', 'date: !!timestamp then', 'a: !!float ""']
)
def test_yaml_tags_that_do_not_fit_their_values_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / 'model.yaml').write_text(text)
    with pytest.raises(ValueError, match=r'model\.yaml: '):
        load_yaml(tmp_path / 'model.yaml')


def test_plain_yaml_is_read(tmp_path: Path) -> None:
    (tmp_path / 'a.yaml').write_text('a: 1\nb: [x, 2.5, null]\n')
    assert load_yaml(tmp_path / 'a.yaml') == {'a': 1, 'b': ['x', 2.5, None]}


@pytest.mark.parametrize('text', ['[' * 100_000, '{"a": }', ''])
def test_broken_json_names_its_file(tmp_path: Path, text: str) -> None:
    (tmp_path / 'run.json').write_text(text)
    with pytest.raises(ValueError, match=r'run\.json'):
        load_json(tmp_path / 'run.json')


def test_long_values_are_shortened_in_messages() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    values = ['x' * 10**7, list(range(10**6)), {str(i): i for i in range(10**5)}, deep]
    assert all(len(shown(value)) < 600 for value in values)
    assert shown('fp33') == "'fp33'"
    assert shown([1 << 59_999]) == '[a whole number of 60000 bits]', 'such as 0x8000... in YAML'


def test_a_name_that_is_not_utf8_is_refused_and_escaped() -> None:
    with pytest.raises(ValueError, match=r'caf\\xe9\.png: the name is not UTF-8'):
        check_name(Path(os.fsdecode(b'caf\xe9.png')))


def test_reading_a_small_file_allocates_little_memory(tmp_path: Path) -> None:
    """`read(size)` allocates `size` bytes, which fails on a machine without overcommit."""
    path = tmp_path / 'small'
    path.write_bytes(b'0123456789')
    tracemalloc.start()
    try:
        assert read_bytes(path) == b'0123456789'
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_file_that_reports_size_0_is_read_to_its_end() -> None:
    path = Path('/proc/self/limits')
    if not path.is_file():
        pytest.skip('needs Linux')
    assert path.stat().st_size == 0
    assert read_bytes(path) == path.read_bytes()
    with pytest.raises(ValueError, match='more than 10 bytes'):
        read_bytes(path, 10)
