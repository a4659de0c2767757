# SPDX-License-Identifier: Apache-2.0
"""Any feature extractor of timm (PyTorch Image Models) as a backbone."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn

from hcat_ros.network.backbones.base import Backbone
from hcat_ros.network.config import TIMM_PREFIX

ALIASES = {'convnext_tiny': 'convnext_tiny', 'mobilenetv2': 'mobilenetv2_100'}
"""Backbones with a name of our own, and timm's name for them."""

_OPERATORS = 'torchvision._meta_registrations'
"""The part of torchvision that describes its compiled operators to PyTorch."""


class TimmBackbone(Backbone):
    """The stages of a timm network up to a stride, without pretrained weights.

    Raises ValueError for a name that timm does not know, for a network without features at the
    stride and for a network with a fixed image size; ModuleNotFoundError without timm.
    """

    def __init__(self, name: str, stride: int) -> None:
        super().__init__()
        timm = import_timm()
        # The 'getter' class drops the layers after the features.
        how = {'features_only': True, 'feature_cls': 'getter'}
        try:
            strides = timm.create_model(name, **how).feature_info.reduction()
            if stride not in strides:
                raise ValueError(f'has no features at stride {stride}, only at {strides}')
            # Several stages may have the same stride: take the last, deepest one.
            last = max(i for i, reduction in enumerate(strides) if reduction == stride)
            body = timm.create_model(name, **how, out_indices=(last,)).eval()
            with torch.no_grad():
                (features,) = body(torch.zeros(1, 3, 64, 64))
        except (AssertionError, AttributeError, RuntimeError, ValueError) as error:
            raise ValueError(f"backbone '{TIMM_PREFIX}{name}': {error}") from error
        self.body: nn.Module = body.train()
        self.channels = int(features.shape[1])
        settings = body.pretrained_cfg
        self.mean = _of_255(settings['mean'])
        self.std = _of_255(settings['std'])

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.body(x)[-1]
        return features

    @property
    def network(self) -> nn.Module:
        """The timm network itself, whose tensors have the names of timm's files."""
        return cast(nn.Module, self.body.model)

    def parts(self) -> list[nn.Module]:
        """Return the parts of timm's network that have weights, with sequences unpacked."""
        parts: list[nn.Module] = []
        for child in self.network.children():
            parts += child if isinstance(child, nn.Sequential) else [child]
        return [part for part in parts if any(True for _ in part.parameters())]


def _of_255(values: Any) -> tuple[float, float, float]:
    r, g, b = (255 * float(value) for value in values)
    return r, g, b


def import_timm() -> Any:
    """Import timm. Raises ModuleNotFoundError that names the extra to install."""
    try:
        try:
            import timm
        except RuntimeError as error:
            if 'operator torchvision::' not in str(error):
                raise
            # PyPI's torchvision is built for CUDA: with a CPU-only PyTorch its operators do not
            # load and its import fails. timm does not need them: an empty module replaces them.
            for name in list(sys.modules):
                if name.startswith(('torchvision', 'timm')):
                    del sys.modules[name]
            sys.modules[_OPERATORS] = ModuleType(_OPERATORS)
            import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; pip install 'hcat_ros[timm]'") from error
    return timm
