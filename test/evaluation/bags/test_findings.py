# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip('zstandard', reason="needs pip install 'hcat_ros[evaluate]'")
pytest.importorskip('rosbags', reason="needs pip install 'hcat_ros[evaluate]'")

from hcat_ros.evaluation.bags.findings import Findings


def test_each_kind_is_told_once_with_its_first() -> None:
    findings = Findings()
    assert list(findings) == []
    findings.add('late images', 'image 3')
    findings.note('the file is cut off')
    findings.add('late images', 'image 9')
    findings.add('odd images', 'image 4')
    findings.note('the file is cut off')
    assert findings.counts == {'late images': 2, 'odd images': 1}
    assert list(findings) == [
        'the file is cut off',
        'late images: 2, the first: image 3',
        'odd images: 1, the first: image 4',
    ]
