# SPDX-License-Identifier: Apache-2.0
import argparse
import importlib.util
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from ros_domain import stay_on_this_machine

from hcat_ros.commands import select
from hcat_ros.commands.main import main


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    select.add_arguments(parser)
    return parser.parse_args(words)


def test_arguments_become_parameters_and_remappings() -> None:
    words = select.ros_arguments(
        arguments('--image', '/cam/raw', '--namespace', 'front', '--port', '0', '--compressed')
    )
    assert words[0] == '--ros-args'
    pairs = list(zip(words[1::2], words[2::2]))
    assert ('-p', 'host:="127.0.0.1"') in pairs
    assert ('-p', 'port:=0') in pairs
    assert ('-p', 'image_transport:="compressed"') in pairs
    assert ('-r', 'image:=/cam/raw') in pairs
    assert ('-r', '__ns:=/front') in pairs


@pytest.mark.parametrize(
    ('missing', 'remedy'), [('rclpy', 'setup.bash'), ('aiohttp', 'pip install')]
)
def test_missing_packages_are_reported_with_the_remedy(
    missing: str,
    remedy: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name: None if name == missing else object()
    )
    assert main(['select']) == 1
    error = capsys.readouterr().err
    assert error.startswith('hcat select: ')
    assert remedy in error


def start(*words: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, '-c', 'from hcat_ros.commands.main import main; main()', 'select', *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **stay_on_this_machine(), **variables},
    )


@pytest.fixture
def needs() -> None:
    pytest.importorskip('rclpy', reason='needs ROS 2')
    pytest.importorskip('aiohttp', reason='needs aiohttp')


@pytest.mark.parametrize(
    ('words', 'variables', 'line'),
    [
        (('--port', '0'), {}, 'select_page: open http://127.0.0.1:'),
        (('--host', '0.0.0.0', '--port', '0'), {}, '/#token='),
        (('--port', '0'), {'HCAT_SELECT_TOKEN': 'abcdefgh12345678'}, '/#token=abcdefgh12345678'),
    ],
)
def test_the_page_is_served_until_ctrl_c(
    needs: Any, words: tuple[str, ...], variables: dict[str, str], line: str
) -> None:
    process = start(*words, **variables)
    assert process.stdout is not None
    assert line in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0, process.stdout.read()
    process.stdout.close()


@pytest.mark.parametrize(
    ('words', 'variables', 'reason'),
    [
        (
            ('--host', '192.0.2.1'),
            {},
            'cannot serve on 192.0.2.1:8321: this machine has no such address',
        ),
        (('--host', 'no.such.invalid'), {}, "host 'no.such.invalid' is not an address"),
        (('--port', '99999'), {}, 'port out of range. Min: 0, Max: 65535, value: 99999'),
        (('--port', '0'), {'HCAT_SELECT_TOKEN': 'short'}, 'the token has 5 characters'),
    ],
)
def test_an_invalid_address_port_or_token_is_reported(
    needs: Any, words: tuple[str, ...], variables: dict[str, str], reason: str
) -> None:
    process = start(*words, **variables)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert reason in output
    assert 'Traceback' not in output
