# SPDX-License-Identifier: Apache-2.0
"""The fastest engine is remembered for as long as the measurement is valid."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

import onnxruntime
from runtimes import INT8_FASTER, Timed, change_card

from hcat_ros.engines import ENGINES, load_engine, timing_cache
from hcat_ros.engines.candidates import Candidate, conflict, find_candidates
from hcat_ros.models import SEARCH_FILE, ModelError, load_model

VERSION = onnxruntime.__version__
pytestmark = pytest.mark.usefixtures('own_timings')


def test_the_fastest_engine_is_loaded_without_timing_the_next_time(
    int8_copy: Path, timed: Timed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    calls = timed(INT8_FASTER)
    for _ in range(2):
        assert load_engine(int8_copy, threads=1).card.precision == 'int8'
    assert len(calls) == 1
    first, second = caplog.messages
    assert first.startswith(
        f'{load_model(int8_copy).card.name} in onnxruntime {VERSION} int8, 2.0 ms'
    )
    assert second.startswith(f'{first}, timed on 20')
    load_engine(int8_copy, threads=2)
    assert len(calls) == 2, 'other threads, other speeds'


def entry(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def edit(**changes: Any) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), **changes})


@pytest.mark.parametrize(
    'damage',
    [
        lambda text: '',
        lambda text: text[: len(text) // 2],
        lambda text: '[1]',
        lambda text: '[' * 60000,
        lambda text: '\udcff',
        edit(key={}),
        edit(ranking=[]),
        edit(ranking=None),
        edit(ranking=[['torch', 'fp32', '1', 1.0]]),
        edit(ranking=[['onnxruntime', 'fp32', VERSION, 'nan']]),
        edit(ranking=[['onnxruntime', 'fp32', VERSION]]),
        edit(ranking=[['onnxruntime', 'fp32', '0.1', 1.0]]),
        edit(ranking=[['openvino', 'fp32', '1', 1.0], ['onnxruntime', 'fp32', VERSION, 2.0]]),
    ],
)
def test_a_damaged_or_stale_entry_is_replaced_by_a_new_timing(
    damage: Callable[[str], str],
    int8_copy: Path,
    own_timings: Path,
    timed: Timed,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The last entry names a runtime that is no longer installed."""
    calls = timed(INT8_FASTER)
    load_engine(int8_copy, threads=1)
    path = entry(own_timings)
    whole = path.read_text()
    path.write_text(damage(whole), errors='surrogateescape')
    caplog.set_level(logging.INFO)
    caplog.clear()  # another test may have enabled INFO messages before
    assert load_engine(int8_copy, threads=1).card.precision == 'int8'
    assert len(calls) == 2
    assert len(caplog.messages) == 1, 'told at debug level alone'
    assert path.read_text() == whole


def test_another_version_of_this_package_repeats_the_timing(
    int8_copy: Path, timed: Timed, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = timed(INT8_FASTER)
    load_engine(int8_copy, threads=1)
    monkeypatch.setattr(timing_cache, '__version__', '99')
    load_engine(int8_copy, threads=1)
    assert len(calls) == 2


def test_another_model_is_timed_again(int8_copy: Path, timed: Timed) -> None:
    calls = timed(INT8_FASTER)
    load_engine(int8_copy, threads=1)
    change_card(int8_copy, lambda card: card['sha256'].update(another='0' * 64))
    load_engine(int8_copy, threads=1)
    assert len(calls) == 2


def test_a_cache_that_cannot_be_written_is_no_error(
    int8_copy: Path, own_timings: Path, timed: Timed
) -> None:
    calls = timed(INT8_FASTER)
    own_timings.parents[1].write_text('a file where the folder would be')
    for _ in range(2):
        assert load_engine(int8_copy, threads=1).card.precision == 'int8'
    assert len(calls) == 2


def test_a_remembered_engine_still_has_to_pass_the_self_test(
    wrong_int8: Path, own_timings: Path, timed: Timed
) -> None:
    timed(INT8_FASTER)
    load_engine(wrong_int8, threads=1)
    assert not own_timings.exists(), 'one candidate is not timed'
    card = load_model(wrong_int8).card
    candidates = find_candidates(ENGINES, 'auto', card).compared
    candidates = [one for one in candidates if not conflict(one.engine)]
    lying = timing_cache.Timed(Candidate('onnxruntime', 'int8'), VERSION, 1.0)
    timing_cache.write_timing(timing_cache.timing_key(card, candidates, 1), [lying])
    assert load_engine(wrong_int8, threads=1).card.precision == 'fp32'


def test_a_damaged_fp32_graph_is_refused_even_if_int8_was_fastest(
    int8_copy: Path, timed: Timed
) -> None:
    timed(INT8_FASTER)
    load_engine(int8_copy, threads=1)
    (int8_copy / SEARCH_FILE).write_bytes(b'damaged')
    with pytest.raises(ModelError, match=f'{SEARCH_FILE} is damaged'):
        load_engine(int8_copy, threads=1)
