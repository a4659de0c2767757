# SPDX-License-Identifier: Apache-2.0
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('onnxruntime', reason='an engine runs here')
pytest.importorskip('matplotlib', reason="--plot needs it (pip install 'hcat_ros[evaluate]')")


from hcat_ros.commands.main import main
from hcat_ros.models import load_model


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    """One sequence: a square that moves nearly its width per frame; frame 3 has no box."""
    folder = tmp_path / 'sequences' / 'square'
    folder.mkdir(parents=True)
    rows = []
    for number in range(6):
        frame = np.full((160, 300, 3), 90, np.uint8)
        x = 40 + 34 * number
        frame[50:90, x : x + 40] = (40, 200, 240)
        frame[60:80, x + 10 : x + 30] = (200, 30, 60)
        cv2.imwrite(str(folder / f'{number:04d}.png'), frame)
        rows.append(f'{x},50,40,40' if number != 3 else 'nan,nan,nan,nan')
    (folder / 'groundtruth.txt').write_text('\n'.join(rows))
    return folder.parent


def test_a_sweep_writes_table_plot_and_card(
    sequences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / 'model'
    shutil.copytree(load_model('hcat_base').folder, model)
    arguments = ['tune', str(sequences), '--model', str(model), '--jobs', '2', '--write']
    arguments += ['--penalties', '0.2', '1.0', '--smoothings', '0.5', '--corrections', '0.9']
    assert main([*arguments, '--plot', str(tmp_path / 'plot.png')]) == 0
    printed = capsys.readouterr().out
    assert '| 0.2 | 0.5 | 0.9 | 0.' in printed
    assert 'best: window_penalty 0.2, size_smoothing 0.5, box_correction 0.9' in printed, (
        'a penalty of 1 holds it back'
    )
    assert cv2.imread(str(tmp_path / 'plot.png')).shape == (420, 720, 3)
    card = load_model(model).card
    assert (card.window_penalty, card.size_smoothing, card.box_correction) == (0.2, 0.5, 0.9)
    assert card.scores['AO']['square'] > 0.5
    assert card.scores['INT8'] == load_model('hcat_base').card.scores['INT8']


def test_a_sequence_with_a_single_box_is_left_out_of_the_card(
    sequences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once = sequences / 'once'
    shutil.copytree(sequences / 'square', once)
    (once / 'groundtruth.txt').write_text('40,50,40,40\n' + 'nan,nan,nan,nan\n' * 5)
    model = tmp_path / 'model'
    shutil.copytree(load_model('hcat_base').folder, model)
    words = ['tune', str(sequences), '--model', str(model), '--penalties', '0.2', '--write']
    with pytest.warns(UserWarning, match='skipped once: its target is in one frame only'):
        assert main([*words, '--smoothings', '0.5']) == 3
    assert 'left out: once: its target is in one frame only' in capsys.readouterr().err
    scores = load_model(model).card.scores
    assert list(scores['AO']) == ['square']
    assert 0.5 < scores['mean AO'] <= 1


def test_only_sequences_with_a_single_box_are_refused(
    sequences: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = sequences / 'square' / 'groundtruth.txt'
    truth.write_text('40,50,40,40\n' + 'nan,nan,nan,nan\n' * 5)
    with pytest.warns(UserWarning, match='skipped square'):
        assert main(['tune', str(sequences)]) == 1
    assert 'no sequence can be scored: square' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('extra', 'reason'),
    [
        (['--penalties', '2'], 'window_penalty 2.0: expected 0 to 1'),
        (['--corrections', '-1'], 'box_correction -1.0: expected 0 to 1'),
        (['--jobs', '0'], '--jobs 0'),
        (['--plot', 'ao.svg'], '--plot ao.svg: expected a name that ends in .png'),
        (['--model', 'nope'], "no model 'nope'"),
    ],
)
def test_invalid_arguments_are_reported(
    sequences: Path, extra: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['tune', str(sequences), *extra]) == 1
    assert reason in capsys.readouterr().err


def test_an_empty_folder_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['tune', str(tmp_path)]) == 1
    assert 'no usable sequence' in capsys.readouterr().err
