# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hcat_ros.files import check_outputs, scratch_folder, whole_file, write_text

HOLD = """
import sys, time
from pathlib import Path
from hcat_ros.files import scratch_folder, whole_file
out = Path(sys.argv[1])
with whole_file(out) as partial, scratch_folder('work', out.parent) as folder:
    partial.write_text('half')
    (folder / 'part').write_text('half')
    print('there', flush=True)
    time.sleep(60)
"""


def start_writer(out: Path) -> subprocess.Popen[str]:
    """Starts a process that is in the middle of writing a file and a folder."""
    process = subprocess.Popen([sys.executable, '-c', HOLD, out], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == 'there\n'
    return process


def test_file_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    out = tmp_path / 'a.csv'
    with whole_file(out) as partial:
        partial.write_text('whole')
        assert not out.exists()
        assert list(tmp_path.glob('*.csv')) == [], 'nobody takes it for a whole one'
    assert out.read_text() == 'whole'
    assert [path.name for path in out.parent.iterdir()] == ['a.csv']


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / 'a.csv'
    out.write_text('old')
    with pytest.raises(ZeroDivisionError), whole_file(out) as partial:  # noqa: PT012
        partial.write_text('half')
        _ = 1 / 0
    assert out.read_text() == 'old'
    assert [path.name for path in tmp_path.iterdir()] == ['a.csv']


def test_permissions_and_links_are_kept(tmp_path: Path) -> None:
    target, link = tmp_path / 'target', tmp_path / 'link'
    target.write_text('old')
    target.chmod(0o640)
    link.symlink_to(target)
    write_text(link, 'new')
    assert link.is_symlink()
    assert target.read_text() == 'new'
    assert target.stat().st_mode & 0o777 == 0o640


def test_device_is_written_in_place() -> None:
    write_text(Path('/dev/null'), 'gone')
    assert Path('/dev/null').is_char_device()


@pytest.mark.parametrize('where', ['/dev/stdout', '/dev/fd/1', '/proc/self/fd/1'])
def test_pipe_is_written_through_its_given_path(where: str) -> None:
    """As in `--csv /dev/stdout | sort` and `--csv >(gzip)`: the resolved path is not a file."""
    code = 'import sys; from pathlib import Path; from hcat_ros.files import whole_rows\n'
    code += f'with whole_rows(Path({where!r})) as file: file.write("1,2")'
    ended = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ('1,2', '')


@pytest.mark.parametrize('call', ['open', 'flock'])
def test_scratch_folder_removed_before_it_is_locked_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Another process removes the folder as a leftover between its creation and its lock."""
    module = {'open': os, 'flock': fcntl}[call]
    original, cleared = getattr(module, call), []

    def clear_first(*arguments: Any, **options: Any) -> Any:
        if not cleared:
            cleared.extend(tmp_path.iterdir())
            cleared[0].rmdir()
        return original(*arguments, **options)

    monkeypatch.setattr(module, call, clear_first)
    with scratch_folder('work', tmp_path) as folder:
        assert len(cleared) == 1
        assert folder.is_dir()
        assert folder not in cleared
        (folder / 'part').write_text('there')
    assert list(tmp_path.iterdir()) == []


def test_full_disk_error_names_the_requested_file(tmp_path: Path) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=r'No space left on device: .*/a\.csv') as error:  # noqa: SIM117
        with whole_file(tmp_path / 'a.csv'):
            full()
    assert error.value.filename == str(tmp_path / 'a.csv')


def test_full_disk_error_names_the_scratch_folder(tmp_path: Path) -> None:
    """Errors of write(2) name no file, and a command may write to several disks."""
    with pytest.raises(OSError, match='No space left on device') as error:  # noqa: SIM117
        with scratch_folder('export', tmp_path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(error.value.filename).startswith(str(tmp_path / '.export.partial-'))


def test_leftovers_of_a_killed_run_are_removed_by_the_next(tmp_path: Path) -> None:
    process = start_writer(tmp_path / 'a.csv')
    try:
        assert len(list(tmp_path.iterdir())) == 2
        with whole_file(tmp_path / 'a.csv'), scratch_folder('work', tmp_path):
            assert len(list(tmp_path.iterdir())) == 4, 'that of a living process stays'
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(list(tmp_path.iterdir())) == 3
    with scratch_folder('work', tmp_path):
        write_text(tmp_path / 'a.csv', 'whole')
    assert [path.name for path in tmp_path.iterdir()] == ['a.csv']


@pytest.mark.parametrize('name', ['a' * 251 + '.csv', '猫' * 83 + '.csv'])
def test_the_longest_name_that_a_file_can_have_is_written(tmp_path: Path, name: str) -> None:
    """Linux allows 255 bytes."""
    assert len(name.encode()) in (253, 255)
    write_text(tmp_path / name, 'whole')
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize('code', [errno.ENOLCK, errno.EOPNOTSUPP])
def test_files_are_written_where_the_file_system_has_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """NFS without its lock daemon answers ENOLCK."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, 'flock', refuse)
    with scratch_folder('work', tmp_path) as folder, whole_file(tmp_path / 'a.csv') as partial:
        assert folder.is_dir()
        partial.write_text('whole')
        write_text(tmp_path / 'a.csv', 'of another process')
        assert partial.is_file()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {'a.csv': 'whole'}


def test_other_files_with_similar_names_are_kept(tmp_path: Path) -> None:
    (tmp_path / '.a.partial').write_text('mine')
    (tmp_path / '.b.csv.partial-1').write_text('mine')
    write_text(tmp_path / 'a.csv', 'whole')
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize('kind', ['same', 'dots', 'link', 'hard link', 'inside'])
def test_output_that_would_overwrite_an_input_is_refused(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / 'in'
    folder.mkdir()
    source = folder / 'video.avi'
    source.write_text('video')
    out = {
        'same': source,
        'dots': folder / '..' / 'in' / 'video.avi',
        'link': tmp_path / 'link',
        'hard link': tmp_path / 'hard',
        'inside': source,
    }[kind]
    if kind == 'link':
        out.symlink_to(source)
    if kind == 'hard link':
        os.link(source, out)
    with pytest.raises(ValueError, match=r'would be written over .*, which is read'):
        check_outputs([None, out], [folder if kind == 'inside' else source])
    assert source.read_text() == 'video'


def test_two_outputs_with_the_same_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='are the same output'):
        check_outputs([tmp_path / 'a', tmp_path / 'b' / '..' / 'a'], [])
    check_outputs([tmp_path / 'a', tmp_path / 'b', Path('/dev/null')], ['/dev/null', '0'])
