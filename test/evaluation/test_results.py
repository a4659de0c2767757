# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hcat_ros.evaluation.results import SequenceResult, read_result, write_result


def some(frames: int = 7) -> SequenceResult:
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=frames)
    scores[0] = np.nan
    lost = rng.uniform(size=frames) > 0.5
    return SequenceResult(rng.uniform(0, 900, (frames, 4)), scores, lost, rng.uniform(size=frames))


def test_a_written_result_is_read_back_unchanged(tmp_path: Path) -> None:
    path = tmp_path / 'new folder' / 'clip.csv'
    written = some()
    write_result(written, path)
    read = read_result(path)
    np.testing.assert_array_equal(read.boxes, written.boxes, 'to the last bit')
    np.testing.assert_array_equal(read.scores, written.scores)
    np.testing.assert_array_equal(read.lost, written.lost)
    np.testing.assert_allclose(read.seconds, written.seconds, atol=1e-7)
    assert [file.name for file in path.parent.iterdir()] == ['clip.csv']


def test_an_unclosed_quote_is_reported_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / 'clip.csv'
    write_result(some(2000), path)
    lines = path.read_text().split('\n')
    lines[2] = '1,"' + lines[2][2:]
    path.write_text('\n'.join(lines))
    with pytest.raises(ValueError, match=r'clip\.csv: field larger than .*delete the file'):
        read_result(path)


@pytest.mark.parametrize(
    ('old', 'new', 'reason'),
    [
        ('frame,x', 'frame,left', 'expected a first line frame,x,y,w,h,score,state,ms'),
        ('\n3,', '\n4,', 'line 5: expected .* of frame 3, got 4,'),
        ('lost', 'found', 'line .: expected'),
        ('\n2,', '\n2,x', 'line 4: expected'),
    ],
)
def test_a_damaged_file_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    path = tmp_path / 'clip.csv'
    write_result(some(), path)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=rf'clip\.csv.*{reason}'):
        read_result(path)
