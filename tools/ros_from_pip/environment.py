# SPDX-License-Identifier: Apache-2.0
"""The virtual environment that install.py fills: its state, its repair, its stamp and its log."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

# Variables of the caller's shell that would make pip, CMake or rclpy use other folders.
FOREIGN_ROS = ('AMENT_', 'COLCON_', 'FASTDDS_', 'FASTRTPS_', 'RMW_', 'ROS_', '_ROS_WHEELS_')
FOREIGN_TOOLS = ('CMAKE_', 'PIP_PREFIX', 'PIP_TARGET', 'PIP_USER', 'PYTHON', 'VIRTUAL_ENV')
FOREIGN = FOREIGN_ROS + FOREIGN_TOOLS
# Kinds of files in the source folders that determine the installation.
SOURCES = ('.in', '.json', '.msg', '.py', '.srv', '.txt', '.xml')
OFFLINE = re.compile(
    r'NewConnectionError|ConnectTimeout|ReadTimeout|NameResolution|Max retries|ProxyError|SSLError'
    r'|Temporary failure in name resolution|Connection (refused|reset|aborted|to \S+ timed out)'
)
# Path of Python on the machine that built the wheels, in CMake exports and in the ament index.
BUILD_PYTHON = rb'/opt/python/cp3\d+-cp3\d+'
BUILD_NUMPY = BUILD_PYTHON + rb'/lib/python3\.\d+/site-packages/numpy/(?:_core|core)/include'
BUILD_INCLUDE = BUILD_PYTHON + rb'/include/python3\.\d+'
BUILD_PREFIX = BUILD_PYTHON + rb'(?![\w.-])|/project/build/temp\.[\w.-]+/install(?![\w.-])'


class InstallError(Exception):
    """An installation error with its cause and remedy."""

    def __init__(self, fault: str, remedy: str, log: str = '') -> None:
        """Join log, fault and remedy to one message."""
        super().__init__(f'{log}error: {fault}\nremedy: {remedy}')


def quoted(path: Path) -> str:
    """Quote a path for the shell."""
    return shlex.quote(str(path))


def remove(path: Path) -> None:
    """Remove a file, link or folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a kill leaves either the old or the new file, never a part."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(path.name + '.part')
    temporary.write_bytes(data)
    if path.exists():
        shutil.copymode(path, temporary)
    temporary.replace(path)


def pip_remedy(log: str) -> str:
    """Derive a remedy from pip's output."""
    if OFFLINE.search(log):
        return 'PyPI could not be reached: check the network (or the index and proxy of pip)'
    if 'No space left' in log:
        return 'the disk is full: about 1 GB is needed'
    return 'see the lines above; if a pin is gone from PyPI, README.md says how to update it'


