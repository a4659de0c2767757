# SPDX-License-Identifier: Apache-2.0
"""Entry point of `hcat`."""

from __future__ import annotations

import argparse
import io
import signal
import sys
from collections.abc import Sequence

from hcat_ros import __version__
from hcat_ros.commands import (
    add_ncnn,
    benchmark,
    build_engine,
    doctor,
    evaluate,
    export,
    label,
    lessons,
    paper,
    quantize,
    replay,
    select,
    target,
    track,
    train,
    tune,
)
from hcat_ros.commands.ending import IncompleteError, Stopped, signals_stop
from hcat_ros.commands.messages import show_messages
from hcat_ros.executables import INCOMPLETE

VERBS = {
    'track': track,
    'select': select,
    'target': target,
    'doctor': doctor,
    'benchmark': benchmark,
    'evaluate': evaluate,
    'replay': replay,
    'tune': tune,
    'export': export,
    'paper': paper,
    'quantize': quantize,
    'build-engine': build_engine,
    'add-ncnn': add_ncnn,
    'label': label,
    'lessons': lessons,
    'train': train,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns 0; 1 after an error, with a message; 3 if parts of the input were left out, with a
    warning; 128 plus the signal's number after SIGINT, SIGTERM and SIGHUP.
    """
    parser = argparse.ArgumentParser('hcat', description='HCAT single-object tracking')
    parser.add_argument('--version', action='version', version=f'hcat_ros {__version__}')
    verbs = parser.add_subparsers(dest='verb', metavar='VERB', required=True)
    for name, module in VERBS.items():
        summary = (module.__doc__ or '').strip()
        module.add_arguments(
            verbs.add_parser(
                name,
                help=summary.splitlines()[0],
                description=summary,
                formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            )
        )
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = parser.parse_args(words)
    arguments.command = ['hcat', *words]
    show_messages()
    if isinstance(sys.stdout, io.TextIOWrapper):  # like stderr: file names may not be UTF-8
        sys.stdout.reconfigure(errors='backslashreplace')
    try:
        with signals_stop():
            VERBS[arguments.verb].run(arguments)
    except IncompleteError as error:
        print(f'hcat {arguments.verb}: warning: {error}', file=sys.stderr)
        return INCOMPLETE
    except (OSError, ValueError, RuntimeError, ModuleNotFoundError) as error:
        print(f'hcat {arguments.verb}: {error}', file=sys.stderr)
        return 1
    except Stopped as stopped:
        print(f'hcat {arguments.verb}: ended by {stopped}', file=sys.stderr)
        return 128 + stopped.number
    except KeyboardInterrupt:  # from a library with its own signal handler
        return 128 + signal.SIGINT
    return 0
