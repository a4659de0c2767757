# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnxruntime', reason='an engine runs here')


from hcat_ros.evaluation.clips import read_clips
from hcat_ros.evaluation.protocols import PROTOCOLS
from hcat_ros.evaluation.realtime import Latency, RealTimeRule
from hcat_ros.evaluation.results import SequenceResult, read_result, slug
from hcat_ros.evaluation.runs import RUN_FILE, Entry, Evaluation, frame_size, rule_name
from hcat_ros.evaluation.scored_run import Run
from hcat_ros.evaluation.trackers import HcatSpec, StillSpec

STILL = Entry('still', StillSpec())
HCAT = Entry('ours', HcatSpec('hcat_base', 'onnxruntime', 'fp32'))


@pytest.fixture
def evaluation(tmp_path: Path, sequence: Callable[..., Path]) -> Evaluation:
    for number in range(2):
        sequence(tmp_path / 'video' / f'clip_{number}', 7, number, absent=(2,))
    clips = read_clips('plain', tmp_path / 'video')
    return Evaluation(PROTOCOLS['plain'], clips, tmp_path / 'video', tmp_path / 'out')


class Seen:
    """A progress callback that records its arguments."""

    def __init__(self) -> None:
        self.what: list[tuple[str, int]] = []

    def __call__(
        self, results: Iterable[SequenceResult], total: int, what: str
    ) -> Iterable[SequenceResult]:
        self.what.append((what, total))
        return results


def run(evaluation: Evaluation, entry: Entry, seen: Seen | None = None) -> Run:
    return evaluation.run(evaluation.settle(entry), seen or Seen())


def test_a_run_is_scored_and_records_its_configuration(evaluation: Evaluation) -> None:
    seen = Seen()
    found, still = run(evaluation, HCAT, seen), run(evaluation, STILL, seen)
    assert seen.what == [('ours', 2), ('still', 2)]
    assert 0 < still.score.measures['AO'] < found.score.measures['AO'] <= 1
    assert [score.name for score in found.score.sequences] == ['clip_0', 'clip_1']
    assert found.configuration['tracker']['precision'] == 'fp32'
    assert found.configuration['threads'] == 1
    assert found.configuration['data'] == {'folder': 'video', 'sequences': 2}
    assert set(found.configuration['versions']) == {'hcat_ros', 'Python', 'numpy', 'OpenCV'}
    assert found.configuration['machine']['processor']
    assert found.real_time is None
    kept = read_result(evaluation.folder / 'ours' / 'offline' / 'clip_0.csv')
    np.testing.assert_array_equal(kept.boxes, found.results[0].boxes)


def test_real_time_scores_are_reported_beside_offline_scores(evaluation: Evaluation) -> None:
    rule = RealTimeRule(30, Latency(2 / 30))
    done = run(replace(evaluation, real_time=rule), HCAT)
    found = done.real_time
    assert found is not None
    assert found.fps == 30
    assert found.offline == done.score.measures['AO']
    assert found.real < found.offline, 'the target moves a quarter of its width a frame'
    assert found.skipped == pytest.approx(0.5)  # frames 2, 4, 6 of 1 to 6
    assert found.least_rate is None
    assert done.configuration['real time']['latency'] == {
        'mean [ms]': pytest.approx(66.667, abs=1e-3),
        'deviation [ms]': 0.0,
    }


def test_the_least_rate_is_the_lowest_that_keeps_the_score(evaluation: Evaluation) -> None:
    rule = RealTimeRule(30, Latency(1 / 30))
    fast = run(replace(evaluation, real_time=rule, least_rate=True), HCAT)
    assert fast.real_time is not None
    assert fast.real_time.real == fast.real_time.offline
    assert fast.real_time.least_rate == 30
    still = run(replace(evaluation, real_time=rule, least_rate=True), STILL)
    assert still.real_time is not None
    assert still.real_time.least_rate == 1, 'for a box that never moves any rate will do'


def test_stored_results_are_reused_and_those_of_another_tracker_refused(
    evaluation: Evaluation,
) -> None:
    first = run(evaluation, HCAT)
    path = evaluation.folder / 'ours' / 'offline' / 'clip_0.csv'
    when = path.stat().st_mtime_ns
    again = run(evaluation, HCAT)
    assert path.stat().st_mtime_ns == when
    assert again.score.measures == first.score.measures
    other = Entry('ours', HcatSpec('hcat_base', 'onnxruntime', 'int8'))
    with pytest.raises(ValueError, match=r'ours holds results of another .*tracker differ'):
        run(evaluation, other)
    with pytest.raises(ValueError, match='threads differ'):
        run(replace(evaluation, threads=2), HCAT)
    anew = run(replace(evaluation, restart=True), other)
    assert path.stat().st_mtime_ns != when
    assert anew.configuration['tracker']['precision'] == 'int8'


def test_sequences_can_be_added_to_a_stored_run(
    evaluation: Evaluation, tmp_path: Path, sequence: Callable[..., Path]
) -> None:
    run(evaluation, STILL)
    sequence(tmp_path / 'video' / 'clip_2', 4, 2)
    more = replace(evaluation, clips=read_clips('plain', tmp_path / 'video'))
    assert len(run(more, STILL).results) == 3
    assert len(run(evaluation, STILL).results) == 2, 'and left out again'
    sequence(tmp_path / 'video' / 'clip_2', 5, 2)
    longer = replace(evaluation, clips=read_clips('plain', tmp_path / 'video'))
    with pytest.raises(ValueError, match='clip_2 differ'):
        run(longer, STILL)


