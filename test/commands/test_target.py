# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from hcat_ros.commands import node_process, target
from hcat_ros.commands.main import main


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of the nodes that the command would start."""
    lines: list[list[str]] = []
    monkeypatch.setattr(node_process.os, 'execv', lambda program, words: lines.append(words))
    monkeypatch.setattr(target, 'check_modules', lambda remedies: None)
    return lines


def test_a_box_becomes_a_parameter_of_the_client(started: list[list[str]]) -> None:
    main(['target', '-5', '80.5', '48', '40', '--namespace', 'front', '--class', "o'car"])
    (words,) = started
    assert words[1:5] == ['-m', 'hcat_ros.executables', 'target_client', '--ros-args']
    pairs = list(zip(words[5::2], words[6::2]))
    assert ('-p', 'box:=[-5.0, 80.5, 48.0, 40.0]') in pairs
    assert ('-p', """class_id:="o'car\"""") in pairs
    assert ('-p', 'reset:=false') in pairs
    assert ('-r', '__ns:=/front') in pairs


def test_a_reset_passes_no_box_to_the_client(started: list[list[str]]) -> None:
    main(['target', '--reset'])
    assert 'reset:=true' in started[0]
    assert not any('box' in word for word in started[0])


@pytest.mark.parametrize('name', ['primary', 'drop'])
def test_an_id_becomes_a_parameter_of_the_client(started: list[list[str]], name: str) -> None:
    main(['target', f'--{name}', 'a574a8-1'])
    assert f'{name}:="a574a8-1"' in started[0]
    assert not any('box' in word for word in started[0])


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        ([], 'expected exactly one of: a box X Y W H, --reset, --primary ID, --drop ID'),
        (['1', '2', '3', '4', '--reset'], 'expected exactly one of: a box'),
        (['--drop', 'a-1', '--primary', 'a-2'], 'expected exactly one of: a box'),
        (['1', '2', '3'], 'box 1 2 3: expected four numbers'),
        (['1', '2', '3', 'nan'], 'box 1 2 3 nan: expected four numbers'),
    ],
)
def test_invalid_arguments_are_refused_before_a_node_starts(
    started: list[list[str]], capsys: pytest.CaptureFixture[str], words: list[str], reason: Any
) -> None:
    assert main(['target', *words]) == 1
    assert reason in capsys.readouterr().err
    assert not started
