# SPDX-License-Identifier: Apache-2.0
"""Files that others made, read within bounds, and files of ours, written whole or not at all."""

from hcat_ros.files.reading import (
    check_name,
    load_json,
    load_yaml,
    parse_yaml,
    printable,
    read_bytes,
    read_text,
    shown,
    stand_in,
)
from hcat_ros.files.writing import check_outputs, scratch_folder, whole_file, whole_rows, write_text

__all__ = [
    'check_name',
    'check_outputs',
    'load_json',
    'load_yaml',
    'parse_yaml',
    'printable',
    'read_bytes',
    'read_text',
    'scratch_folder',
    'shown',
    'stand_in',
    'whole_file',
    'whole_rows',
    'write_text',
]
