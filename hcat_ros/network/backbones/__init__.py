# SPDX-License-Identifier: Apache-2.0
"""Backbones behind one interface, `Backbone`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hcat_ros.network.backbones.base import Backbone
from hcat_ros.network.backbones.efficientnet_lite import EfficientNetLite0
from hcat_ros.network.backbones.from_timm import ALIASES, TimmBackbone
from hcat_ros.network.backbones.inverted_residual import InvertedResidual, SameConv2d
from hcat_ros.network.backbones.mobilenet import (
    MobileNet,
    MobileNetV2LightFC,
    MobileNetV3NanoTrackV2,
    MobileNetV3NanoTrackV3,
)
from hcat_ros.network.backbones.resnet import ResNet18, ResNet50
from hcat_ros.network.config import TIMM_PREFIX, HCATConfig

__all__ = [
    'Backbone',
    'EfficientNetLite0',
    'InvertedResidual',
    'MobileNet',
    'MobileNetV2LightFC',
    'MobileNetV3NanoTrackV2',
    'MobileNetV3NanoTrackV3',
    'ResNet18',
    'ResNet50',
    'SameConv2d',
    'TimmBackbone',
    'build_backbone',
    'normalise',
]

_OWN: dict[str, Callable[[int], Backbone]] = {
    'resnet18': ResNet18,
    'efficientnet_lite0': EfficientNetLite0,
    'mobilenetv3_nanotrack_v2': MobileNetV3NanoTrackV2,
    'mobilenetv3_nanotrack_v3': MobileNetV3NanoTrackV3,
    'mobilenetv2_lightfc': MobileNetV2LightFC,
}


def build_backbone(config: HCATConfig) -> Backbone:
    """Return the backbone that `config` names, with the default initialisation of PyTorch or timm.

    Raises ModuleNotFoundError for a timm backbone if timm is not installed, ValueError for a name
    or stride that timm does not support.
    """
    if config.backbone == 'resnet50':
        return ResNet50(config.stride, config.dilation)
    if config.backbone in _OWN:
        return _OWN[config.backbone](config.stride)
    name = ALIASES.get(config.backbone, config.backbone.removeprefix(TIMM_PREFIX))
    return TimmBackbone(name, config.stride)


def normalise(image: Tensor, backbone: Backbone) -> Tensor:
    """Return uint8 RGB images (B, H, W, 3) as the float (B, 3, H, W) that `backbone` expects."""
    if not any(backbone.mean) and set(backbone.std) == {1.0}:
        return image.float().permute(0, 3, 1, 2)  # cast first: TensorRT cannot transpose uint8
    width = image.shape[2]
    mean = torch.tensor(backbone.mean, device=image.device).repeat(width)
    std = torch.tensor(backbone.std, device=image.device).repeat(width)
    # Broadcast over whole rows: ONNX Runtime takes 1.4 ms longer to broadcast over pixels.
    rows = (image.float().flatten(2) - mean) / std
    return rows.unflatten(2, (width, 3)).permute(0, 3, 1, 2)
