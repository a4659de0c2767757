# SPDX-License-Identifier: Apache-2.0
"""Fixtures for several test files: the shared material, reference networks, an engine double."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import settings

from hcat_ros.engines import EngineCard, Prediction

sys.path.append(str(Path(__file__).resolve().parents[1] / 'tools'))

from ros_domain import own_domain, stay_on_this_machine

# The tests' tensors are small: on a busy machine PyTorch's threads only wait for each other.
os.environ.setdefault('OMP_NUM_THREADS', '1')
# Types of message fields are checked, as Humble always does.
os.environ.setdefault('ROS_PYTHON_CHECK_FIELDS', '1')
# OpenVINO 2026.4 and PyTorch in one process have ended with SIGSEGV on Linux 6.18: its tests run
# in a process of their own (Makefile).
if not os.environ.get('HCAT_TEST_OPENVINO'):
    sys.modules['openvino'] = None  # type: ignore[assignment]
# A shell starts background jobs with Ctrl-C ignored, and the processes of tests would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Reproducible, and free of time limits, which a busy machine would break.
settings.register_profile('hcat', max_examples=60, deadline=None, derandomize=True, database=None)
settings.load_profile('hcat')


if hasattr(pytest, 'version_tuple'):  # before 7 the hook has other arguments

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makemodule(
        module_path: Path, parent: pytest.Collector
    ) -> pytest.Module | None:
        """Keep launch_testing's plugin away from modules that are not launch tests.

        The plugin imports each module while it lists a folder; a module that skips itself would
        make it skip the whole folder.
        """
        if b'mark.launch_test' in module_path.read_bytes():
            return None
        module: pytest.Module = pytest.Module.from_parent(parent, path=module_path)
        return module


SLOW = {
    'commands', 'engines', 'launch', 'network', 'nodes', 'quantization', 'simulation', 'tools',
    'training',
}  # fmt: skip
"""Folders whose tests start processes, nodes, engines, networks or trainings."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that `make check` leaves out as slow: also those in a browser.

    Files with slow tests run first, so that no process is left with a long one at the end.
    """
    here = Path(__file__).parent
    for item in items:
        folders = set(Path(item.fspath).relative_to(here).parts)
        if SLOW & folders or 'browser' in getattr(item, 'fixturenames', ()):
            item.add_marker(pytest.mark.slow)
    slow = {item.fspath for item in items if item.get_closest_marker('slow')}
    items.sort(key=lambda item: item.fspath not in slow)


@pytest.fixture(scope='session', autouse=True)
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty user cache folder for all tests and the processes that they start."""
    folder = tmp_path_factory.mktemp('cache')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(folder))
        yield folder


@pytest.fixture(scope='session', autouse=True)
def ros_domain_of_the_session() -> Iterator[None]:
    """A ROS domain that nobody else on this machine or network is in."""
    with own_domain() as number, pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, 'ROS_DOMAIN_ID', str(number))
        for name, value in stay_on_this_machine().items():
            patch.setitem(os.environ, name, value)
        yield


@pytest.fixture
def ros_domain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A ROS domain of the test's own, without nodes of earlier tests."""
    with own_domain() as number:
        monkeypatch.setitem(os.environ, 'ROS_DOMAIN_ID', str(number))
        yield


@pytest.fixture(scope='session')
def checkout() -> Path:
    """The root of the source checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session')
def shared(checkout: Path) -> Path:
    """The folder with golden data and real video; it is not part of the repository."""
    folder = Path(os.environ.get('HCAT_SHARED') or checkout.parent / 'shared')
    if not folder.is_dir():
        pytest.skip(f'needs the shared material: no folder {folder}, and HCAT_SHARED names none')
    return folder


@pytest.fixture(scope='session')
def golden() -> Path:
    """The folder of reference outputs; its `weights.py` says how they were made."""
    return Path(__file__).parent / 'golden'


@pytest.fixture(scope='session')
def weights(golden: Path) -> ModuleType:
    """The module that makes the reference's weights and images."""
    spec = importlib.util.spec_from_file_location('golden_weights', golden / 'weights.py')
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='session')
def golden_state(golden: Path, weights: ModuleType) -> dict[str, Any]:
    """The reference's tensors by name, as listed beside the golden outputs."""
    torch = pytest.importorskip('torch', reason='needs PyTorch')
    state = {}
    for line in (golden / 'state_dict_n2.txt').read_text().splitlines():
        name, size = line.split()
        shape = () if size == 'scalar' else tuple(int(n) for n in size.split('x'))
        state[name] = torch.from_numpy(np.asarray(weights.tensor(name, shape)))
    return state


@pytest.fixture(scope='session')
def golden_network(golden_state: dict[str, Any]) -> Any:
    """The default HCAT with the reference's weights; do not modify."""
    network = pytest.importorskip('hcat_ros.network', reason='needs PyTorch')
    model = network.HCAT()
    model.load_state_dict(golden_state)
    return model.eval()


