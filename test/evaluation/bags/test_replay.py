# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import csv
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rosbags', reason="needs rosbags (pip install 'hcat_ros[evaluate]')")

from bags import BEGIN, BagWriter, raw_image, stamps_of, write_bag

from hcat_ros.boxes import Box
from hcat_ros.engines import EngineError
from hcat_ros.evaluation.bags.findings import Findings
from hcat_ros.evaluation.bags.reading import BagFrame, open_bag
from hcat_ros.evaluation.bags.recorded_tracks import judge_recorded, recorded_tracks
from hcat_ros.evaluation.bags.replay import WRITTEN, Options, Replayed, replay
from hcat_ros.tracking import Tracker

COUNT = 9
BOX = (30.0, 20.0, 24.0, 20.0)
OTHER = Box(34.0, 22.0, 24.0, 20.0)
IMAGES = [np.full((96, 128, 3), 10 * number, np.uint8) for number in range(COUNT)]
TRUTH = np.array([BOX] * COUNT)


@pytest.fixture
def tracker(scripted_engine: Any) -> Tracker:
    return Tracker(scripted_engine(scripted_engine.seeing()))


def named_by(path: Path, options: Options, tracker: Tracker, out: Path) -> tuple[Replayed, list]:
    with open_bag(path) as bag:
        replayed = replay(bag, options, tracker, out)
    with (out / 'track.csv').open(newline='') as file:
        return replayed, list(csv.DictReader(file))


@pytest.mark.parametrize(
    ('bag', 'options', 'source', 'box', 'first'),
    [
        ({'init_box': BOX}, {}, '/init_box', BOX, 0),
        ({'init_box': BOX}, {'init_box_topic': 'init_box'}, '/init_box', BOX, 0),
        ({'truth': TRUTH}, {'init_box_topic': '/truth'}, '/truth', BOX, 0),
        ({'init_box': BOX}, {'boxes': (OTHER,)}, '--box', OTHER, 0),
        ({'init_box': BOX}, {'draw': lambda image: OTHER}, 'the box drawn', OTHER, 0),
        ({'truth': TRUTH}, {'truths': ('/truth',)}, 'the first true box', BOX, 0),
        ({'truth': TRUTH}, {'truths': ('/truth',), 'start': 0.1}, 'the first true box', BOX, 3),
        ({}, {'boxes': (OTHER,), 'start': 0.09}, '--box', OTHER, 3),
    ],
)
def test_the_init_box_comes_from_the_expected_source(
    tmp_path: Path, tracker: Tracker, bag: dict, options: dict, source: str, box: Any, first: int
) -> None:
    path = write_bag(tmp_path / 'walk', IMAGES, **bag)
    replayed, rows = named_by(path, Options(**options), tracker, tmp_path / 'out')
    assert replayed.named_by == source
    named = next(row for row in rows if row['state'] == 'named')
    assert int(named['frame']) == first
    assert [float(named[name]) for name in 'xywh'] == list(box)
    assert int(rows[-1]['frame']) == COUNT - 1
    assert replayed.images == COUNT - first


def test_the_box_is_drawn_on_the_first_image_that_is_tracked(
    tmp_path: Path, tracker: Tracker
) -> None:
    shown = []

    def draw(image: np.ndarray) -> Box:
        shown.append(image.copy())
        return OTHER

    path = write_bag(tmp_path / 'walk', IMAGES)
    named_by(path, Options(draw=draw, start=0.1), tracker, tmp_path / 'out')
    assert len(shown) == 1
    assert (shown[0] == IMAGES[3]).all()


