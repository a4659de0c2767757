# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('jinja2', reason="needs jinja2: pip install 'hcat_ros[evaluate]'")
pytest.importorskip('matplotlib', reason="needs matplotlib: pip install 'hcat_ros[evaluate]'")

from made_runs import two_runs, write_clips

from hcat_ros.evaluation.clips import Clip
from hcat_ros.evaluation.scored_run import Run


@pytest.fixture(scope='session')
def clips(
    tmp_path_factory: pytest.TempPathFactory,
    write_image: Callable[..., Path],
    picture: Callable[..., np.ndarray],
) -> list[Clip]:
    """Three sequences; in all of them the target is hidden in frames 40 to 44."""
    root = tmp_path_factory.mktemp('sequences')
    names = ('ball', 'car', 'dog')
    return write_clips(root, write_image, picture, names, absent=range(40, 45))


@pytest.fixture(scope='session')
def runs(clips: list[Clip]) -> list[Run]:
    """A good and a bad run; see `two_runs`."""
    return two_runs(clips)
