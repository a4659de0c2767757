# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')
pytest.importorskip('rosbags', reason="needs rosbags (pip install 'hcat_ros[evaluate]')")

from bags import BEGIN, CAMERA, SECOND, BagWriter, raw_image, write_bag, write_sequence_bag

from hcat_ros.boxes import Box
from hcat_ros.commands.main import main
from hcat_ros.commands.replay import describe_losses
from hcat_ros.evaluation.bags.output import detection
from hcat_ros.evaluation.bags.replay import JUDGEMENT, WRITTEN
from hcat_ros.evaluation.clips import read_clips
from hcat_ros.evaluation.one_pass import measures, one_pass
from hcat_ros.evaluation.results import SequenceResult
from hcat_ros.evaluation.trackers import HcatSpec

ENGINE = ['--engine', 'onnxruntime', '--precision', 'fp32', '--threads', '1']


@pytest.fixture
def bag(tmp_path: Path, sequence: Callable[..., Path]) -> Path:
    return write_sequence_bag(tmp_path / 'walk', sequence(tmp_path / 'images' / 'patch'))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def timeless(path: Path) -> list[dict[str, str]]:
    """Return the rows without the column of times, which differs from run to run."""
    return [{name: row[name] for name in row if name != 'ms'} for row in rows(path)]


