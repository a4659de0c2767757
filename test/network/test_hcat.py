# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs PyTorch')

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from hcat_ros.network import HCAT, HCATConfig
from hcat_ros.network.attention import CrossFeatureAugment, MultiHeadCrossAttention
from hcat_ros.network.hcat import SpatialMixing

SMALL: dict[str, Any] = {
    'channels': 32,
    'heads': 4,
    'ffn_channels': 48,
    'sparse_vectors': 4,
    'template_size': 64,
    'search_size': 128,
}
ABLATIONS: dict[str, dict[str, Any]] = {
    'default': {},
    'N = 1': {'layers': 1},
    'N = 3': {'layers': 3},
    '+Hierarchical': {'sparsification': False},
    'Baseline': {'sparsification': False, 'hierarchical': False},
    'Baseline-SA': {'sparsification': False, 'attention': 'self'},
    'FS, juxtaposed': {'hierarchical': False},
    'FS, self': {'attention': 'self'},
    'S = 1': {'sparse_vectors': 1},
    'S = 9': {'sparse_vectors': 9},
    'S = 16': {'sparse_vectors': 16},
    'S = 25': {'sparse_vectors': 25},
    'stride 8': {'stride': 8},
    'lite0': {'backbone': 'efficientnet_lite0'},
    'lite0, stride 8': {'backbone': 'efficientnet_lite0', 'stride': 8},
    'options': {'box_anchor': True, 'correlation': True, 'mixing': 2},
    'options, self': {'box_anchor': True, 'correlation': True, 'attention': 'self'},
}


def network(**fields: Any) -> HCAT:
    """A small random network in evaluation mode; biases and norms are random too."""
    torch.manual_seed(1)
    model = HCAT(HCATConfig(**{**SMALL, **fields}))
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1 and not name.startswith('backbone'):
            nn.init.normal_(parameter, 1.0 if 'norm' in name else 0.0, 0.3)
        if parameter.dim() == 4:
            nn.init.kaiming_normal_(parameter, nonlinearity='relu')  # keeps the images' variance
    return model.eval()


def images(model: HCAT, batch: int = 2) -> tuple[Tensor, Tensor]:
    """A search and a template image."""
    torch.manual_seed(2)
    search, template = model.config.search_size, model.config.template_size
    return torch.randn(batch, 3, search, search), torch.randn(batch, 3, template, template)


def test_outputs_match_the_golden_reference(
    golden: Path, golden_network: HCAT, golden_crops: Any
) -> None:
    template, search = (golden_network.normalise(torch.from_numpy(c[None])) for c in golden_crops)
    with torch.inference_mode():
        prediction = golden_network(search, template)
    with np.load(golden / 'forward_n2_seed0.npz') as content:
        np.testing.assert_allclose(prediction.logits[0], content['logits'], atol=1e-4, rtol=0)
        np.testing.assert_allclose(prediction.boxes[0], content['boxes'], atol=1e-4, rtol=0)


def test_the_default_network_has_the_papers_size() -> None:
    parameters = sum(p.numel() for p in HCAT().parameters())
    assert parameters == pytest.approx(9.96e6, rel=0.001)


@pytest.mark.parametrize('name', ABLATIONS)
def test_every_ablation_runs_and_template_plus_search_equals_forward(name: str) -> None:
    model = network(**ABLATIONS[name])
    search, template = images(model)
    cells = model.config.search_grid**2
    with torch.inference_mode():
        logits, boxes = model(search, template)
        halves = model.search(search, model.template(template))
        one = model.search(search[1:], model.template(template[1:]))
    assert logits.shape == (2, cells, 2)
    assert boxes.shape == (2, cells, 4)
    assert logits.isfinite().all()
    assert boxes.min() > 0
    assert boxes.max() < 1
    assert_close((logits, boxes), tuple(halves), atol=0, rtol=0)
    assert_close((logits[1:], boxes[1:]), tuple(one), atol=1e-4, rtol=1e-4)  # no batch mixing
    other = model.search(search, model.template(template.flip(0)))
    assert (other.logits - logits).abs().max() > 1e-3  # the template matters


