# SPDX-License-Identifier: Apache-2.0
"""Entry point of `hcat`."""

from __future__ import annotations

import argparse
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
    track,
    train,
    tune,
)
from hcat_ros.commands.messages import show_messages

VERBS = {
    'track': track,
    'select': select,
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
    """Run one verb. Returns 0, 1 after an error that was told, 130 when interrupted."""
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
    try:
        VERBS[arguments.verb].run(arguments)
    except (OSError, ValueError, RuntimeError, ModuleNotFoundError) as error:
        print(f'hcat {arguments.verb}: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
