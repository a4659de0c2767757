# SPDX-License-Identifier: Apache-2.0
"""Reads files of others within size limits, and writes files completely or not at all."""

from hcat_ros.files.reading import (
    check_name,
    describe_stand_in,
    load_json,
    load_yaml,
    parse_yaml,
    printable,
    read_bytes,
    read_text,
    shown,
)
from hcat_ros.files.writing import check_outputs, scratch_folder, whole_file, whole_rows, write_text

__all__ = [
    'check_name',
    'check_outputs',
    'describe_stand_in',
    'load_json',
    'load_yaml',
    'parse_yaml',
    'printable',
    'read_bytes',
    'read_text',
    'scratch_folder',
    'shown',
    'whole_file',
    'whole_rows',
    'write_text',
]