@pytest.fixture(scope='session')
def golden_model(golden_network: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The exported `golden_network`."""
    pytest.importorskip('onnx', reason='needs onnx to export')
    from hcat_ros.models import load_model
    from hcat_ros.network.export import export_model

    folder = tmp_path_factory.mktemp('models') / 'golden'
    export_model(golden_network, folder)
    return load_model(folder)


@pytest.fixture(scope='session')
def golden_crops(weights: ModuleType) -> tuple[np.ndarray, np.ndarray]:
    """The template and the search crop of the golden outputs, uint8 RGB."""
    return weights.image(128, 128, 100), weights.image(256, 256, 200)


@pytest.fixture(scope='session')
def golden_prediction(golden: Path) -> Prediction:
    """The reference network's output for `golden_crops`."""
    with np.load(golden / 'forward_n2_seed0.npz') as content:
        logits, boxes = content['logits'].astype(np.float64), content['boxes']
    target = 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))  # softmax of two
    return Prediction(target.reshape(16, 16), boxes)


@pytest.fixture(scope='session')
def picture() -> Callable[[int, int, int], np.ndarray]:
    """Makes blocky random images, (height, width, seed) -> uint8 (height, width, 3)."""

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        blocks = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3), np.uint8)
        return np.ascontiguousarray(blocks.repeat(8, 0).repeat(8, 1)[:height, :width])

    return make


@pytest.fixture(scope='session')
def write_image() -> Callable[..., Path]:
    """Writes an image file from a grey level or from pixels, and creates its parent folders."""

    def write(path: Path, content: int | np.ndarray = 90) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.full((24, 32, 3), content, np.uint8) if isinstance(content, int) else content
        assert cv2.imwrite(str(path), image)
        return path

    return write


@pytest.fixture(scope='session')
def turned_jpeg() -> Callable[[np.ndarray], bytes]:
    """A function that encodes a JPEG whose EXIF orientation says to rotate it, as phones do."""
    tiff = b'MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0'
    exif = b'Exif\0\0' + tiff

    def encode(image: np.ndarray) -> bytes:
        data = cv2.imencode('.jpg', image)[1].tobytes()
        turned = cv2.imdecode(np.frombuffer(with_exif(data), np.uint8), cv2.IMREAD_COLOR)
        assert turned.shape[:2] == image.shape[1::-1], 'OpenCV would turn it'
        return with_exif(data)

    def with_exif(data: bytes) -> bytes:
        return data[:2] + b'\xff\xe1' + (len(exif) + 2).to_bytes(2, 'big') + exif + data[2:]

    return encode


@pytest.fixture(scope='session')
def sequence(
    write_image: Callable[..., Path], picture: Callable[..., np.ndarray]
) -> Callable[..., Path]:
    """Writes a sequence: a patch that moves over a blocky ground; frames in `absent` lack it."""

    def write(folder: Path, frames: int = 5, seed: int = 0, absent: tuple[int, ...] = ()) -> Path:
        ground, patch = picture(96, 128, seed) // 2, picture(24, 32, seed + 50)
        rows = []
        for number in range(frames):
            image, x, y = ground.copy(), 20 + 8 * number, 30 + 2 * number
            if number not in absent:
                image[y : y + 24, x : x + 32] = patch
            write_image(folder / f'{number:04d}.png', image)
            rows.append('nan nan nan nan' if number in absent else f'{x},{y},32,24')
        (folder / 'groundtruth.txt').write_text('\n'.join(rows))
        return folder

    return write


class ScriptedEngine:
    """An engine that gives the scripted answers in turn; an exception among them is raised.

    The last answer repeats. `crops` and `templates` hold copies of the images that it was given.
    """

    card = EngineCard('scripted', 'test double', '0', 'fp32', 128, 256, 16)

    def __init__(self, *answers: Prediction | Exception) -> None:
        self.answers = list(answers)
        self.crops: list[np.ndarray] = []
        self.templates: list[np.ndarray] = []
        self.searched: list[str] = []

    @staticmethod
    def seeing(
        box: tuple[float, float, float, float] = (0.5, 0.5, 0.25, 0.25),
        score: float = 0.9,
        cell: tuple[int, int] = (8, 8),
    ) -> Prediction:
        """An answer whose score peaks at `cell`, (row, column), where it predicts this box."""
        scores = np.full((16, 16), 0.01)
        scores[cell] = score
        boxes = np.tile((0.1, 0.1, 0.05, 0.05), (256, 1))
        boxes[cell[0] * 16 + cell[1]] = box
        return Prediction(scores, boxes)

    def template(self, crop: np.ndarray) -> str:
        self.templates.append(crop.copy())
        return f'features {len(self.templates)}'

    def search(self, crop: np.ndarray, features: str) -> Prediction:
        self.crops.append(crop.copy())
        self.searched.append(features)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(scope='session')
def scripted_engine() -> type[ScriptedEngine]:
    """The engine double."""
    return ScriptedEngine


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """A headless Chromium; skips the test if none is installed."""
    pytest.importorskip('aiohttp', reason='needs aiohttp (pip install aiohttp)')
    from browser import Browser, chromium

    opened = Browser(chromium(), tmp_path / 'chromium')
    yield opened
    opened.close()


@pytest.fixture
def no_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder, the only one that is searched for models."""
    from hcat_ros import models

    folder = tmp_path / 'no_models'
    folder.mkdir()
    monkeypatch.setattr(models, 'model_folders', lambda: [folder])
    return folder
