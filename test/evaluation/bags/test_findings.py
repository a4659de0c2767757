# SPDX-License-Identifier: Apache-2.0
import pytest

pytest.importorskip('zstandard', reason="needs pip install 'hcat_ros[evaluate]'")
pytest.importorskip('rosbags', reason="needs pip install 'hcat_ros[evaluate]'")

from hcat_ros.evaluation.bags.findings import Findings


def test_each_kind_of_finding_is_listed_once_with_count_and_first_case() -> None:
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


def test_left_out_parts_are_a_subset_of_the_findings() -> None:
    findings = Findings()
    findings.note('metadata.yaml is missing: the files in the folder are read')
    findings.note('walk_3.mcap is missing', left_out=True)
    findings.note('walk_3.mcap is missing')
    findings.add('images passed over', 'image 3')
    findings.add('refused boxes', 'image 0', left_out=True)
    findings.add('refused boxes', 'image 1', left_out=True)
    assert findings.left_out == ['walk_3.mcap is missing', 'refused boxes: 2, the first: image 0']
    assert len(list(findings)) == 4