def test_stored_results_of_other_data_or_another_version_are_refused(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(evaluation, STILL)
    shutil.copytree(tmp_path / 'video', tmp_path / 'copy')
    other = replace(
        evaluation, data=tmp_path / 'copy', clips=read_clips('plain', tmp_path / 'copy')
    )
    with pytest.raises(ValueError, match=rf'data {tmp_path}/video and now {tmp_path}/copy differ'):
        run(other, STILL)
    (tmp_path / 'link').symlink_to(tmp_path / 'video')
    run(replace(evaluation, data=tmp_path / 'link'), STILL)
    with monkeypatch.context() as patch:
        patch.setattr('hcat_ros.evaluation.runs.__version__', '99.0')
        with pytest.raises(ValueError, match=r'hcat_ros .* and now 99\.0 differ.*--restart'):
            run(evaluation, STILL)
    run(replace(other, restart=True), STILL)


def test_an_older_run_file_is_accepted_but_first_boxes_are_still_compared(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    run(evaluation, STILL)
    path = evaluation.folder / 'still' / RUN_FILE
    older = json.loads(path.read_text())
    del older['data'], older['hcat_ros']
    path.write_text(json.dumps(older))
    run(evaluation, STILL)
    assert json.loads(path.read_text()) == older, 'nobody knows what the kept results are of'
    truth = tmp_path / 'video' / 'clip_0' / 'groundtruth.txt'
    truth.write_text(truth.read_text().replace('20,30,', '20,31,'))
    corrected = replace(evaluation, clips=read_clips('plain', tmp_path / 'video'))
    with pytest.raises(ValueError, match=r'clip_0\.csv started from the box .*--restart'):
        run(corrected, STILL)
    run(replace(corrected, restart=True), STILL)
    assert json.loads(path.read_text())['data'] == str(tmp_path / 'video')


@pytest.mark.parametrize('content', ['[]', '{"sequences": []}', '3'])
def test_a_run_file_with_wrong_content_is_named(evaluation: Evaluation, content: str) -> None:
    run(evaluation, STILL)
    path = evaluation.folder / 'still' / RUN_FILE
    path.write_text(content)
    with pytest.raises(ValueError, match=r'run\.json is damaged .*--restart'):
        run(evaluation, STILL)


def test_a_truncated_run_file_is_named(evaluation: Evaluation) -> None:
    run(evaluation, STILL)
    path = evaluation.folder / 'still' / RUN_FILE
    path.write_text(path.read_text()[:-5])
    with pytest.raises(ValueError, match=r'run\.json is damaged .*--restart'):
        run(evaluation, STILL)
    run(replace(evaluation, restart=True), STILL)
    assert json.loads(path.read_text())['threads'] == 1


def test_results_without_a_run_file_are_refused_and_kept(evaluation: Evaluation) -> None:
    run(evaluation, STILL)
    home = evaluation.folder / 'still'
    (home / RUN_FILE).unlink()
    kept = {path: path.read_bytes() for path in home.glob('*/*.csv')}
    assert len(kept) == 2
    with pytest.raises(ValueError, match=r'holds 2 results but no run\.json .*--restart'):
        run(evaluation, STILL)
    assert {path: path.read_bytes() for path in home.glob('*/*.csv')} == kept
    run(replace(evaluation, restart=True), STILL)


def test_result_files_of_other_trackers_are_scored(evaluation: Evaluation, tmp_path: Path) -> None:
    for clip in evaluation.clips:
        boxes = np.nan_to_num(clip.boxes, nan=5.0)
        (tmp_path / 'theirs').mkdir(exist_ok=True)
        np.savetxt(tmp_path / 'theirs' / f'{clip.name}.txt', boxes, '%.3f', ',')
    found = run(evaluation, Entry('perfect', tmp_path / 'theirs'))
    assert found.score.measures['AO'] == 1
    assert found.configuration['tracker'] == {'results': 'theirs'}


def test_file_names_are_safe_and_distinct() -> None:
    assert slug('hcat_base onnxruntime int8') == 'hcat_base-onnxruntime-int8'
    assert slug('../../etc: x') == '-..-etc-x'
    assert slug('..') == '-'
    rules = [
        RealTimeRule(30),
        RealTimeRule(30, Latency(0.0125)),
        RealTimeRule(30, Latency(0.0125, 0.003)),
        RealTimeRule(30, permitted=0.0),
        RealTimeRule(30, predict='constant_velocity'),
        RealTimeRule(25),
    ]
    names = [rule_name(rule) for rule in rules]
    assert names[0] == '30fps-measured'
    assert len(set(names)) == len(rules)
    assert all(slug(name) == name for name in names)


@pytest.mark.parametrize('names', [('walk (1)', 'walk(1)'), ('walk', 'walk')])
def test_sequences_that_would_share_a_file_are_refused(
    evaluation: Evaluation, names: tuple[str, str]
) -> None:
    clips = [replace(clip, name=name) for clip, name in zip(evaluation.clips, names)]
    with pytest.raises(ValueError, match=r"'(walk.*)' \(.*clip_0\) and '(walk.*)' \(.*clip_1\)"):
        replace(evaluation, clips=clips)


def test_frame_size_is_width_and_height(evaluation: Evaluation) -> None:
    assert frame_size(evaluation.clips[0]) == (128, 96)
