# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hcat_ros.commands.main import main
from hcat_ros.evaluation.metrics import average_overlap, overlaps
from hcat_ros.evaluation.results import read_result

pytest.importorskip('jinja2', reason='needs jinja2 (pip install .[evaluate])')
pytest.importorskip('matplotlib', reason='needs matplotlib (pip install .[evaluate])')

OURS = 'ours=hcat_base:onnxruntime'


@pytest.fixture
def data(tmp_path: Path, sequence: Callable[..., Path]) -> Path:
    for number in range(2):
        sequence(tmp_path / 'video' / f'clip_{number}', 8, number, absent=(4,))
    return tmp_path / 'video'


def test_unusable_sequences_and_results_are_left_out_and_the_rest_is_scored(
    data: Path, tmp_path: Path, sequence: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The terminal output, the report and the JSON file name each of them with its reason."""
    broken = sequence(data / 'broken', 8, 3)
    next(path for path in sorted(broken.iterdir()) if path.stem.endswith('4')).write_bytes(b'none')
    sequence(data / 'once', 4, 4, absent=(1, 2, 3))
    sequence(data / 'never', 4, 5, absent=(0, 1, 2, 3))
    (data / 'ragged').mkdir()
    (data / 'ragged' / 'groundtruth.txt').write_text('1,2,3\n')
    others = tmp_path / 'others'
    others.mkdir()
    (others / 'clip_0.txt').write_text('1,1,9,9\n' * 8)
    (others / 'clip_1.txt').write_text('1,1,9,9\n' * 9)  # of 8 frames
    out = tmp_path / 'out'
    words = ('--tracker', OURS, '--results', f'theirs={others}')
    with pytest.warns(UserWarning, match='skipped'):
        assert evaluate(data, out, *words) == 3
    printed = capsys.readouterr()
    ours, theirs = json.loads((out / 'results.json').read_text())
    assert list(ours['sequences']) == ['clip_0', 'clip_1']
    assert list(theirs['sequences']) == ['clip_0']
    (text,) = ours['remarks']
    assert text.startswith('2 of 6 sequences; left out: ')
    for reason in (
        'not a readable image',
        'once: its target is in one frame only',
        'never: the target is in none of its frames',
        'ragged: ',
    ):
        assert reason in text
    assert 'clip_1.txt has 9 rows for 8 frames' in theirs['remarks'][0]
    assert '2 of 6 sequences' in printed.err
    for name in ('report.md', 'report.html'):
        assert '2 of 6 sequences' in (out / name).read_text()


def test_an_unreadable_first_image_leaves_out_only_its_sequence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = tmp_path / 'others'
    others.mkdir()
    for number in range(2):
        (others / f'clip_{number}.txt').write_text('20,30,32,24\n' * 8)
    (data / 'clip_1' / '0000.png').write_bytes(b'no image')
    out = tmp_path / 'out'
    assert evaluate(data, out, '--tracker', 'still', '--results', f'theirs={others}') == 3
    for run in json.loads((out / 'results.json').read_text()):
        assert list(run['sequences']) == ['clip_0']
        assert '1 of 2 sequences; left out: clip_1: ' in run['remarks'][0]
    assert '0000.png is not a readable image' in capsys.readouterr().err


def test_names_that_are_not_utf_8_are_printed_with_escapes(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / 'clip_1').rename(data / os.fsdecode(b'caf\xe9'))
    out = tmp_path / os.fsdecode(b'out\xe9')
    words = ('--tracker', 'still', '--realtime', '30', '--latency-ms', '50,5')
    assert evaluate(data, out, *words) == 0
    assert rf'{tmp_path}/out\udce9/report.html' in capsys.readouterr().out
    for name in ('report.md', 'report.html'):
        assert r'caf\xe9' in (out / name).read_text(encoding='utf-8')


def test_an_output_folder_beside_the_sequences_is_not_read_as_one(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    for _ in range(2):
        assert main(['evaluate', '.', '--tracker', 'still']) == 0
    (run,) = json.loads(Path('evaluation/results.json').read_text())
    assert run['remarks'] == []


def evaluate(data: Path, out: Path, *words: str) -> int:
    return main(['evaluate', str(data), '--out', str(out), *words])


def test_printed_scores_match_the_result_files(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out'
    words = ('--tracker', OURS, 'opencv:mil', 'still', '--jobs', '2', '--realtime', '30')
    assert evaluate(data, out, *words, '--latency-ms', '50,5', '--least-rate') == 0
    printed = capsys.readouterr().out
    document = {run['title']: run for run in json.loads((out / 'results.json').read_text())}
    assert list(document) == ['ours', 'OpenCV MIL', 'still']
    ours = document['ours']
    aos = []
    for number in range(2):
        text = (data / f'clip_{number}' / 'groundtruth.txt').read_text().replace(',', ' ')
        truth = np.array([[float(v) for v in row.split()] for row in text.splitlines()])
        kept = read_result(out / 'ours' / 'offline' / f'clip_{number}.csv')
        aos.append(ours['sequences'][f'clip_{number}']['AO'])
        assert aos[-1] == average_overlap(overlaps(kept.boxes[1:], truth[1:]))
    assert ours['measures']['AO'] == pytest.approx(np.mean(aos))
    assert f'{ours["measures"]["AO"]:.3f}' in printed
    assert ours['measures']['AO'] > document['still']['measures']['AO']
    assert ours['real time']['real'] < ours['real time']['offline']
    assert 0.2 < ours['real time']['skipped'] < 0.45, 'an update takes one frame and a half'
    assert ours['real time']['least_rate'] <= 30
    assert document['still']['real time']['real'] == document['still']['measures']['AO']
    page = (out / 'report.html').read_text()
    assert 'clip_1' in page
    assert 'OpenCV MIL' in page


def test_a_second_evaluation_adds_trackers_and_reuses_results(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out'
    assert evaluate(data, out, '--tracker', 'still') == 0
    file = out / 'still' / 'offline' / 'clip_0.csv'
    when = file.stat().st_mtime_ns
    assert evaluate(data, out, '--tracker', 'still', f'{OURS}:fp32') == 0
    assert file.stat().st_mtime_ns == when
    assert evaluate(data, out, '--tracker', f'{OURS}:int8') == 1
    assert 'ours holds results of another configuration' in capsys.readouterr().err
    assert evaluate(data, out, '--tracker', f'{OURS}:int8', '--restart') == 0


def test_result_files_of_another_program_are_scored(data: Path, tmp_path: Path) -> None:
    out, theirs = tmp_path / 'out', tmp_path / 'theirs'
    theirs.mkdir()
    for number in range(2):
        text = (data / f'clip_{number}' / 'groundtruth.txt').read_text()
        (theirs / f'clip_{number}.txt').write_text(text.replace('nan nan nan nan', '9,9,9,9'))
    words = ('--tracker', 'still', '--results', f'perfect={theirs}', '--sequences', 'clip_1')
    assert evaluate(data, out, *words) == 0
    still, perfect = json.loads((out / 'results.json').read_text())
    assert perfect['measures']['AO'] == 1
    assert list(perfect['sequences']) == list(still['sequences']) == ['clip_1']


def test_restart_does_not_delete_results_that_it_reads(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out'
    assert evaluate(data, out, '--tracker', 'still') == 0
    kept = {path: path.read_bytes() for path in out.rglob('*.csv')}
    assert len(kept) == 2
    (tmp_path / 'link').symlink_to(out / 'still')
    for folder in (out / 'still' / 'offline', out / 'still', tmp_path / 'link' / 'offline'):
        words = ('--tracker', 'still', '--results', f'old={folder}', '--restart')
        assert evaluate(data, out, *words) == 1
        assert f'--results old={folder} lies in {out / "still"}' in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob('*.csv')} == kept
    words = ('--tracker', 'now=still', '--results', f'old={out / "still" / "offline"}')
    assert evaluate(data, out, *words, '--restart') == 0


def test_a_benchmark_without_ground_truth_gives_a_submission_archive(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / 'got10k' / 'test'
    for number in range(2):
        folder = root / f'GOT-10k_Test_{number:06d}'
        folder.mkdir(parents=True)
        for index, image in enumerate(sorted((data / f'clip_{number}').glob('*.png')), 1):
            (folder / f'{index:08d}.png').write_bytes(image.read_bytes())
        (folder / 'groundtruth.txt').write_text('20,30,32,24\n')
    out = tmp_path / 'out'
    words = ('--benchmark', 'got10k', '--tracker', OURS)
    assert evaluate(root.parent, out, *words) == 1
    assert 'first boxes only' in capsys.readouterr().err
    assert evaluate(root.parent, out, *words, '--submission') == 0
    names = zipfile.ZipFile(out / 'ours.zip').namelist()
    assert 'GOT-10k_Test_000001/GOT-10k_Test_000001_001.txt' in names
    assert len(names) == 4


def test_a_submission_contains_only_the_test_split(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / 'got10k'
    for split, name in (('val', 'GOT-10k_Val_000001'), ('test', 'GOT-10k_Test_000001')):
        folder = root / split / name
        folder.mkdir(parents=True)
        for index, image in enumerate(sorted((data / 'clip_0').glob('*.png')), 1):
            (folder / f'{index:08d}.png').write_bytes(image.read_bytes())
        count = 8 if split == 'val' else 1
        (folder / 'groundtruth.txt').write_text('20,30,32,24\n' * count)
        (folder / 'absence.label').write_text('0\n' * count)
    words = ('--benchmark', 'got10k', '--tracker', 'still', '--submission')
    for place, out in ((root, tmp_path / 'a'), (root / 'test', tmp_path / 'b')):
        assert evaluate(place, out, *words) == 0
        names = zipfile.ZipFile(out / 'still.zip').namelist()
        assert {name.split('/')[0] for name in names} == {'GOT-10k_Test_000001'}
    assert evaluate(root / 'val', tmp_path / 'c', *words) == 1
    assert '--submission: no folder' in capsys.readouterr().err
    (root / 'test' / 'GOT-10k_Test_000002').mkdir()
    (root / 'test' / 'GOT-10k_Test_000002' / 'groundtruth.txt').write_text('1,2,3\n')
    with pytest.warns(UserWarning, match='skipped'):
        assert evaluate(root, tmp_path / 'd', *words) == 3
    assert 'still.zip lacks 1 of 2 sequences' in capsys.readouterr().err
    for index, image in enumerate(sorted((data / 'clip_1').glob('*.png')), 1):
        target = root / 'test' / 'GOT-10k_Test_000002' / f'{index:08d}.png'
        target.write_bytes(image.read_bytes() if index != 5 else b'no image')
    (root / 'test' / 'GOT-10k_Test_000002' / 'groundtruth.txt').write_text('20,30,32,24\n')
    words = (*words[:3], OURS, '--submission')
    assert evaluate(root, tmp_path / 'e', *words) == 3
    assert 'GOT-10k_Test_000002: ' in capsys.readouterr().err
    assert len(zipfile.ZipFile(tmp_path / 'e' / 'ours.zip').namelist()) == 2


def test_multi_start_reports_accuracy_and_robustness(data: Path, tmp_path: Path) -> None:
    assert evaluate(data, tmp_path / 'out', '--tracker', OURS, '--multi-start') == 0
    (run,) = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert 0.3 < run['measures']['accuracy'] <= 1
    assert 0.5 < run['measures']['robustness'] <= 1
    passes = sorted(p.name for p in (tmp_path / 'out' / 'multi-start').rglob('*.csv'))
    assert passes == [
        f'clip_{number}_0000000{frame}_{way}.csv'
        for number in range(2)
        for frame, way in ((0, 'forward'), (7, 'backward'))
    ]


@pytest.mark.parametrize(
    ('words', 'reason'),
    [
        (('--tracker', 'still', 'still'), "two trackers are called 'still'"),
        (('--tracker', 'opencv:abacus'), "no tracker 'abacus' in OpenCV"),
        (('--tracker', 'no_such_model'), "no model 'no_such_model'"),
        (('--sequences', 'clip_9'), 'no sequence clip_9; expected some of clip_0, clip_1'),
        (('--results', 'theirs'), "--results 'theirs': expected LABEL=FOLDER"),
        (('--results', 'a=/no/such'), 'no folder /no/such'),
        (('--latency-ms', '10'), '--latency-ms needs --realtime FPS'),
        (('--least-rate',), '--least-rate needs --realtime FPS'),
        (('--permitted', '0'), '--permitted needs --realtime FPS'),
        (('--predict', 'constant_velocity'), '--predict needs --realtime FPS'),
        (('--realtime', '30', '--latency-ms', 'inf'), 'latency inf ms'),
        (('--realtime', '30', '--latency-ms', 'x'), "--latency-ms 'x': expected MEAN or MEAN,DEV"),
        (('--realtime', '30', '--latency-ms', '1,2,3'), 'expected MEAN or MEAN,DEVIATION'),
        (('--realtime', '-1'), '-1 frames a second: expected more than 0'),
        (('--jobs', '0'), '--jobs 0: expected 1 to 256'),
        (('--submission',), "'plain' has no server to send results to"),
    ],
)
def test_invalid_arguments_are_reported(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    reason: str,
) -> None:
    assert evaluate(data, tmp_path / 'out', *words) == 1
    assert reason in capsys.readouterr().err
