# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hcat_ros import __version__
from hcat_ros.commands import main as command_line
from hcat_ros.commands import track
from hcat_ros.commands.main import VERBS, main
from hcat_ros.models import load_model


def test_version_prints_the_package_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(['--version'])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f'hcat_ros {__version__}\n'


def test_the_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(['--help'])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert {'track', 'export'} <= set(VERBS)
    for verb, module in VERBS.items():
        assert verb in text
        assert str(module.__doc__).strip().splitlines()[0].split()[0] in text


@pytest.mark.parametrize(
    'words',
    [
        ('track', 'nowhere.mp4', '--box', '1', '2', '3', '4', '--csv'),
        ('track', 'nowhere.mp4', '--box', '1', '2', '3', '4', '--out'),
        ('tune', '.', '--plot'),
        ('benchmark', '--frames', '1', '--json'),
        ('benchmark', '--frames', '1', '--plot'),
    ],
)
def test_an_output_file_never_overwrites_the_model_in_use(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = shutil.copytree(load_model('hcat_nano').folder, tmp_path / 'model') / 'model.yaml'
    before = card.read_bytes()
    assert main([*words, str(card), '--model', str(card.parent)]) == 1
    assert f'{card} would be written over {card.parent}' in capsys.readouterr().err
    assert card.read_bytes() == before


@pytest.mark.parametrize('wrapped', [False, True])
def test_a_signal_during_an_import_ends_the_command_as_a_signal(
    wrapped: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """pybind11 turns an exception during an import into ImportError: initialization failed."""

    def run(arguments: Any) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException:
            error = ImportError('initialization failed')
            if not wrapped:
                raise error from None
        raise RuntimeError(f"{error}; pip install 'hcat_ros[export]'") from error

    monkeypatch.setattr(track, 'run', run)
    assert main(['track', 'video.mp4']) == 128 + signal.SIGTERM
    assert capsys.readouterr().err == 'hcat track: ended by SIGTERM\n'


@pytest.mark.parametrize('streams', ['', '<&-', '2>&-', '>&- 2>&-', '<&- >&- 2>&-', '2>/dev/full'])
def test_a_command_works_with_closed_or_full_streams(
    streams: str, tmp_path: Path, write_image: Any
) -> None:
    """Some daemons close them, which once broke the progress bar."""
    for number in range(3):
        write_image(tmp_path / f'{number}.png', np.full((120, 160, 3), 90, np.uint8))
    words = ['track', str(tmp_path), '--box', '40', '40', '30', '30', '--engine', 'onnxruntime']
    words += ['--precision', 'fp32', '--model', 'hcat_nano', '--csv', str(tmp_path / 'a.csv')]
    command = [sys.executable, '-m', 'hcat_ros.executables', 'hcat', *words]
    line = f'{shlex.join(command)} {streams}'
    assert subprocess.run(line, shell=True, check=False).returncode == 0
    rows = (tmp_path / 'a.csv').read_text().splitlines()
    assert [row.split(',')[0] for row in rows] == ['frame', '0', '1', '2']


@pytest.mark.parametrize('verb', VERBS)
def test_the_help_of_every_verb_shows_its_description(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, '--help'])
    assert ended.value.code == 0
    text = ' '.join(capsys.readouterr().out.split())
    assert f'hcat {verb}' in text
    assert ' '.join(str(VERBS[verb].__doc__).split()) in text


@pytest.mark.parametrize(
    ('argv', 'reason'),
    [
        ([], 'required: VERB'),
        (['fly'], "invalid choice: 'fly'"),
        (['track'], 'required: video'),
        (['track', 'x.mp4', '--box', '1', '2', '3'], 'expected 4 arguments'),
        (['track', 'x.mp4', '--box', '1', '2', '3', 'wide'], "invalid float value: 'wide'"),
        (['track', 'x.mp4', '--engine', 'abacus'], "invalid choice: 'abacus'"),
        (['export', 'x.pth'], 'required: --out'),
    ],
)
def test_invalid_arguments_exit_with_2_and_the_reason(
    argv: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize('error', [OSError('disk is full'), ValueError('x 3'), RuntimeError('y')])
def test_an_error_of_a_verb_is_printed_in_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: Any) -> None:
        raise error

    monkeypatch.setattr(track, 'run', fail)
    assert main(['track', 'x.mp4']) == 1
    assert capsys.readouterr().err == f'hcat track: {error}\n'


def test_log_messages_of_the_package_are_shown_once_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def tell(arguments: Any) -> None:
        print('a result')
        logging.getLogger('hcat_ros.engines').info('passed over %s', 'x')
        logging.getLogger('hcat_ros.engines').debug('a detail')
        logging.getLogger('another package').info('of no concern')

    monkeypatch.setattr(track, 'run', tell)
    for _ in range(2):
        assert main(['track', 'x.mp4']) == 0
        found = capsys.readouterr()
        assert (found.out, found.err) == ('a result\n', 'passed over x\n')


def test_names_that_are_not_utf_8_are_printed_with_escapes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = os.fsdecode(b'caf\xe9.csv')
    monkeypatch.setattr(track, 'run', lambda arguments: print(f'wrote {name}'))
    assert main(['track', 'x.mp4']) == 0
    assert capsys.readouterr().out == 'wrote caf\\udce9.csv\n'


def test_an_interrupted_verb_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line.track, 'run', interrupt)
    assert main(['track', 'x.mp4']) == 130


def test_an_unexpected_exception_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: Any) -> None:
        raise KeyError('a bug')

    monkeypatch.setattr(track, 'run', fail)
    with pytest.raises(KeyError):
        main(['track', 'x.mp4'])
