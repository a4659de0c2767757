# SPDX-License-Identifier: Apache-2.0
"""Model cards with invalid values."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from hcat_ros.models import CARD_FILE, ModelError, load_model


@pytest.mark.parametrize(
    'field',
    [
        {'name': ['a', 'list']},
        {'name': 'x' * 1000},
        {'name': 'two\nlines'},
        {'name': ' '},
        {'description': 3},
        {'lost_threshold': 99},
        {'lost_threshold': True},
        {'found_threshold': float('nan')},
        {'lost_threshold': 0.96, 'uncertain_threshold': 0.97},
        {'lost_threshold': 0.9, 'uncertain_threshold': 0.8},
        {'size_smoothing': 0},
        {'box_correction': 1.5},
        {'search_size': 10**9},
        {'sha256': {'../../etc/passwd': 'a' * 64}},
        {'sha256': {'search.onnx': 7}},
    ],
)
def test_model_card_with_an_invalid_value_is_refused(tmp_path: Path, field: dict[str, Any]) -> None:
    """A list as the name once silenced the node's diagnostics for good."""
    folder = Path(shutil.copytree(load_model().folder, tmp_path / 'model'))
    content = yaml.safe_load((folder / CARD_FILE).read_text())
    (folder / CARD_FILE).write_text(yaml.safe_dump(content | field))
    with pytest.raises(ModelError, match='expected') as error:
        load_model(folder)
    assert str(folder / CARD_FILE) in str(error.value)
    assert len(str(error.value)) < 800
