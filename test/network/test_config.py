# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip('torch', reason='needs PyTorch')

from hcat_ros.network import HCATConfig


def test_the_defaults_are_the_papers_network() -> None:
    config = HCATConfig()
    assert (config.backbone, config.layers, config.sparse_vectors) == ('resnet18', 2, 16)
    assert (config.channels, config.heads, config.ffn_channels) == (256, 8, 2048)
    assert config.sparsification
    assert config.hierarchical
    assert config.attention == 'cross'
    assert not config.box_anchor
    assert not config.correlation
    assert config.mixing == 0


@pytest.mark.parametrize(('stride', 'template', 'search'), [(16, 8, 16), (8, 16, 32)])
def test_grid_sizes_follow_from_the_stride(stride: int, template: int, search: int) -> None:
    config = HCATConfig(stride=stride)
    assert (config.template_grid, config.search_grid) == (template, search)


@pytest.mark.parametrize(
    ('field', 'value', 'reason'),
    [
        ('backbone', 'resnet34', "backbone 'resnet34': expected resnet18, resnet50, efficientnet"),
        ('backbone', None, 'backbone'),
        ('backbone', ['resnet18'], 'backbone'),
        ('stride', 32, 'stride 32: expected 8 or 16'),
        ('stride', '16', 'stride'),
        ('attention', 'axial', "attention 'axial': expected cross, self, self+cross"),
        ('channels', 0, 'channels 0: expected a whole number from 1 to 4096'),
        ('channels', 100, 'channels 100: expected a multiple of 4 and of 2 x heads (8)'),
        ('channels', 256.0, 'channels 256.0'),
        ('channels', 'many', "channels 'many'"),
        ('heads', -1, 'heads -1: expected a whole number from 1'),
        ('heads', None, 'heads None'),
        ('ffn_channels', 0, 'ffn_channels 0'),
        ('layers', 0, 'layers 0: expected a whole number from 1 to 64'),
        ('layers', 1.5, 'layers 1.5'),
        ('sparse_vectors', 0, 'sparse_vectors 0'),
        ('dropout', 1.0, 'dropout 1.0: expected 0 <= dropout < 1'),
        ('dropout', -0.1, 'dropout -0.1'),
        ('dropout', float('nan'), 'dropout nan'),
        ('dropout', 'some', "dropout 'some'"),
        ('template_size', 100, 'template_size 100: expected a multiple of 32'),
        ('search_size', 0, 'search_size 0'),
        ('search_size', 256.0, 'search_size 256.0'),
        ('hierarchical', 'no', "hierarchical 'no'"),
        ('sparsification', 1, 'sparsification 1'),
        ('box_anchor', None, 'box_anchor None'),
        ('correlation', 'yes', "correlation 'yes'"),
        ('dilation', True, 'dilation: expected resnet50 at stride 8, got resnet18 at stride 16'),
        ('dilation', 'on', "dilation 'on'"),
        ('mixing', -1, 'mixing -1: expected a whole number from 0 to 64'),
        ('mixing', 1.5, 'mixing 1.5'),
        ('mixing', None, 'mixing None'),
    ],
)
def test_an_invalid_value_is_refused_with_the_name_of_its_field(
    field: str, value: Any, reason: str
) -> None:
    with pytest.raises(ValueError) as error:
        HCATConfig(**{field: value})
    assert reason in str(error.value)
