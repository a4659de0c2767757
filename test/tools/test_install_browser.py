# SPDX-License-Identifier: Apache-2.0
"""Installing a browser when one is present, and when nothing can be installed."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def install(checkout: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs the script in an empty checkout, with an empty PATH and no PyPI."""
    script = tmp_path / 'checkout' / 'tools' / 'install_browser.py'
    script.parent.mkdir(parents=True)
    shutil.copy(checkout / 'tools' / script.name, script)
    (tmp_path / 'no_programs').mkdir()

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        environment = {'PATH': str(tmp_path / 'no_programs'), 'PIP_NO_INDEX': '1', **variables}
        return subprocess.run(
            [sys.executable, script], env=environment, capture_output=True, text=True, timeout=300
        )

    return run


def test_nothing_is_installed_if_a_browser_runs(
    install: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    result = install(HCAT_CHROMIUM=sys.executable)
    assert (result.returncode, result.stdout, result.stderr) == (0, '', '')
    assert [path.name for path in (tmp_path / 'checkout').iterdir()] == ['tools']


def test_browser_that_does_not_run_is_not_accepted(
    install: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    stub = tmp_path / 'chromium'
    stub.write_text('#!/bin/sh\nexit 1\n')
    stub.chmod(0o755)
    assert install(HCAT_CHROMIUM=str(stub)).returncode == 1


def test_failure_prints_one_line_with_reasons_and_remedy(
    install: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    result = install()
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith('no browser (')
    assert 'apt' in line
    assert line.endswith('install Chromium or set HCAT_CHROMIUM to its path')
    left = [path.name for path in (tmp_path / 'checkout' / '.venv-browser').iterdir()]
    assert left == ['lock']
