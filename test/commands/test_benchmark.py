# SPDX-License-Identifier: Apache-2.0
import pytest

from hcat_ros.commands.benchmark import table
from hcat_ros.commands.main import main


def test_table_has_medians_percentiles_and_ratios() -> None:
    rows = {'slow': [(0.001, 0.018, 0.001)] * 3, 'fast': [(0.001, 0.008, 0.001)] * 3}
    lines = table(rows).splitlines()
    assert lines[2] == '| slow | 1.00 | 18.00 | 1.00 | 20.00 | 20.00 | 20.00 | 1.00 |'
    assert lines[3] == '| fast | 1.00 | 8.00 | 1.00 | 10.00 | 10.00 | 10.00 | 2.00 |'


def test_a_real_run(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ['benchmark', '--frames', '3', '--size', '320', '240', '--threads', '1', '2']
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.count('| hcat_lite0, onnxruntime fp32') == 2
    assert '3 frames of 320x240' in printed


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['--frames', '0'], '--frames of 1 or more'),
        (['--engine', 'abacus'], "no engine 'abacus'"),
        (['--model', 'nope'], "no model 'nope'"),
        (['--precision', 'fp8'], "no precision 'fp8'; it has fp32"),
        (['--threads', '-1'], 'threads -1'),
    ],
)
def test_errors_are_told(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['benchmark', *arguments]) == 1
    assert reason in capsys.readouterr().err
