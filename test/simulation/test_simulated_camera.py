# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from hcat_ros.simulation.camera import Pinhole, Pose, bearing_of

LENS = Pinhole(640, 480, math.radians(70))
poses = st.builds(
    Pose,
    st.floats(-50, 50),
    st.floats(-50, 50),
    st.floats(0, 50),
    st.floats(-3.1, 3.1),
    st.floats(-1.2, 1.2),
)


def test_left_is_positive_and_up_is_positive() -> None:
    pose = Pose(1.0, 2.0, 1.0, math.pi / 2, 0.0)  # looks along y
    assert_allclose(pose.seen(np.array((1.0, 5.0, 1.0))), (3, 0, 0), atol=1e-12)
    left = bearing_of(pose.seen(np.array((0.0, 3.0, 1.0))))
    assert left.azimuth == pytest.approx(math.pi / 4)
    above = bearing_of(pose.seen(np.array((1.0, 4.0, 3.0))))
    assert above == pytest.approx((0.0, math.pi / 4, math.sqrt(8)))


def test_the_image_edge_is_at_half_the_field_of_view() -> None:
    half = math.tan(math.radians(35))
    u, _, w = LENS.projection(Pose(0, 0, 0, 0, 0)) @ (1.0, half, 0.0)
    assert u / w == pytest.approx(-0.5)  # the left edge of pixel 0
    assert LENS.matrix[0, 0] == LENS.matrix[1, 1] == LENS.focal


@given(poses, st.floats(-0.5, 0.5), st.floats(-0.4, 0.4), st.floats(1, 50))
def test_bearing_and_projection_agree(
    pose: Pose, azimuth: float, elevation: float, distance: float
) -> None:
    seen = distance * np.array(
        (
            math.cos(elevation) * math.cos(azimuth),
            math.cos(elevation) * math.sin(azimuth),
            math.sin(elevation),
        )
    )
    assert bearing_of(seen) == pytest.approx((azimuth, elevation, distance))
    point = pose.position + pose.axes.T @ seen
    u, v, w = LENS.projection(pose) @ (point - pose.position)
    assert (LENS.centre[0] - u / w) / LENS.focal == pytest.approx(math.tan(azimuth), abs=1e-6)
    up = math.tan(elevation) / math.cos(azimuth)
    assert (LENS.centre[1] - v / w) / LENS.focal == pytest.approx(up, abs=1e-6)


@given(poses)
def test_level_rays_project_onto_the_horizon(pose: Pose) -> None:
    for turn in (-0.3, 0.0, 0.4):
        level = (math.cos(pose.yaw + turn), math.sin(pose.yaw + turn), 0.0)
        _, v, w = LENS.projection(pose) @ level
        assert v / w == pytest.approx(LENS.horizon(pose))
