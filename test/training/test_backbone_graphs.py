# SPDX-License-Identifier: Apache-2.0
"""Loading weights of the MobileNets of other trackers from their ONNX files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='needs PyTorch')
onnx = pytest.importorskip('onnx', reason='needs ONNX')
onnxruntime = pytest.importorskip('onnxruntime', reason='needs ONNX Runtime')

from onnx import helper, numpy_helper

from hcat_ros.network import HCAT, HCATConfig
from hcat_ros.training.backbone_weights import freeze_backbone, load_backbone

Shapes = dict[str, tuple[int, ...]]
# MobileNetV3-Small (Howard et al., 2019, table 2) from its second line on: kernel, channels in,
# hidden, out, and of squeeze-and-excitation.
V3 = [
    *[(3, 16, 16, 16, 8), (3, 16, 72, 24, 0), (3, 24, 88, 24, 0)],
    *[(5, 24, 96, 40, 24), (5, 40, 240, 40, 64), (5, 40, 240, 40, 64)],
    *[(5, 40, 120, 48, 32), (5, 48, 144, 48, 40), (5, 48, 288, 96, 72)],
]
# MobileNetV2 (Sandler et al., 2018, table 2): channels in, expansion, channels out.
V2 = [
    *[(32, 1, 16), (16, 6, 24), (24, 6, 24), (24, 6, 32), (32, 6, 32), (32, 6, 32)],
    *[(32, 6, 64), *[(64, 6, 64)] * 3, (64, 6, 96), *[(96, 6, 96)] * 2],
]
TABLES = {
    'mobilenetv3_nanotrack_v2': (16, V3[:8]),
    'mobilenetv3_nanotrack_v3': (16, V3),
    'mobilenetv2_lightfc': (32, [(3, c, c * t, out, 0) for c, t, out in V2]),
}
FILES = {
    'mobilenetv3_nanotrack_v2': 'nanotrack_v2/nanotrack_backbone_sim.onnx',
    'mobilenetv3_nanotrack_v3': 'nanotrack_v3/nanotrack_backbone.onnx',
    'mobilenetv2_lightfc': 'lightfc/lightfc_ep0400_backbone.onnx',
}


def network(backbone: str, stride: int = 16) -> HCAT:
    fields = {'channels': 32, 'heads': 4, 'ffn_channels': 32, 'layers': 1}
    return HCAT(HCATConfig(backbone=backbone, stride=stride, **fields)).eval()


def shapes(name: str) -> Shapes:
    """Our names and shapes of the weights, in the order of the forward pass."""
    stem, blocks = TABLES[name]
    found: Shapes = {'stem': (stem, 3, 3, 3)}
    for number, (kernel, before, hidden, after, squeezed) in enumerate(blocks):
        block = f'blocks.{number}'
        if hidden != before:
            found[f'{block}.expand'] = (hidden, before, 1, 1)
        found[f'{block}.depthwise'] = (hidden, 1, kernel, kernel)
        if squeezed:
            found[f'{block}.excitation.reduce'] = (squeezed, hidden)
            found[f'{block}.excitation.expand'] = (hidden, squeezed)
        found[f'{block}.project'] = (after, hidden, 1, 1)
    return found


def write_weights(path: Path, layers: Shapes) -> dict[str, np.ndarray]:
    """Write a graph that consists of these convolutions and fully connected layers."""
    rng = np.random.default_rng(0)
    values, nodes = {}, []
    for name, shape in layers.items():
        values[f'{name}.weight'] = rng.normal(size=shape).astype(np.float32)
        values[f'{name}.bias'] = rng.normal(size=shape[:1]).astype(np.float32)
        kind = 'Conv' if len(shape) == 4 else 'Gemm'
        nodes.append(helper.make_node(kind, ['x', f'{name}.weight', f'{name}.bias'], [name]))
        nodes.append(helper.make_node('Relu', [name], [f'{name} relu']))
    tensors = [numpy_helper.from_array(value, name) for name, value in values.items()]
    onnx.save(helper.make_model(helper.make_graph(nodes, 'weights', [], [], tensors)), str(path))
    return values


@pytest.mark.parametrize('stride', [16, 8])
@pytest.mark.parametrize('name', TABLES)
def test_each_weight_is_loaded_from_its_layer(tmp_path: Path, name: str, stride: int) -> None:
    written = write_weights(tmp_path / 'net.onnx', shapes(name))
    model = network(name, stride)
    load_backbone(model, tmp_path / 'net.onnx')
    found = {name: value.numpy() for name, value in model.backbone.state_dict().items()}
    assert found.keys() <= written.keys()
    assert (len(found) == len(written)) == (stride == 16)
    for layer, value in found.items():
        assert np.array_equal(value.ravel(), written[layer].ravel()), layer


def test_a_file_of_another_network_is_named_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / 'net.onnx'
    model = network('mobilenetv3_nanotrack_v3')
    with pytest.raises(ValueError, match=r'net\.onnx is not a readable ONNX file'):
        load_backbone(model, path)
    path.write_bytes(b'\xffno graph')
    with pytest.raises(ValueError, match=r'net\.onnx is not a readable ONNX file'):
        load_backbone(model, path)
    layers = shapes('mobilenetv3_nanotrack_v3')
    for changed, message in (
        (shapes('mobilenetv2_lightfc'), r'convolution 0 has tensors \[\[32, 3, 3, 3\], \[32\]\]'),
        (shapes('mobilenetv3_nanotrack_v2'), r'convolution 36 has tensors \[\], expected \[\[288,'),
        ({**layers, 'blocks.2.depthwise': (88, 1, 5, 5)}, r'has tensors \[\[88, 1, 5, 5\]'),
        ({}, r'convolution 0 has tensors \[\]'),
    ):
        write_weights(path, changed)
        with pytest.raises(ValueError, match=message) as error:
            load_backbone(model, path)
        assert str(error.value).endswith('the file belongs to another network')


def crops(side: int, shared: Path, picture: Callable[..., np.ndarray]) -> np.ndarray:
    """A generated image and one of a real video, RGB (2, side, side, 3)."""
    import cv2

    found = sorted((shared / 'data').rglob('0001.*'))
    if not found:
        pytest.skip('needs a photograph')
    photo = cv2.resize(cv2.imread(str(found[0])), (side, side))[:, :, ::-1]
    return np.stack([picture(side, side), photo])


@pytest.mark.parametrize('name', FILES)
def test_features_match_the_released_network(
    shared: Path, picture: Callable[..., np.ndarray], name: str
) -> None:
    path = shared / 'teachers' / FILES[name]
    if not path.is_file():
        pytest.skip(f'needs {path}')
    session = onnxruntime.InferenceSession(str(path))
    side = session.get_inputs()[0].shape[2]
    images = crops(side, shared, picture)
    given = images.transpose(0, 3, 1, 2).astype(np.float32)
    if name == 'mobilenetv2_lightfc':
        mean, std = (
            [[[v]] for v in values] for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        )
        given = ((given / 255 - mean) / std).astype(np.float32)
    model = network(name)
    load_backbone(model, path)
    with torch.inference_mode():
        found = model.backbone(model.normalise(torch.from_numpy(images)))
    for image, ours in zip(given, found.numpy(), strict=True):
        (theirs,) = session.run(None, {session.get_inputs()[0].name: image[None]})
        assert theirs.std() > 0.1
        assert np.abs(ours - theirs[0]).max() < 1e-4 * max(1.0, np.abs(theirs).max())


@pytest.mark.parametrize('name', TABLES)
def test_the_last_blocks_are_trained_except_for_depthwise_kernels(name: str) -> None:
    model = network(name)
    freeze_backbone(model, 2)
    count = len(TABLES[name][1])
    last = tuple(f'blocks.{number}.' for number in (count - 2, count - 1))
    expected = {
        f'{layer}.{kind}'
        for layer in shapes(name)
        for kind in ('weight', 'bias')
        if layer.startswith(last) and 'depthwise' not in layer
    }
    assert {n for n, p in model.backbone.named_parameters() if p.requires_grad} == expected
