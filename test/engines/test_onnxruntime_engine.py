# SPDX-License-Identifier: Apache-2.0
"""The options that we give ONNX Runtime's TensorRT provider; its predictions need a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

onnxruntime = pytest.importorskip('onnxruntime')

from hcat_ros.engines import EngineError
from hcat_ros.engines.onnxruntime_engine import OnnxRuntimeTensorRtEngine
from hcat_ros.models import SEARCH_FILE, TEMPLATE_FILE, load_model

Provider = tuple[str, dict[str, str]]


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> list[Provider]:
    """The providers that sessions requested; sessions run on the CPU instead of TensorRT."""
    asked: list[Provider] = []

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, content: bytes, options: Any, providers: list[Any], **rest: Any):
            first, *others = providers
            asked.append(first)
            super().__init__(content, options, others, **rest)

        def get_providers(self) -> list[str]:
            return [asked[-1][0], *super().get_providers()]

    monkeypatch.setattr(onnxruntime, 'InferenceSession', Session)
    monkeypatch.setattr(
        onnxruntime, 'get_available_providers', lambda: ['TensorrtExecutionProvider']
    )
    return asked


def test_each_graph_has_a_cache_folder_of_its_own(
    providers: list[Provider], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a shared folder, the provider would reuse an engine that was built for other weights."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'new'))
    model = load_model('hcat_nano')
    assert OnnxRuntimeTensorRtEngine(model).card.precision == 'fp16'
    folders = [Path(options['trt_engine_cache_path']) for _, options in providers]
    assert all(folder.is_dir() for folder in folders)
    assert [folder.name for folder in folders] == [
        model.card.sha256[name][:16] for name in (TEMPLATE_FILE, SEARCH_FILE)
    ]
    assert {folder.parent for folder in folders} == {tmp_path / 'new/hcat_ros/onnxruntime-tensorrt'}
    assert [options['trt_fp16_enable'] for _, options in providers] == ['True', 'True']


@pytest.mark.usefixtures('providers')
def test_the_error_names_a_cache_folder_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / 'file').touch()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    with pytest.raises(EngineError, match=r'no folder for TensorRT engines: .*set XDG_CACHE_HOME'):
        OnnxRuntimeTensorRtEngine(load_model('hcat_nano'))
