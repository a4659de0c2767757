# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip('torch', reason='needs PyTorch')
if importlib.util.find_spec('timm') is None:
    pytest.skip('needs timm', allow_module_level=True)

import safetensors.torch
import torch
from torch import nn

from hcat_ros.network import HCAT, HCATConfig, load_checkpoint, save_checkpoint
from hcat_ros.network.backbones import TimmBackbone, build_backbone, from_timm
from hcat_ros.training.backbone_weights import freeze_backbone, load_backbone

SMALL = {'channels': 32, 'heads': 4, 'ffn_channels': 16, 'layers': 1}


def of_timm(name: str, stride: int = 16) -> TimmBackbone:
    backbone = build_backbone(HCATConfig(backbone=name, stride=stride))
    assert isinstance(backbone, TimmBackbone)
    return backbone.eval()


@pytest.mark.parametrize(
    ('name', 'stride', 'channels', 'millions'),
    [
        # ConvNeXt-T: 3, 3, 9 blocks of 96, 192, 384 channels (Liu et al., 2022).
        ('convnext_tiny', 16, 384, 12.35),
        ('convnext_tiny', 8, 192, 1.24),
        ('mobilenetv2', 16, 96, 0.54),
        ('mobilenetv2', 8, 32, 0.06),
        ('timm/mobilenetv4_conv_small', 16, 96, 0.32),
    ],
)
def test_networks_of_timm_end_at_their_stride(
    name: str, stride: int, channels: int, millions: float
) -> None:
    backbone = of_timm(name, stride)
    with torch.inference_mode():
        features = backbone(torch.zeros(2, 3, 64, 96))
    assert features.shape == (2, channels, 64 // stride, 96 // stride)
    assert backbone.channels == channels
    count = sum(value.numel() for value in backbone.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.02), 'what comes after the stride is left out'


def test_images_are_normalised_as_timm_specifies() -> None:
    assert of_timm('mobilenetv2').mean == pytest.approx((123.675, 116.28, 103.53))
    assert of_timm('timm/tf_efficientnet_lite0').std == pytest.approx((127.5, 127.5, 127.5))


def test_parts_run_in_the_order_in_which_they_are_listed() -> None:
    backbone, passed = of_timm('mobilenetv2'), []
    for number, part in enumerate(backbone.parts()):
        part.register_forward_hook(lambda *args, number=number: passed.append(number))
    with torch.inference_mode():
        backbone(torch.zeros(1, 3, 32, 32))
    assert passed == list(range(len(backbone.parts())))
    assert len(passed) > 5


@pytest.mark.parametrize(
    ('name', 'stride', 'reason'),
    [
        ('timm/no_such_network', 16, 'Unknown model'),
        ('timm/vit_tiny_patch16_224', 8, r'no features at stride 8, only at \[16'),
        ('timm/vit_tiny_patch16_224', 16, "doesn't match model"),
    ],
)
def test_an_unsuitable_timm_network_is_refused_by_name(name: str, stride: int, reason: str) -> None:
    with pytest.raises(ValueError, match=f"backbone '{name}': .*{reason}"):
        build_backbone(HCATConfig(backbone=name, stride=stride))


def test_a_network_with_a_timm_backbone_can_be_saved_and_loaded(tmp_path: Path) -> None:
    model = HCAT(HCATConfig(backbone='mobilenetv2', **SMALL)).eval()
    save_checkpoint(model, tmp_path / 'weights.safetensors')
    again = load_checkpoint(tmp_path / 'weights.safetensors')
    assert again.config == model.config
    z, x = torch.randn(1, 3, 128, 128), torch.randn(1, 3, 256, 256)
    with torch.inference_mode():
        assert torch.equal(again(x, z).logits, model(x, z).logits)


def test_timm_weights_load_under_their_own_names(tmp_path: Path) -> None:
    timm = from_timm.import_timm()
    torch.manual_seed(0)
    whole = timm.create_model('mobilenetv2_100').eval()
    safetensors.torch.save_file(whole.state_dict(), tmp_path / 'model.safetensors')
    model = HCAT(HCATConfig(backbone='mobilenetv2', **SMALL)).eval()
    load_backbone(model, tmp_path / 'model.safetensors')
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = whole.forward_intermediates(x, indices=[3], intermediates_only=True)[0]
        assert torch.equal(model.backbone(x), expected)
    safetensors.torch.save_file({'a': x}, tmp_path / 'other.safetensors')
    with pytest.raises(ValueError, match=r'tensor .conv_stem.weight. is missing'):
        load_backbone(model, tmp_path / 'other.safetensors')


def test_the_last_blocks_are_trained_and_their_batchnorms_on_request() -> None:
    model = HCAT(HCATConfig(backbone='mobilenetv2', **SMALL))
    freeze_backbone(model, 1)
    norms = [m for m in model.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not [m for m in norms if m.weight.requires_grad]
    trained = [n for n, p in model.backbone.named_parameters() if p.requires_grad]
    assert trained
    assert all(name.startswith('body.model.blocks.4.') for name in trained)
    freeze_backbone(model, 1, frozen_batchnorm=False)
    trainable = [m.weight.requires_grad for m in norms]
    assert trainable == sorted(trainable), 'those of the last block alone'
    assert any(trainable)


def test_without_timm_the_error_names_the_pip_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'hcat_ros\[timm\]'"):
        build_backbone(HCATConfig(backbone='mobilenetv2'))