def test_a_missing_init_box_is_an_error_with_a_remedy(tmp_path: Path, tracker: Tracker) -> None:
    with (
        open_bag(write_bag(tmp_path / 'walk', IMAGES)) as bag,
        pytest.raises(
            ValueError, match=r'has no topic init_box.*--box X Y W H or --init-box-topic'
        ),
    ):
        replay(bag, Options(), tracker, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_bag_without_a_usable_image_is_an_error(tmp_path: Path, tracker: Tracker) -> None:
    with BagWriter(tmp_path / 'walk') as bag:
        bag.add('/camera', BEGIN, raw_image(BEGIN, IMAGES[0]), b'\0\1\0\0nothing')
    with (
        open_bag(tmp_path / 'walk') as bag,
        pytest.raises(ValueError, match='no image on /camera could be used'),
    ):
        replay(bag, Options(boxes=(OTHER,)), tracker, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_the_report_shows_the_images_that_were_tracked(tmp_path: Path, tracker: Tracker) -> None:
    """Level 2048 of 4096 of a 12-bit sensor is level 128 of 256."""
    with BagWriter(tmp_path / 'walk') as written:
        for stamp in stamps_of(3):
            deep = np.full((96, 128), 2048, np.uint16)
            written.add('/camera', stamp, raw_image(stamp, deep, 'mono16'))
    with open_bag(tmp_path / 'walk') as bag:
        options = Options(boxes=(OTHER,), mono16_bits=12)
        replayed = replay(bag, options, tracker, tmp_path / 'out')
        for sequences in (replayed.sequences, replayed.sequences.answered_by({})):
            picture = sequences.read_frame(sequences.results()[0][0], 1)
            assert picture is not None
            assert np.unique(picture).tolist() == [128]


def test_the_written_bag_reads_back_as_the_same_track(tmp_path: Path, tracker: Tracker) -> None:
    path = write_bag(tmp_path / 'walk', IMAGES, init_box=BOX, truth=TRUTH)
    out = tmp_path / 'deep' / 'out'
    with open_bag(path) as bag:
        replayed = replay(bag, Options(truths=('/truth',)), tracker, out)
        assert sorted(file.name for file in out.iterdir()) == sorted(WRITTEN)
        findings = Findings()
        found = judge_recorded(replayed.sequences, recorded_tracks(out, findings), findings)
        assert found.compared == COUNT - 1
        assert found.difference < 1e-9
        ours = replayed.sequences.run('', {})
        theirs = found.sequences.run('', {})
        assert ours is not None
        assert theirs is not None
        assert ours.score.measures == pytest.approx(theirs.score.measures)
        assert list(findings) == list(bag.findings) == []


def test_an_earlier_replay_is_replaced_only_with_force(tmp_path: Path, tracker: Tracker) -> None:
    path, out = write_bag(tmp_path / 'walk', IMAGES, init_box=BOX), tmp_path / 'out'
    named_by(path, Options(), tracker, out)
    before = {name: (out / name).read_bytes() for name in WRITTEN}
    (out / 'notes.txt').write_text('mine')
    with open_bag(path) as bag:
        with pytest.raises(ValueError, match=r'out holds track.mcap and track.csv and metadata'):
            replay(bag, Options(boxes=(OTHER,)), tracker, out)
        assert {name: (out / name).read_bytes() for name in WRITTEN} == before
        replay(bag, Options(boxes=(OTHER,)), tracker, out, force=True)
    assert all((out / name).read_bytes() != before[name] for name in WRITTEN[:2])
    assert (out / 'notes.txt').read_text() == 'mine'


def test_a_bag_is_never_overwritten(tmp_path: Path, tracker: Tracker) -> None:
    path = write_bag(tmp_path / 'walk', IMAGES, init_box=BOX)
    other = write_bag(tmp_path / 'track', IMAGES)
    before = {file: file.read_bytes() for file in (*path.iterdir(), *other.iterdir())}
    with open_bag(path) as bag:
        with pytest.raises(ValueError, match='is where the bag lies'):
            replay(bag, Options(), tracker, path, force=True)
        with pytest.raises(ValueError, match=r'holds track.mcap and metadata.yaml, but is not'):
            replay(bag, Options(), tracker, other, force=True)
    with (
        open_bag(path / 'walk.mcap') as bag,
        pytest.raises(ValueError, match='is where the bag lies'),
    ):
        replay(bag, Options(), tracker, path, force=True)
    assert {file: file.read_bytes() for file in before} == before


def test_a_failed_replay_leaves_no_files(tmp_path: Path, tracker: Tracker) -> None:
    path, out = write_bag(tmp_path / 'walk', IMAGES, init_box=BOX), tmp_path / 'out'

    def failing(frames: Iterable[BagFrame], count: int) -> Iterator[BagFrame]:
        yield from itertools.islice(frames, 3)
        raise OSError('the disk is gone')

    def fail() -> None:
        with open_bag(path) as bag, pytest.raises(OSError, match='the disk is gone'):
            replay(bag, Options(), tracker, out, progress=failing)

    fail()
    assert not out.exists()
    out.mkdir()
    (out / 'notes.txt').write_text('mine')
    fail()
    assert [file.name for file in out.iterdir()] == ['notes.txt']


def test_an_image_on_which_the_engine_fails_is_left_out_and_reported(
    tmp_path: Path, scripted_engine: Any
) -> None:
    """The images after it are tracked, as in the node."""
    seeing = scripted_engine.seeing
    answers = [seeing(), EngineError('out of memory'), *[seeing()] * COUNT]
    path = write_bag(tmp_path / 'walk', IMAGES, init_box=BOX)
    with open_bag(path) as bag:
        done = replay(bag, Options(), Tracker(scripted_engine(*answers)), tmp_path / 'out')
        findings = list(bag.findings)
    assert findings == [
        'failed frames: 1, the first: image 2: frame not tracked: out of memory',
    ]
    assert (done.images, done.followed) == (COUNT, COUNT - 1)


def test_truth_by_stamp_stays_with_its_image_in_a_truncated_bag(
    tmp_path: Path, tracker: Tracker
) -> None:
    """Truth by number is refused, because messages are missing."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (480, 640, 3), np.uint8) for _ in range(COUNT)]
    path = write_bag(tmp_path / 'walk', images, init_box=BOX)
    file = path / 'walk.mcap'
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    truth = tmp_path / 'truth.csv'
    rows = [f'{stamp},{30 + number},20,24,20' for number, stamp in enumerate(stamps_of(COUNT))]
    truth.write_text('\n'.join(['stamp,x,y,w,h', *rows]))
    by_number = tmp_path / 'groundtruth.txt'
    by_number.write_text('\n'.join('30,20,24,20' for _ in images))
    with open_bag(path) as bag:
        replay(bag, Options(truths=(str(by_number),)), tracker, tmp_path / 'other')
        told = '\n'.join(bag.findings)
    assert 'its boxes belong to other images; give boxes by stamp' in told
    with open_bag(path) as bag:
        replayed = replay(bag, Options(truths=(str(truth),)), tracker, tmp_path / 'out')
        assert 4 <= replayed.images < COUNT
        run = replayed.sequences.run('', {})
        assert run is not None
        assert run.clips[0].boxes[:, 0].tolist() == [30.0 + n for n in range(replayed.images)]
        text = '\n'.join(bag.findings)
        assert f'read {replayed.images} of {COUNT} messages' in text
        assert f'{COUNT - replayed.images} of {COUNT} true boxes were not used' in text
        assert 'by stamp' not in text


MEMORY = """
import resource, sys
from pathlib import Path
import numpy as np
from hcat_ros.boxes import Box
from hcat_ros.engines import EngineError
from hcat_ros.engines import EngineCard, Prediction
from hcat_ros.evaluation.bags.reading import BagFrame, open_bag
from hcat_ros.evaluation.bags.replay import Options, replay
from hcat_ros.tracking import Tracker

class Still:
    card = EngineCard('still', 'double', '1', 'fp32', 128, 256, 16)
    def template(self, crop):
        return 0
    def search(self, crop, features):
        return Prediction(np.full((16, 16), 0.7), np.tile([0.5, 0.5, 0.25, 0.25], (256, 1)))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

before = peak()
with open_bag(Path(sys.argv[1])) as bag:
    options = Options(boxes=(Box(40.0, 30, 60, 60),))
    found = replay(bag, options, Tracker(Still()), Path(sys.argv[2]))
print(found.images, before, peak())
"""


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='peak memory in KiB: Linux')
@pytest.mark.parametrize('storage', ['sqlite3', 'mcap'])
def test_memory_does_not_grow_with_the_bag(
    tmp_path: Path, checkout: Path, storage: str, picture: Callable[..., np.ndarray]
) -> None:
    images = (picture(480, 640, number % 5) for number in range(300))
    path = write_bag(tmp_path / 'walk', images, storage=storage)
    size = sum(file.stat().st_size for file in path.iterdir()) >> 20
    ended = subprocess.run(
        [sys.executable, '-c', MEMORY, str(path), str(tmp_path / 'out')],
        cwd=checkout,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    count, before, peak = (int(word) for word in ended.stdout.split())
    assert count == 300
    assert size > 250
    assert peak - before < 60
