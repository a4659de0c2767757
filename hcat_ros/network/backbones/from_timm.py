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
"""Backbones that have a name here, and timm's name of them."""

_OPERATORS = 'torchvision._meta_registrations'
"""The part of torchvision that describes its compiled operators to PyTorch."""


class TimmBackbone(Backbone):
    """The stages of a network of timm up to a stride, without weights of its training.

    Raises ValueError for a name that timm does not know, for a network without features at the
    stride and for one that takes images of one size alone; ModuleNotFoundError without timm.
    """

    def __init__(self, name: str, stride: int) -> None:
        super().__init__()
        timm = import_timm()
        # Of timm's ways to get at features the one that drops what comes after them.
        how = {'features_only': True, 'feature_cls': 'getter'}
        try:
            strides = timm.create_model(name, **how).feature_info.reduction()
            if stride not in strides:
                raise ValueError(f'has no features at stride {stride}, only at {strides}')
            # A network may keep a stride for several stages: the last one knows most.
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
        """The network of timm itself, its tensors named as in timm's files."""
        return cast(nn.Module, self.body.model)

    def parts(self) -> list[nn.Module]:
        """Return the parts of timm's network that have weights, sequences taken apart."""
        parts: list[nn.Module] = []
        for child in self.network.children():
            parts += child if isinstance(child, nn.Sequential) else [child]
        return [part for part in parts if any(True for _ in part.parameters())]


def _of_255(values: Any) -> tuple[float, float, float]:
    r, g, b = (255 * float(value) for value in values)
    return r, g, b


def import_timm() -> Any:
    """Return the module. Raises ModuleNotFoundError naming the extra to install."""
    try:
        try:
            import timm
        except RuntimeError as error:
            if 'operator torchvision::' not in str(error):
                raise
            # PyPI's torchvision is made for CUDA: its operators do not load beside a PyTorch for
            # CPUs alone, and its import ends over them. timm needs none of them.
            for name in list(sys.modules):
                if name.startswith(('torchvision', 'timm')):
                    del sys.modules[name]
            sys.modules[_OPERATORS] = ModuleType(_OPERATORS)
            import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; pip install 'hcat_ros[timm]'") from error
    return timm
