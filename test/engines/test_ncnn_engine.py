# SPDX-License-Identifier: Apache-2.0
"""Requirements of the ncnn engine beyond the contract: its files, precisions and graphs."""

from __future__ import annotations

import argparse
import dataclasses
import gc
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('onnxslim', reason='needs the exporter')
pytest.importorskip('pnnx', reason='needs pnnx')
ncnn = pytest.importorskip('ncnn', reason='needs ncnn')

from hcat_ros.commands import add_ncnn
from hcat_ros.engines import EngineError, load_engine
from hcat_ros.engines.self_test import TOLERANCES, self_test
from hcat_ros.models import REFERENCE_FILE, Model, load_model


@pytest.fixture(scope='module')
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The shipped model with ncnn's graphs."""
    folder = tmp_path_factory.mktemp('models') / 'with_graphs'
    shutil.copytree(load_model('hcat_base').folder, folder)
    add_ncnn.run(argparse.Namespace(model=str(folder)))
    return load_model(folder)


def test_a_model_without_ncnn_graphs_suggests_hcat_add_ncnn() -> None:
    shipped = load_model('hcat_base')
    with pytest.raises(EngineError) as error:
        load_engine(shipped, 'ncnn')
    assert f'run hcat add-ncnn {shipped.folder}' in str(error.value)


def test_fp32_predictions_match_the_reference(model: Model) -> None:
    engine = load_engine(model, 'ncnn')
    assert engine.card.precision == 'fp32'
    with np.load(model.file(REFERENCE_FILE)) as stored:
        found = engine.search(stored['search'], engine.template(stored['template']))
        assert np.abs(found.scores - stored['scores']).max() < 1e-4
        assert np.abs(found.boxes - stored['boxes']).max() < 1e-4


@pytest.mark.parametrize('precision', ['fp16', 'bf16'])
def test_a_lower_precision_runs_if_the_processor_supports_it(model: Model, precision: str) -> None:
    try:
        engine = load_engine(model, 'ncnn', precision)
    except EngineError as error:
        if f"has no precision '{precision}'; it has fp32" not in str(error):
            raise
        pytest.skip(str(error))
    assert engine.card.precision == precision
    self_test(engine, model)
    with np.load(model.file(REFERENCE_FILE)) as stored:
        found = engine.search(stored['search'], engine.template(stored['template']))
        # The lower bound shows that it was not computed in fp32.
        assert 1e-5 < np.abs(found.scores - stored['scores']).max() < TOLERANCES[precision]


def test_a_precision_with_wrong_results_is_refused(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example, bf16 gave NaN before ncnn 1.0.20260526."""
    monkeypatch.setitem(TOLERANCES, 'bf16', 1e-6)
    with pytest.raises(EngineError, match=r'in bf16 differs from the network|has no precision'):
        load_engine(model, 'ncnn', 'bf16')


def test_a_template_graph_of_another_network_is_refused_when_loading(
    model: Model, tmp_path: Path
) -> None:
    from hcat_ros.network import HCAT, HCATConfig
    from hcat_ros.network.ncnn_graph import write_ncnn_graphs

    other = HCAT(HCATConfig(channels=32, ffn_channels=16, layers=1))
    folder = Path(shutil.copytree(model.folder, tmp_path / 'mixed'))
    for file in write_ncnn_graphs(other, tmp_path):
        if file.startswith('template'):
            shutil.copy(tmp_path / file, folder)
    hashes = {file: add_ncnn.sha256(folder / file) for file in model.card.sha256}
    mixed = Model(folder, dataclasses.replace(model.card, sha256=hashes))
    with pytest.raises(EngineError, match=r'but template\.ncnn gives') as error:
        load_engine(mixed, 'ncnn')
    assert f'run hcat add-ncnn {folder} again' in str(error.value)


def test_a_graph_that_asks_for_gigabytes_is_refused(model: Model, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model.folder, tmp_path / 'bomb'))
    path = folder / 'template.ncnn.param'
    size = model.card.template_size
    path.write_text(
        '7767517\n'
        '2 2\n'
        f'Input crop 0 1 crop 0=3 1={size} 2={size}\n'
        'Interp large 1 1 crop feature 0=1 3=24000 4=24000\n'  # 6.9 GB
    )
    hashes = {file: add_ncnn.sha256(folder / file) for file in model.card.sha256}
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(EngineError, match='ncnn failed to compute feature'):
        load_engine(Model(folder, dataclasses.replace(model.card, sha256=hashes)), 'ncnn')
    assert resource.getrlimit(resource.RLIMIT_AS) == limits
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 << 20, 'KiB'


def test_crops_and_features_stay_alive_during_a_search(model: Model) -> None:
    """ncnn's matrices point into the memory of the arrays that they were created from."""
    engine = load_engine(model, 'ncnn', threads=1)
    with np.load(model.file(REFERENCE_FILE)) as stored:
        template, search, scores = (stored[name] for name in ('template', 'search', 'scores'))
    for _ in range(3):
        features = engine.template(template.copy())
        gc.collect()
        # Overwrites memory that was freed too early.
        noise = [np.full(template.shape, 1e9, np.float32) for _ in range(20)]
        assert np.abs(engine.search(search.copy(), features).scores - scores).max() < 1e-4
        del noise


def test_no_more_threads_run_than_the_process_has_processors(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = ncnn.Option, []
    monkeypatch.setattr(ncnn, 'Option', lambda: made.append(make()) or made[-1])
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        load_engine(model, 'ncnn')
    finally:
        os.sched_setaffinity(0, before)
    assert [options.num_threads for options in made] == [1]
