# SPDX-License-Identifier: Apache-2.0
"""Stronger trackers from which a network learns in addition to the true boxes (distillation)."""

from __future__ import annotations

from hcat_ros.training.teachers.base import (
    GRID,
    SEARCH_SIZE,
    TEMPLATE_SIZE,
    Sight,
    Teacher,
    TeacherConfig,
    fingerprint,
)
from hcat_ros.training.teachers.committee import Committee, Lesson
from hcat_ros.training.teachers.lightfc import LightFC
from hcat_ros.training.teachers.nanotrack import NanoTrack

__all__ = [
    'GRID',
    'SEARCH_SIZE',
    'TEMPLATE_SIZE',
    'Committee',
    'Lesson',
    'LightFC',
    'NanoTrack',
    'Sight',
    'Teacher',
    'TeacherConfig',
    'fingerprint',
    'load_teacher',
]


def load_teacher(config: TeacherConfig) -> Teacher:
    """Return the teacher that `config` describes. Raises ValueError for missing files."""
    return LightFC(config) if config.kind == 'lightfc' else NanoTrack(config)
