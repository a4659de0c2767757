# SPDX-License-Identifier: Apache-2.0
"""The run files of the paper's systems: their sizes and settings, and that they train."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')
pytest.importorskip('safetensors', reason='needs safetensors')

from runs import differ, scheduled, trainer

from hcat_ros.evaluation.paper.systems import SYSTEMS, run_file
from hcat_ros.network import HCAT, HCATConfig
from hcat_ros.training.build import build_network, untrained_network
from hcat_ros.training.config import TrainConfig, load_config

C, FFN = 256, 2048
ATTENTION = 4 * (C * C + C)
CFA = ATTENTION + (C * FFN + FFN) + (FFN * C + C) + 2 * 2 * C
CONTEXT = ATTENTION + 2 * C
HEADS = 4 * (C * C + C) + (C * 2 + 2) + (C * 4 + 4)
END = CFA + 2 * C + HEADS
"""The decoder, its LayerNorm and the heads."""


def projection(channels: int) -> int:
    return channels * C + C


def sparsification(vectors: int) -> int:
    return ATTENTION + 2 * C + vectors * C


# torchvision's numbers of parameters minus those of the last stages and the classifier.
RESNET18 = 11_689_512 - 8_393_728 - 513_000
RESNET18_STRIDE8 = RESNET18 - 2_099_712
RESNET50 = 25_557_032 - 14_964_736 - 2_049_000


def lite0() -> int:
    """Parameters of EfficientNet-Lite0 up to stride 16, from its table, BatchNorms folded."""
    count, channels = 3 * 9 * 32 + 32, 32
    for kernel, expansion, out, repeats in (
        (3, 1, 16, 1),
        (3, 6, 24, 2),
        (5, 6, 40, 2),
        (3, 6, 80, 3),
        (5, 6, 112, 3),
    ):
        for _ in range(repeats):
            hidden = channels * expansion
            count += (channels * hidden + hidden) * (expansion > 1)
            count += kernel**2 * hidden + hidden + hidden * out + out
            channels = out
    return count


def mobilenetv2() -> int:
    """Parameters of MobileNetV2 up to stride 16, with a BatchNorm after each convolution."""
    count, channels = 3 * 9 * 32 + 2 * 32, 32
    for expansion, out, repeats in ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3)):
        for _ in range(repeats):
            hidden = channels * expansion
            count += (channels * hidden + 2 * hidden) * (expansion > 1)
            count += 9 * hidden + 2 * hidden + hidden * out + 2 * out
            channels = out
    return count


def convnext_tiny() -> int:
    """Parameters of ConvNeXt-T's stem and first three stages: 3, 3 and 9 blocks."""
    count = 3 * 16 * 96 + 96 + 2 * 96
    for blocks, d in ((3, 96), (3, 192), (9, 384)):
        block = (49 * d + d) + 2 * d + (d * 4 * d + 4 * d) + (4 * d * d + d) + d
        count += blocks * block
        if d < 384:
            count += 2 * d + 4 * d * 2 * d + 2 * d
    return count


def hcat(backbone: int, channels: int, layers: int = 2, sparse: int = 16) -> int:
    fs = sparsification(sparse) if sparse else 0
    return backbone + projection(channels) + fs + layers * 2 * CFA + END


TRANST = RESNET50 + projection(1024) + 4 * 2 * (CFA + CONTEXT) + END
EXPECTED = {
    'hcat': hcat(RESNET18, 256),
    'hcat_n1': hcat(RESNET18, 256, layers=1),
    'baseline_sa': hcat(RESNET18, 256, sparse=0),
    'baseline': hcat(RESNET18, 256, sparse=0),
    'hierarchical': hcat(RESNET18, 256, sparse=0),
    'transt': TRANST,
    'transt_h': TRANST,
    'hcat_s1': hcat(RESNET18, 256, sparse=1),
    'hcat_s4': hcat(RESNET18, 256, sparse=4),
    'hcat_s9': hcat(RESNET18, 256, sparse=9),
    'hcat_s25': hcat(RESNET18, 256, sparse=25),
    'hcat_stride8': hcat(RESNET18_STRIDE8, 128),
    'hcat_resnet50': hcat(RESNET50, 1024),
    'hcat_convnext_tiny': hcat(convnext_tiny(), 384),
    'hcat_mobilenetv2': hcat(mobilenetv2(), 96),
    'hcat_lite0': hcat(lite0(), 112),
}


def require_timm() -> None:
    # No import: PyPI's torchvision with a CPU build of PyTorch raises a RuntimeError.
    if importlib.util.find_spec('timm') is None:
        pytest.skip('needs timm')


def test_each_system_has_a_run_file(checkout: Path) -> None:
    files = {path.stem: path for path in (checkout / 'config' / 'paper').glob('*.yaml')}
    assert sorted(files) == sorted(SYSTEMS) == sorted(EXPECTED)
    assert {name: run_file(name) for name in SYSTEMS} == files


@pytest.mark.parametrize('name', SYSTEMS)
def test_each_system_has_the_expected_number_of_parameters(name: str) -> None:
    if name in ('hcat_convnext_tiny', 'hcat_mobilenetv2'):
        require_timm()
    with torch.device('meta'):
        model = untrained_network(run_file(name))
    assert sum(parameter.numel() for parameter in model.parameters()) == EXPECTED[name]
    stride = 8 if name in ('hcat_stride8', 'transt', 'transt_h') else 16
    assert model.config.search_grid == 256 // stride


def test_systems_differ_from_the_papers_run_only_in_the_network(checkout: Path) -> None:
    paper = load_config(checkout / 'config' / 'train' / 'paper.yaml')
    assert load_config(run_file('hcat')) == paper
    for name in SYSTEMS:
        run = load_config(run_file(name))
        same = dataclasses.replace(run, network=paper.network, backbone=paper.backbone)
        assert same == paper, name
        assert (run.backbone == paper.backbone) == (run.network.backbone == 'resnet18')
        assert Path(run.backbone).parent == Path(paper.backbone).parent


def test_the_ablations_differ_as_the_paper_says() -> None:
    parts = {
        'baseline_sa': {'attention': 'self', 'sparsification': False},
        'baseline': {'hierarchical': False, 'sparsification': False},
        'hierarchical': {'sparsification': False},
        'hcat': {},
    }
    for name, fields in parts.items():
        assert load_config(run_file(name)).network == HCATConfig(**fields)
    transt, transt_h = (load_config(run_file(name)).network for name in ('transt', 'transt_h'))
    assert dataclasses.replace(transt, hierarchical=True) == transt_h
    assert transt_h != transt


SMALL = {'channels': 32, 'heads': 4, 'ffn_channels': 32, 'template_size': 64, 'search_size': 128}


@pytest.mark.parametrize('name', ['baseline_sa', 'baseline', 'hcat_stride8', 'transt_h'])
def test_systems_of_the_paper_can_be_trained(
    config: TrainConfig, tmp_path: Path, name: str
) -> None:
    network = dataclasses.replace(load_config(run_file(name)).network, **SMALL)
    run = scheduled(dataclasses.replace(config, network=network), steps=2, trained_blocks=-1)
    losses: list[Any] = []
    made = trainer(run, tmp_path)
    made.run(lambda step, loss, pairs: losses.append(loss.total.item()))
    assert len(losses) == 2
    assert all(loss > 0 for loss in losses)
    before: HCAT = build_network(run)
    for part in ('backbone', 'layers', 'decoder', 'score_head'):
        assert differ(getattr(before, part), getattr(made.model, part)), part