def attend(block: MultiHeadCrossAttention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """PyTorch's attention with the block's weights."""
    theirs = nn.MultiheadAttention(block.channels, block.heads, batch_first=True).eval()
    theirs.load_state_dict(block.state_dict())
    result: Tensor = theirs(q, k, v)[0]
    return result


def mixed(block: SpatialMixing, x: Tensor) -> Tensor:
    """X + FFN(LayerNorm(DW(X))), with the 5 x 5 convolution as a sum over its offsets."""
    grid = block.grid
    cells = nn.functional.pad(x.unflatten(1, (grid, grid)), (0, 0, 2, 2, 2, 2))
    around = block.depthwise.bias + sum(
        block.depthwise.weight[:, 0, dy, dx] * cells[:, dy : dy + grid, dx : dx + grid]
        for dy in range(5)
        for dx in range(5)
    )
    return x + block.linear2(block.linear1(block.norm(around.flatten(1, 2))).relu())


def reference(model: HCAT, search: Tensor, template: Tensor) -> tuple[Tensor, Tensor]:
    """A direct implementation of the specification, with nothing precomputed."""
    config = model.config

    def vectors(image: Tensor) -> Tensor:
        return model.projection(model.backbone(image)).flatten(2).transpose(1, 2)

    def cfa(block: CrossFeatureAugment, q: Tensor, pq: Tensor, m: Tensor, pm: Tensor) -> Tensor:
        y = block.norm1(q + attend(block.attention, q + pq, m + pm, m))
        return block.norm2(y + block.linear2(block.linear1(y).relu()))

    fx, fz = vectors(search), vectors(template)
    batch = len(fx)
    px, pz = model.px.expand(batch, -1, -1), model.pz.expand(batch, -1, -1)
    if config.correlation:
        cosines = nn.functional.cosine_similarity(fx[:, :, None], fz[:, None], dim=3)
        fx = fx + model.correlation(8 * cosines)
    if config.sparsification:
        e = model.embedding.expand(batch, -1, -1)
        fs = model.sparsification
        fz, pz = fs.norm(2 * attend(fs.attention, e, fz + pz, fz)), e
    for layer in model.layers:
        if config.attention == 'self':
            fx, fz = cfa(layer.search, fx, px, fx, px), cfa(layer.template, fz, pz, fz, pz)
            continue
        updated = cfa(layer.search, fx, px, fz, pz)
        seen = updated if config.hierarchical else fx
        fz = cfa(layer.template, fz, pz, seen, px)
        fx = updated
    f = model.decoder_norm(cfa(model.decoder, fx, px, fz, pz))
    for block in model.mixing:
        f = mixed(block, f)
    heads = []
    for head in (model.score_head, model.box_head):
        first, second, last = head.layers
        heads.append(last(second(first(f).relu()).relu()))
    return heads[0], (heads[1] + (model.anchor if config.box_anchor else 0)).sigmoid()


@pytest.mark.parametrize('name', ABLATIONS)
def test_every_ablation_matches_the_specification(name: str) -> None:
    model = network(**ABLATIONS[name])
    with torch.no_grad():
        expected = reference(model, *images(model))
        assert_close(tuple(model(*images(model))), expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize('sparsification', [True, False])
def test_hierarchical_and_juxtaposed_share_parameters_but_not_results(
    sparsification: bool,
) -> None:
    one = network(sparsification=sparsification)
    other = network(sparsification=sparsification, hierarchical=False)
    other.load_state_dict(one.state_dict())  # strict: the same names and shapes
    search, template = images(one)
    with torch.inference_mode():
        assert (one(search, template).logits - other(search, template).logits).abs().max() > 1e-3


@pytest.mark.parametrize('name', ['default', 'N = 1', 'Baseline', 'FS, juxtaposed', 'options'])
def test_search_does_not_repeat_work_that_depends_on_the_template_only(name: str) -> None:
    model = network(**ABLATIONS[name])
    search, template = images(model)
    calls: list[str] = []
    for part in ('backbone', 'projection', 'sparsification'):
        if hasattr(model, part):
            module = getattr(model, part)
            module.register_forward_hook(lambda m, i, o, part=part: calls.append(part))
    first = model.layers[0]
    for block, method, text in (
        (first.search, 'memory', 'first memory'),
        (first.template, 'query', 'first template query'),
    ):
        inner = getattr(block, method)

        def counted(*args: Tensor, inner: Any = inner, text: str = text) -> Any:
            calls.append(text)
            return inner(*args)

        setattr(block, method, counted)
    with torch.inference_mode():
        features = model.template(template)
        once = ['sparsification'] if model.config.sparsification else []
        expected = ['backbone', 'projection', *once, 'first memory', 'first template query']
        assert sorted(calls) == sorted(expected)
        calls.clear()
        model.search(search, features)
    assert calls == ['backbone', 'projection']


def test_template_features_have_the_documented_names_and_shapes() -> None:
    """Batch 2, C 32, 4 heads of 8 channels; 4 sparse vectors with FS, 16 vectors without."""
    sparse = {
        'key': (2, 32, 16),
        'key_bias': (2, 1, 16),
        'value': (2, 16, 32),
        'vectors': (2, 4, 32),
        'query': (2, 32, 16),
    }
    dense = {
        'key': (2, 4, 8, 16),
        'value': (2, 4, 16, 8),
        'vectors': (2, 16, 32),
        'query': (2, 4, 16, 8),
    }
    for name, expected in (
        ('default', sparse),
        ('options', {**sparse, 'correlation': (2, 32, 32)}),
        ('Baseline', dense),
        ('Baseline-SA', {key: dense[key] for key in ('key', 'value')}),
        ('FS, self', {'key': (2, 4, 8, 4), 'value': (2, 4, 4, 8)}),
    ):
        model = network(**ABLATIONS[name])
        found = model.template(images(model)[1])
        assert {key: tuple(value.shape) for key, value in found.items()} == expected


def test_mixing_stays_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    block = SpatialMixing(8, 4)
    seen: list[torch.dtype] = []
    block.depthwise.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    x = torch.randn(2, 16, 8)
    with torch.autocast('cpu', torch.bfloat16):
        found = block(x)
    assert seen == [torch.float32]
    with torch.no_grad():
        assert_close(found, mixed(block, x), atol=0.05, rtol=0.05)


def test_self_attention_search_does_not_run_the_template_branch() -> None:
    model = network(attention='self')
    search, template = images(model)
    features = model.template(template)
    calls: list[int] = []
    for layer in model.layers:
        layer.template.register_forward_hook(lambda m, i, o: calls.append(1))
    model.search(search, features)
    assert not calls
    assert set(features) == {'key', 'value'}


@pytest.mark.parametrize('name', ['default', 'Baseline', 'Baseline-SA', 'options'])
def test_features_are_not_modified_and_serve_many_searches(name: str) -> None:
    model = network(**ABLATIONS[name])
    search, template = images(model)
    with torch.inference_mode():
        features = model.template(template)
        before = {key: value.clone() for key, value in features.items()}
        first = model.search(search, features)
        model.search(search.flip(0), features)
        assert_close(tuple(model.search(search, features)), tuple(first), atol=0, rtol=0)
    assert_close(features, before, atol=0, rtol=0)


def test_the_box_anchor_moves_boxes_to_their_cells() -> None:
    plain, anchored = network(), network(box_anchor=True)
    for model in (plain, anchored):
        for parameter in model.box_head.parameters():
            nn.init.zeros_(parameter)
    with torch.inference_mode():
        assert (plain(*images(plain)).boxes == 0.5).all()
        boxes = anchored(*images(anchored)).boxes[0]
    assert boxes[0].tolist() == pytest.approx([1 / 16, 1 / 16, 0.25, 0.25])  # a grid of 8
    assert boxes[10].tolist() == pytest.approx([5 / 16, 3 / 16, 0.25, 0.25])


@pytest.mark.parametrize('name', ['default', 'Baseline', 'options'])
def test_gradients_reach_every_parameter(name: str) -> None:
    model = network(**ABLATIONS[name]).train()
    logits, boxes = model(*images(model))
    (logits * torch.randn_like(logits)).sum().add(
        (boxes * torch.randn_like(boxes)).sum()
    ).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_weights_outside_of_the_backbone_have_xavier_initialisation() -> None:
    torch.manual_seed(0)
    weight = HCAT().layers[0].search.linear1.weight
    limit = (6 / (256 + 2048)) ** 0.5
    assert weight.abs().max().item() == pytest.approx(limit, rel=0.01)
    assert weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.01)
