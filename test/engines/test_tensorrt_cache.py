# SPDX-License-Identifier: Apache-2.0
"""The TensorRT cache: keys, mismatched files, and processes killed while they write."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hcat_ros.engines import EngineError
from hcat_ros.engines.tensorrt_cache import EngineCache, PlanKey, TimingKey

KEY = PlanKey(
    tensorrt='10.3.0', gpu='Orin', compute_capability='8.7', onnx_sha256='ab' * 32, precision='fp16'
)
PLAN = bytes(range(256)) * 40
OTHERS = [
    {'tensorrt': '10.3.1'},
    {'gpu': 'Xavier'},
    {'compute_capability': '7.2'},
    {'onnx_sha256': 'cd' * 32},
    {'precision': 'int8'},
    {'dla': 0},
    {'recipe': 0},
]


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / 'cache')


def test_a_stored_plan_is_read_back_and_described_by_its_sidecar(cache: EngineCache) -> None:
    path = cache.write(KEY, PLAN, {'what': 'a plan'})
    assert cache.read(KEY) == PLAN
    assert path == cache.path(KEY)
    sidecar = json.loads(path.with_suffix('.json').read_text())
    assert sidecar['what'] == 'a plan'
    assert sidecar['key'] == dataclasses.asdict(KEY)
    assert sidecar['size'] == len(PLAN)
    assert sorted(file.name for file in cache.folder.iterdir()) == sorted(
        [path.name, path.with_suffix('.json').name]
    )


def test_the_cache_folder_follows_xdg_cache_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert EngineCache().folder == tmp_path / 'hcat_ros' / 'tensorrt'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert EngineCache().folder == tmp_path / '.cache' / 'hcat_ros' / 'tensorrt'


def test_only_the_owner_may_access_the_cache(cache: EngineCache) -> None:
    """A plan is code that TensorRT runs."""
    path = cache.write(KEY, PLAN, {})
    assert cache.folder.stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o077 == 0


def test_reading_and_checking_an_empty_cache_leaves_no_files(cache: EngineCache) -> None:
    assert cache.read(KEY) is None
    assert not cache.folder.exists()
    cache.check_writable()
    assert not list(cache.folder.iterdir())


@pytest.mark.parametrize('change', OTHERS, ids=str)
def test_plans_with_different_keys_do_not_replace_each_other(
    cache: EngineCache, change: dict[str, Any]
) -> None:
    other = dataclasses.replace(KEY, **change)
    cache.write(KEY, PLAN, {})
    assert cache.path(other) != cache.path(KEY)
    assert cache.read(other) is None
    cache.write(other, PLAN[::-1], {})
    assert cache.read(KEY) == PLAN


@pytest.mark.parametrize('change', OTHERS, ids=str)
def test_a_plan_renamed_to_another_key_is_not_used(
    cache: EngineCache, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    other = dataclasses.replace(KEY, **change)
    written = cache.write(other, PLAN, {})
    for suffix in ('.bin', '.json'):
        written.with_suffix(suffix).rename(cache.path(KEY).with_suffix(suffix))
    assert cache.read(KEY) is None
    assert 'it was made for' in caplog.text


def test_the_workspace_matters_only_if_it_is_requested(cache: EngineCache) -> None:
    small, large = (dataclasses.replace(KEY, workspace=mib) for mib in (64, 1024))
    cache.write(small, PLAN, {})
    assert cache.read(KEY) == PLAN
    assert cache.read(small) == PLAN
    assert cache.read(large) is None
    cache.write(large, PLAN[::-1], {})
    assert cache.read(small) is None
    assert cache.read(KEY) == PLAN[::-1]


def test_timing_caches_are_kept_apart_from_plans(cache: EngineCache) -> None:
    key = TimingKey('10.3.0', 'Orin', '8.7')
    cache.write(key, b'timing', {})
    cache.write(KEY, PLAN, {})
    assert cache.read(key) == b'timing'
    assert cache.read(dataclasses.replace(key, gpu='Xavier')) is None


DAMAGES = {
    'cut': lambda content: content[:-1],
    'empty': lambda content: b'',
    'longer': lambda content: content + b'\0',
    'one bit': lambda content: bytes([content[0] ^ 1]) + content[1:],
    'zeros': lambda content: bytes(len(content)),  # as after a power cut
}


@pytest.mark.parametrize('damage', DAMAGES)
@pytest.mark.parametrize('suffix', ['.bin', '.json'])
def test_a_damaged_plan_or_sidecar_is_not_used(
    cache: EngineCache, damage: str, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = cache.write(KEY, PLAN, {}).with_suffix(suffix)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    if (suffix, damage) == ('.json', 'longer'):
        path.write_text(path.read_text().rstrip('\0') + '}')
    assert cache.read(KEY) is None
    assert 'is not used' in caplog.text
    cache.write(KEY, PLAN, {})
    assert cache.read(KEY) == PLAN


@pytest.mark.parametrize(
    'sidecar', ['[]', 'null', '{}', '{"key": 3}', '{"key": {}}', '{"key": {"gpu": "Orin"}}']
)
def test_a_plan_with_a_malformed_sidecar_is_not_used(cache: EngineCache, sidecar: str) -> None:
    cache.write(KEY, PLAN, {}).with_suffix('.json').write_text(sidecar)
    assert cache.read(KEY) is None


@pytest.mark.parametrize('suffix', ['.bin', '.json'])
def test_a_plan_without_a_sidecar_or_the_reverse_is_not_used(
    cache: EngineCache, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = cache.write(KEY, PLAN, {}).with_suffix(suffix)
    path.unlink()
    assert cache.read(KEY) is None
    path.mkdir()
    assert cache.read(KEY) is None
    assert 'unreadable' in caplog.text
    with pytest.raises(EngineError, match='cannot write'):
        cache.write(KEY, PLAN, {})


CHILD = """
import os, sys, time
from pathlib import Path
from hcat_ros.engines.tensorrt_cache import EngineCache
from test_tensorrt_cache import KEY

