# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from hcat_ros.nodes.fast_dds import VARIABLE, profile_variables


@pytest.mark.parametrize(
    ('rmw', 'own', 'given'),
    [
        (None, None, True),
        ('', None, True),
        ('rmw_fastrtps_cpp', None, True),
        ('rmw_cyclonedds_cpp', None, False),
        (None, 'mine.xml', False),
    ],
)
def test_profile_is_set_only_for_fast_dds_without_a_user_profile(
    monkeypatch: pytest.MonkeyPatch, rmw: str | None, own: str | None, given: bool
) -> None:
    for name, value in (('RMW_IMPLEMENTATION', rmw), (VARIABLE, own)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert profile_variables(Path('p.xml')) == ({VARIABLE: 'p.xml'} if given else {})


@pytest.mark.parametrize(
    ('name', 'room'), [('tracker', 1920 * 1080 * 3), ('large_images', 3840 * 2160 * 3)]
)
def test_shared_memory_segment_holds_one_image(checkout: Path, name: str, room: int) -> None:
    root = ET.parse(checkout / 'config' / f'fastdds_{name}.xml').getroot()
    size = root.find('.//{*}segment_size')
    assert size is not None
    assert int(size.text or 0) > room
