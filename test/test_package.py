# SPDX-License-Identifier: Apache-2.0
"""The package's description agrees with its code."""

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import hcat_ros

# Imports whose rosdep key has another name, and imports that only an extra needs.
ROSDEP_KEYS = {
    'aiohttp': 'python3-aiohttp',
    'cv2': 'python3-opencv',
    'numpy': 'python3-numpy',
    'tqdm': 'python3-tqdm',
    'PIL': 'python3-pil',
    'yaml': 'python3-yaml',
}
EXTRAS = {
    'jinja2',
    'lz4',
    'matplotlib',
    'mcap',
    'ncnn',
    'onnx',
    'onnxruntime',
    'onnxslim',
    'openvino',
    'polygraphy',
    'pymavlink',
    'rosbags',
    'safetensors',
    'timm',
    'torch',
    'zstandard',
}
FROM_JETPACK = {'tensorrt'}
OPTIONAL = {'bondpy', 'hcat_ros_interfaces', 'tf2_ros'}
"""Optional ROS packages; without them the node logs what it cannot do."""
STARTED = {'ros2bag'}
"""Packages whose commands are run by launch files."""


def imported(folder: Path) -> set[str]:
    """The top-level modules that the Python files below a folder import."""
    names: set[str] = set()
    for path in folder.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split('.')[0])
    return names - set(sys.stdlib_module_names) - {'hcat_ros'}


def test_package_xml_lists_every_import_and_nothing_else(checkout: Path) -> None:
    package = ElementTree.parse(checkout / 'package.xml').getroot()
    assert package.get('format') == '3'
    listed = {element.text for element in package.findall('exec_depend')}
    names = imported(checkout / 'hcat_ros') | imported(checkout / 'launch')
    needed = {ROSDEP_KEYS.get(name, name) for name in names - EXTRAS - FROM_JETPACK - OPTIONAL}
    assert listed == needed | STARTED


def test_setup_py_lists_every_optional_import(checkout: Path) -> None:
    text = (checkout / 'setup.py').read_text()
    for name in EXTRAS:
        assert re.search(rf"'{name}[>=']", text), name


def test_version_is_the_same_everywhere(checkout: Path) -> None:
    package = ElementTree.parse(checkout / 'package.xml').getroot()
    assert package.findtext('version') == hcat_ros.__version__
    changes = (checkout / 'CHANGELOG.rst').read_text()
    assert re.search(rf'^{re.escape(hcat_ros.__version__)} \(', changes, re.MULTILINE)