def failure(argv: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """Run the command, which must fail with one line on stderr, and return that line."""
    capfd.readouterr()
    assert main(['replay', *ENGINE, *argv]) == 1
    text = capfd.readouterr().err
    assert text.startswith('hcat replay: ')
    assert text.count('\n') == 1
    return text


def test_several_targets_are_each_scored_by_their_own_truth(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = tmp_path / 'still.txt'
    still.write_text('90,60,24,24\n' * 5)
    out = tmp_path / 'out'
    argv = ['--box', '20', '30', '32', '24', '--box', '90', '60', '24', '24']
    argv += ['--truth', '/truth', '--truth', str(still), '--out', str(out)]
    assert main(['replay', str(bag), *argv, *ENGINE]) == 0
    assert (
        'targets: 2, named by --box; followed, lost or not, on 5 images\n'
        in capsys.readouterr().out
    )
    table = rows(out / 'track.csv')
    assert [row['target'] for row in table] == ['1', '2'] * 5
    assert [row['state'] for row in table[:2]] == ['named', 'named']
    for target in ('1', '2'):
        found = [float(row['iou']) for row in table if row['target'] == target]
        assert found[0] == 1.0
        assert np.mean(found[1:]) > 0.5
    report = (out / 'report.md').read_text()
    assert 'walk, target 1' in report
    assert 'walk, target 2' in report


def test_a_bag_is_replayed_and_scored(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(['replay', str(bag), '--truth', '/truth', *ENGINE]) == 0
    out = tmp_path / 'walk_replay'
    files = {file.name for file in out.iterdir()}
    assert files == {*WRITTEN, 'report.html', 'report.md', 'replay.json'}
    table = rows(out / 'track.csv')
    assert [row['state'] for row in table] == ['named', *['tracking'] * 4]
    text = capsys.readouterr().out
    assert 'walk: 5 of 5 images on /camera/image\n' in text
    assert 'targets: 1, named by /init_box; followed, lost or not, on 5 images\n' in text
    overlap = np.mean([float(row['iou']) for row in table[1:]])
    assert overlap > 0.5
    assert f'AO {overlap:.3f}, success AUC ' in text
    assert '4 images judged\n' in text
    assert 'ms an image, 95 % within ' in text
    assert 'lost on 0 images\n' in text
    assert 'wrote walk_replay/track.mcap, ' in text
    assert 'note' not in text
    page = (out / 'report.html').read_text()
    assert 'Replay of walk' in page
    assert 'data:image/jpeg;base64,' in page  # images of the bag are embedded in the page


def test_images_without_a_track_count_as_misses_and_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images 2 and 3 are recorded after image 4: two of the five scored images are missed."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (60, 80, 3), np.uint8)
    with BagWriter(tmp_path / 'walk') as bag:
        for recorded, number in enumerate((0, 1, 4, 2, 3, 5)):
            at, stamp = BEGIN + recorded * SECOND // 10, BEGIN + number * SECOND // 10
            bag.add(CAMERA, at, raw_image(stamp, picture))
            bag.add('/truth', at, detection(stamp, '', Box(20, 12, 30, 24)))
    assert main(['replay', 'walk', '--truth', '/truth', *ENGINE]) == 0
    words = 'images with a true box but no track, counted as overlap 0: 2'
    assert f'; 5 images judged; {words}\n' in capsys.readouterr().out
    out = tmp_path / 'walk_replay'
    for name in ('report.md', 'report.html'):
        assert words in (out / name).read_text()
    content = json.loads((out / 'replay.json').read_text())
    (run,) = content['runs']
    assert run['remarks'] == [words]
    assert run['images judged'] == 5
    found = [float(row['iou']) for row in rows(out / 'track.csv')[1:] if row['iou']]
    assert len(found) == 3
    assert run['measures']['AO'] == pytest.approx(sum(found) / 5, abs=1e-3)
    assert content['findings'][0].startswith('images passed over: 2')


def test_both_storage_formats_and_repeated_runs_give_the_same_track(
    tmp_path: Path, sequence: Callable[..., Path]
) -> None:
    images = sequence(tmp_path / 'images' / 'patch')
    tables = []
    for name, storage in (('a', 'sqlite3'), ('b', 'mcap'), ('c', 'mcap')):
        bag = write_sequence_bag(tmp_path / name, images, storage=storage)
        out = tmp_path / f'{name}_out'
        assert main(['replay', str(bag), '--out', str(out), *ENGINE]) == 0
        tables.append(timeless(out / 'track.csv'))
    assert tables[0] == tables[1] == tables[2]
    assert len(tables[0]) == 5


def test_a_recorded_track_is_scored_beside_the_replayed_one(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / 'first', tmp_path / 'second'
    argv = ['replay', str(bag), '--truth', '/truth', *ENGINE]
    assert main([*argv, '--out', str(first)]) == 0
    capsys.readouterr()
    assert main([*argv, '--out', str(second), '--track', str(first)]) == 0
    text = capsys.readouterr().out
    assert re.search(
        r'track in first: 4 images have a track in both, boxes differ by at most', text
    )
    gap = float(re.search(r'at most ([\d.e-]+) px', text)[1])  # type: ignore[index]
    assert gap < 1e-9
    assert '| track in first |' in (second / 'report.md').read_text()


@pytest.mark.parametrize('kept', ['folder', 'file', 'truth'])
def test_a_replay_never_overwrites_its_inputs(
    tmp_path: Path,
    sequence: Callable[..., Path],
    kept: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`walk_replay` is the default output of the replay of `walk`, and here also an input."""
    monkeypatch.chdir(tmp_path)
    write_sequence_bag(tmp_path / 'walk', sequence(tmp_path / 'images' / 'patch'))
    assert main(['replay', 'walk', '--truth', '/truth', *ENGINE]) == 0
    before = {file: file.read_bytes() for file in Path('walk_replay').iterdir()}
    argv = {
        'folder': ['--track', 'walk_replay'],
        'file': ['--track', 'walk_replay/track.mcap'],
        'truth': ['--truth', 'walk_replay/track.csv'],
    }[kept]
    assert 'which is read; name another output' in failure(['walk', *argv, '--force'], capfd)
    assert {file: file.read_bytes() for file in Path('walk_replay').iterdir()} == before


def test_old_scores_are_removed_when_the_track_is_replaced(
    bag: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out'
    argv = ['replay', str(bag), '--out', str(out), *ENGINE]
    assert main([*argv, '--truth', '/truth']) == 0
    assert {file.name for file in out.iterdir()} == {*WRITTEN, *JUDGEMENT}
    assert main([*argv, '--force']) == 0
    assert {file.name for file in out.iterdir()} == set(WRITTEN)
    evaluation = tmp_path / 'evaluation'
    evaluation.mkdir()
    (evaluation / 'report.html').write_text('of an evaluation')
    argv = [str(bag), '--truth', '/truth', '--out', str(evaluation)]
    assert 'holds report.html already: name another folder' in failure(argv, capfd)
    assert 'is not the folder of a replay' in failure([*argv, '--force'], capfd)
    assert (evaluation / 'report.html').read_text() == 'of an evaluation'


def test_a_missing_recorded_track_is_reported_before_the_replay(
    bag: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / 'out'
    assert 'no bag nowhere' in failure([str(bag), '--track', 'nowhere', '--out', str(out)], capfd)
    assert not out.exists()


def incomplete(argv: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """Run the command, which must exit with 3, and return the warning on stderr."""
    capfd.readouterr()
    assert main(['replay', *ENGINE, *argv]) == 3
    text = capfd.readouterr().err.splitlines()[-1]
    assert text.startswith('hcat replay: warning: ')
    return text


def test_a_damaged_bag_is_reported_with_exit_code_3(
    bag: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = bag / 'walk.mcap'
    file.write_bytes(file.read_bytes()[:-8])
    out = tmp_path / 'out'
    text = incomplete([str(bag), '--out', str(out)], capfd)
    assert f'{bag}: parts were left out: walk.mcap: read record by record' in text
    assert (out / 'track.csv').is_file()


def test_a_refused_init_box_is_reported_with_exit_code_3(
    bag: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    box = ['--box', '5000', '5000', '10', '10']
    text = incomplete([str(bag), *box, '--out', str(tmp_path / 'out')], capfd)
    assert 'refused boxes: 1, the first: image 0: init box refused: box x=5000' in text


def test_lost_frame_ranges_name_their_target() -> None:
    lost = [np.array([0, 1, 1, 0, 1], bool), np.array([0, 0, 0, 1, 0], bool)]
    boxes = np.ones((5, 4))
    results = [SequenceResult(boxes, np.ones(5), each, np.full(5, 0.01)) for each in lost]
    numbers = [np.arange(5), np.arange(10, 15)]
    assert describe_losses(results[:1], numbers[:1]) == 'lost on 3 images: 1-2, 4-4'
    assert (
        describe_losses(results, numbers)
        == 'lost on 4 images: 1-2 (target 1), 4-4 (target 1), 13-13 (target 2)'
    )


def test_a_bag_without_truth_and_metadata_is_replayed_with_a_note(
    tmp_path: Path, sequence: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    images = [cv2.imread(str(path)) for path in sorted(sequence(tmp_path / 'patch').glob('*.png'))]
    bag = write_bag(tmp_path / 'walk', images, kind='jpeg')
    (bag / 'metadata.yaml').unlink()
    out = tmp_path / 'out'
    assert (
        main(['replay', str(bag), '--box', '20', '30', '32', '24', '--out', str(out), *ENGINE]) == 0
    )
    text = capsys.readouterr().out
    assert 'named by --box' in text
    assert 'no truth to judge the track with: give it with --truth\n' in text
    assert 'note: metadata.yaml is missing: the files in the folder are read\n' in text
    assert {file.name for file in out.iterdir()} == set(WRITTEN)


def test_errors_name_the_value_and_what_to_do(
    bag: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = ['--out', str(tmp_path / 'out')]
    assert 'no bag missing' in failure(['missing'], capfd)
    assert 'no topic /other; it has /camera/image (5 ' in failure(
        [str(bag), '--image', '/other', *out], capfd
    )
    assert 'truth nowhere: there is no such file' in failure(
        [str(bag), '--truth', 'nowhere', *out], capfd
    )
    for wrong in ('-1', 'nan', 'inf'):
        expected = f'--start {wrong}: expected 0 or more seconds'
        assert expected in failure([str(bag), '--start', wrong], capfd)
    assert '--mono16-bits 3: expected 8 to 16' in failure([str(bag), '--mono16-bits', '3'], capfd)
    assert 'no image on /camera/image from 99 s on could be used' in failure(
        [str(bag), '--start', '99', *out], capfd
    )
    assert 'expected one Detection2D topic track, found none' in failure(
        [str(bag), '--track', str(bag), *out], capfd
    )
    text = failure([str(bag), '--out', str(bag)], capfd)
    assert 'is where the bag lies; name another folder' in text


def process(argv: list[str], code: str, checkout: Path) -> subprocess.CompletedProcess[str]:
    """Run `hcat replay` in a child process, after some code."""
    code = (
        f'import sys; {code}; from hcat_ros.commands.main import main; sys.exit(main(sys.argv[1:]))'
    )
    return subprocess.run(
        [sys.executable, '-c', code, 'replay', *argv],
        cwd=checkout,
        env={name: value for name, value in os.environ.items() if name != 'DISPLAY'},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize('missing', ['jinja2', 'rosbags', 'mcap', 'zstandard'])
def test_a_missing_package_is_named_with_the_install_command(
    bag: Path, checkout: Path, missing: str
) -> None:
    ended = process([str(bag)], f'sys.modules["{missing}"] = None', checkout)
    assert ended.returncode == 1
    assert "pip install 'hcat_ros[evaluate]'" in ended.stderr
    assert missing in ended.stderr
    assert 'Traceback' not in ended.stderr


def test_select_without_window_support_is_an_error_with_a_remedy(
    bag: Path, tmp_path: Path, checkout: Path
) -> None:
    if not re.search(r'GUI:\s+NONE', cv2.getBuildInformation()):
        pytest.skip('this OpenCV can open windows')
    argv = [str(bag), '--select', '--out', str(tmp_path / 'out'), *ENGINE]
    ended = process(argv, 'pass', checkout)
    assert ended.returncode == 1
    assert '--select: this OpenCV cannot open a window' in ended.stderr
    assert 'or use --box' in ended.stderr
    assert 'Traceback' not in ended.stderr


@pytest.mark.parametrize('storage', ['sqlite3', 'mcap'])
def test_a_bag_scores_the_same_as_its_source_images(
    shared: Path, tmp_path: Path, storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The AO of the bag equals the AO of one pass over the images that it was made from."""
    count = 90
    folder = shared / 'data' / 'eval' / 'otb_jogging'
    bag = write_sequence_bag(tmp_path / 'jogging', folder, count, storage=storage)
    argv = ['--truth', '/truth', '--out', str(tmp_path / 'out')]
    assert main(['replay', str(bag), *argv, *ENGINE]) == 0
    clip = next(clip for clip in read_clips('plain', folder.parent) if clip.name == folder.name)
    make, _ = HcatSpec('hcat_base', 'onnxruntime', 'fp32').load(1)
    images = (cv2.imread(str(path)) for path in clip.images[:count])
    found = one_pass(make(), images, clip.boxes[0])
    expected = measures(found, clip.boxes[:count]).ao
    assert expected > 0.3
    assert f'AO {expected:.3f}, ' in capsys.readouterr().out
    table = rows(tmp_path / 'out' / 'track.csv')
    boxes = np.array([[float(row[name]) for name in 'xywh'] for row in table])
    assert np.abs(boxes - found.boxes).max() < 1e-3