class Venv:
    """A virtual environment at a prefix."""

    def __init__(self, prefix: Path) -> None:
        """Define the paths without creating anything."""
        minor = f'python{sys.version_info.major}.{sys.version_info.minor}'
        self.prefix = prefix
        self.python = prefix / 'bin' / 'python'
        self.site_packages = prefix / 'lib' / minor / 'site-packages'
        self.ros_sh = prefix / 'ros.sh'
        self.stamp = prefix / 'ros_from_pip.json'
        self.log = prefix / 'install.log'
        # Also the tools' TMPDIR, so that a killed run leaves no hundreds of megabytes in /tmp.
        self.scratch = prefix / 'build'
        self.output: BinaryIO | None = None

    # State

    def fault(self) -> str | None:
        """Return why the environment must be rebuilt; None if it is intact."""
        config = self.prefix / 'pyvenv.cfg'
        if not config.is_file():
            return 'there is none'
        version = re.search(r'^version *= *(\d+\.\d+)', config.read_text(), re.MULTILINE)
        wanted = f'{sys.version_info.major}.{sys.version_info.minor}'
        if version is None or version[1] != wanted:
            return f'it is of Python {version[1] if version else "?"}, not {wanted}'
        if not list(self.site_packages.glob('pip-*.dist-info/INSTALLER')):
            return 'it is half made'
        try:
            command = [str(self.python), '-I', '-c', 'import pip']
            subprocess.run(command, check=True, capture_output=True, env=self.variables())
        except (OSError, subprocess.CalledProcessError):
            return 'its Python does not run'
        made_as = self.made_as()
        if made_as not in (None, str(self.prefix)):
            return f'it was made as {made_as}'
        return None

    def made_as(self) -> str | None:
        """Return the prefix that ros.sh was written for: a moved environment does not work."""
        if not self.ros_sh.is_file():
            return None
        line = re.search(r'^_ros_prefix=(.*)$', self.ros_sh.read_text(), re.MULTILINE)
        return shlex.split(line[1])[0] if line else None

    def has_content(self) -> bool:
        """Return whether the folder contains more than this script's log."""
        return self.prefix.exists() and any(path != self.log for path in self.prefix.iterdir())

    def may_be_cleared(self) -> bool:
        """Return whether the folder may be emptied, as it is empty or a (partial) environment."""
        return (
            not self.has_content()
            or (self.prefix / 'pyvenv.cfg').is_file()
            or {path.name for path in self.prefix.iterdir()}
            <= {'.gitignore', 'bin', 'build', 'include', 'lib', 'lib64', self.log.name}
        )

    def clear(self) -> None:
        """Empty the folder, except the log, which is in use."""
        config = self.prefix / 'pyvenv.cfg'
        for path in self.prefix.iterdir():
            if path not in (self.log, config):
                remove(path)
        # Removed last: after a kill, the next run recognises the environment by this file.
        remove(config)

    # Stamp

    def digest(self, sources: Sequence[Path]) -> str:
        """Hash all that determines the installation, and the list of installed ROS wheels."""
        total = hashlib.sha256()
        for folder in sources:
            for path in sorted(folder.rglob('*')):
                if path.suffix in SOURCES and path.is_file():
                    total.update(f'{path.relative_to(folder)}\0'.encode() + path.read_bytes())
        total.update(f'{self.prefix}\0{sys.version_info[:2]}\0'.encode())
        # Adding or removing a ROS wheel changes the hash, because its exports need patching.
        for name in sorted(os.listdir(self.site_packages)):
            if name.startswith('ros_') and name.endswith('.dist-info'):
                total.update(f'{name}\0'.encode())
        return total.hexdigest()

    def is_current(self, sources: Sequence[Path]) -> bool:
        """Return whether the last complete installation used exactly these sources."""
        try:
            stamp = json.loads(self.stamp.read_text())
            found = self.digest(sources)
        except (OSError, ValueError):
            return False
        needed = (
            self.python,
            self.ros_sh,
            self.prefix / 'share/vision_msgs/msg/Detection2D.json',
            self.prefix / 'share/tf2_msgs/msg/TFMessage.json',
            self.prefix / 'share/hcat_ros_interfaces/srv/SetTarget.json',
        )
        return stamp == {'digest': found} and all(path.exists() for path in needed)

    def write_stamp(self, sources: Sequence[Path]) -> None:
        """Mark the installation as complete. This is the last step."""
        write_atomically(self.stamp, json.dumps({'digest': self.digest(sources)}) + '\n')

    # Repair

    def remove_half_installed(self) -> None:
        """Remove the records of half-installed packages, which pip would take for installed."""
        for info in self.site_packages.glob('*.dist-info'):
            # pip writes INSTALLER after all other files of a package.
            if not (info / 'INSTALLER').is_file():
                remove(info)
        for stash in self.site_packages.glob('~*'):
            remove(stash)

    def patch_exports(self) -> None:
        """Replace the paths of the machine that built the wheels by those of this environment."""
        query = 'import numpy, sysconfig; print(sysconfig.get_paths()["include"])'
        answer = self.run([str(self.python), '-c', query + '; print(numpy.get_include())'], '')
        python_include, numpy_include = (line.encode() for line in answer.splitlines()[-2:])
        # The order matters, because the last pattern is a prefix of the others.
        replacements = (
            (BUILD_NUMPY, numpy_include),
            (BUILD_INCLUDE, python_include),
            (BUILD_PREFIX, str(self.prefix).encode()),
        )
        for folder in (self.prefix / 'share', self.prefix / 'lib' / 'cmake'):
            for path in folder.rglob('*'):
                if not path.is_file():
                    continue
                old = new = path.read_bytes()
                for pattern, replacement in replacements:
                    new = re.sub(pattern, replacement, new)
                if new != old:
                    write_atomically(path, new)

    # Commands

    def variables(self) -> dict[str, str]:
        """Return the caller's environment variables without those that disturb the build."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith(FOREIGN)}
        # Message generators find each other through the ament index.
        return {**kept, 'AMENT_PREFIX_PATH': str(self.prefix), 'TMPDIR': str(self.scratch)}

    def run(
        self, command: Sequence[str], remedy: str | Callable[[str], str], **variables: str
    ) -> str:
        """Run a command with its output in the log and return that output; raise InstallError."""
        assert self.output is not None, 'only within locked()'
        self.output.write(f'\n$ {shlex.join(command)}\n'.encode())
        self.output.flush()
        start = self.log.stat().st_size
        self.scratch.mkdir(exist_ok=True)
        # The command inherits the lock with its output: if it outlives a killed run of this
        # script, the next run waits for it.
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            env={**self.variables(), **variables},
        )
        output = self.log.read_bytes()[start:].decode(errors='replace')
        if done.returncode != 0:
            tail = ''.join(f'  {line}\n' for line in output.splitlines()[-20:])
            name = ' '.join(Path(word).name for word in command[:3])
            advice = remedy if isinstance(remedy, str) else remedy(output)
            fault = f'{name} ... ended with {done.returncode}; all its output is in {self.log}'
            raise InstallError(fault, advice or f'remove {self.prefix} and run this again', tail)
        return output

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder for one installation, and start a new log."""
        self.prefix.mkdir(parents=True, exist_ok=True)
        with self.log.open('ab') as self.output:
            try:
                fcntl.flock(self.output, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f'waiting for another installation into {self.prefix} to end...', flush=True)
                fcntl.flock(self.output, fcntl.LOCK_EX)
            self.output.truncate(0)
            remove(self.scratch)
            try:
                yield
            finally:
                remove(self.scratch)