folder, point = sys.argv[1], int(sys.argv[2])
step = 0


def stopping(function):
    # The process stands still before its call number `point`, with the work before that done.
    def call(*arguments):
        global step
        step += 1
        if step == point:
            print('here', flush=True)
            time.sleep(60)
        return function(*arguments)
    return call


os.fsync, Path.replace = stopping(os.fsync), stopping(Path.replace)
EngineCache(Path(folder)).write(KEY, b'new' * 4000, {})
print('done', flush=True)
"""


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a separate Python process with the import path of this one."""
    here = Path(__file__).resolve()
    path = os.pathsep.join([str(here.parents[2]), str(here.parent), *sys.path])
    return subprocess.Popen(
        [sys.executable, '-c', code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': path},
    )


# fsync and rename of the plan, fsync and rename of its sidecar, fsync of the folder.
@pytest.mark.parametrize('point', range(1, 6))
@pytest.mark.parametrize('before', [None, PLAN], ids=['first', 'rebuilt'])
def test_a_killed_writer_leaves_a_complete_entry_or_none(
    cache: EngineCache, point: int, before: bytes | None
) -> None:
    if before is not None:
        cache.write(KEY, before, {})
    with python(CHILD, str(cache.folder), str(point)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'here\n'
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    # The old pair until the plan is replaced, none until its sidecar is, then the new pair.
    assert cache.read(KEY) == (before if point <= 2 else None if point <= 4 else b'new' * 4000)
    cache.write(KEY, PLAN, {})
    assert cache.read(KEY) == PLAN


def test_a_writer_that_is_not_killed_succeeds(cache: EngineCache) -> None:
    with python(CHILD, str(cache.folder), '6') as process:
        assert process.communicate()[0] == 'done\n'
    assert cache.read(KEY) == b'new' * 4000


BIG = 1 << 28


def test_a_writer_killed_in_the_middle_of_a_file_keeps_the_old_plan(cache: EngineCache) -> None:
    """Leaves a real partial file: the process is killed while the kernel writes."""
    cache.write(KEY, PLAN, {})
    code = (
        'import pathlib, sys\nfrom hcat_ros.engines.tensorrt_cache import EngineCache\n'
        'from test_tensorrt_cache import BIG, KEY\n'
        'EngineCache(pathlib.Path(sys.argv[1])).write(KEY, bytes(BIG), {})'
    )
    process = python(code, str(cache.folder))
    try:
        deadline = time.monotonic() + 60
        while not any(file.stat().st_size for file in cache.folder.glob('.*partial*')):
            assert process.poll() is None
            assert time.monotonic() < deadline
        process.kill()
    finally:
        process.kill()
        process.communicate()
    (leftover,) = cache.folder.glob('.*partial*')
    assert leftover.stat().st_size <= BIG
    assert cache.read(KEY) == PLAN
    cache.write(KEY, PLAN, {})
    assert not leftover.exists()


def test_a_full_disk_raises_an_error_and_keeps_the_old_plan(cache: EngineCache) -> None:
    """A separate process limits its files to 64 KiB to imitate a full disk."""
    cache.write(KEY, PLAN, {})
    code = (
        'import pathlib, resource, sys\nfrom hcat_ros.engines.tensorrt_cache import EngineCache\n'
        'from test_tensorrt_cache import KEY\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n'
        'EngineCache(pathlib.Path(sys.argv[1])).write(KEY, bytes(1 << 20), {})'
    )
    last = python(code, str(cache.folder)).communicate()[1].strip().splitlines()[-1]
    assert 'EngineError: cannot write' in last
    assert 'free space there, or set XDG_CACHE_HOME' in last
    assert cache.read(KEY) == PLAN
    assert not list(cache.folder.glob('.*partial*'))


@pytest.mark.parametrize('call', ['write', 'check_writable'])
def test_a_folder_that_cannot_be_written_raises_an_error(tmp_path: Path, call: str) -> None:
    (tmp_path / 'file').write_text('')
    cache = EngineCache(tmp_path / 'file' / 'cache')
    with pytest.raises(EngineError, match=f'{cache.folder}.*set XDG_CACHE_HOME'):
        cache.write(KEY, PLAN, {}) if call == 'write' else cache.check_writable()


def test_two_concurrent_writers_leave_one_complete_entry_or_none(cache: EngineCache) -> None:
    """Plan and sidecar may be from different writers, which the hash detects; bytes never mix."""
    with python(CHILD, str(cache.folder), '3') as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'here\n'
        cache.write(KEY, PLAN, {})
        process.kill()
    assert cache.read(KEY) == PLAN
