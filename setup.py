# SPDX-License-Identifier: Apache-2.0
"""Package description for colcon (ament_python) and pip alike."""

import re
from pathlib import Path

from setuptools import find_packages, setup

NAME = 'hcat_ros'
HERE = Path(__file__).resolve().parent  # also where colcon --symlink-install links to it
VERSION = re.search(r"__version__ = '(.+)'", (HERE / NAME / '__init__.py').read_text())[1]


def data_files():
    """Return what goes to share/hcat_ros: launch files, configuration, models."""
    share = Path('share') / NAME
    folders = {
        Path('share/ament_index/resource_index/packages'): [Path('resource') / NAME],
        share: [Path('package.xml')],
    }
    for top in ('launch', 'config', 'models'):
        for path in sorted(Path(top).rglob('*')):
            # Weights are for training on; the node needs the ONNX files alone.
            if path.suffix in ('.pyc', '.safetensors') or not path.is_file():
                continue
            folders.setdefault(share / path.parent, []).append(path)
    return [(str(folder), [str(path) for path in paths]) for folder, paths in folders.items()]


NCNN = 'ncnn>=1.0.20260526'
RUNTIMES = {
    'onnxruntime': ['onnxruntime>=1.16'],
    'openvino': ['openvino>=2023.3'],
    'ncnn': [NCNN],
    # TensorRT itself comes with JetPack.
    'tensorrt': ['polygraphy>=0.49.13'],
}
EXPORT = ['torch>=2.6', 'safetensors>=0.4', 'onnx>=1.15', 'onnxslim>=0.1.50', 'onnxruntime>=1.16']
EVALUATE = [
    'jinja2>=3',
    'matplotlib>=3.5',
    'rosbags>=0.11.9',
    'mcap>=1.2.1',
    'lz4>=3',
    'zstandard>=0.21',
]
# onnx and onnxruntime run the teachers.
TRAIN = ['torch>=2.6', 'safetensors>=0.4', 'tensorboard', 'onnx>=1.15', 'onnxruntime>=1.16']

setup(
    name=NAME,
    version=VERSION,
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={
        NAME: ['py.typed'],
        f'{NAME}.select_page': ['page.html'],
        f'{NAME}.evaluation.report': ['page.html'],
    },
    data_files=data_files(),
    python_requires='>=3.10',
    # ROS packages (rclpy, sensor_msgs, ...) come from ROS: package.xml lists them.
    install_requires=['setuptools', 'numpy>=1.21', 'pillow>=8', 'PyYAML', 'tqdm'],
    extras_require={
        # OpenCV's Python module is one of several wheels, or Ubuntu's python3-opencv: an
        # extra, so that pip does not install a second one over it on a robot.
        'opencv': ['opencv-python-headless>=4.5'],
        # In its place, with CSRT and KCF to compare with.
        'opencv-contrib': ['opencv-contrib-python-headless>=4.5'],
        **RUNTIMES,
        'export': EXPORT,
        'export-ncnn': [*EXPORT, NCNN, 'pnnx>=20260526'],
        'train': TRAIN,
        # Backbones of timm, which brings torchvision.
        'timm': ['timm>=1.0.15'],
        # Reports and bags.
        'evaluate': EVALUATE,
        # Ground stations; pyserial for serial lines.
        'mavlink': ['pymavlink>=2.4.41', 'pyserial>=3.5'],
        # The operator's page.
        'select': ['aiohttp>=3.8'],
        # The first that keeps the ranges of a calibration.
        'quantize': ['onnx>=1.15', 'onnxruntime>=1.27'],
        # mavsdk is the ground station that the MAVLink camera is tried with.
        'test': ['pytest', 'pytest-xdist', 'hypothesis', 'polygraphy>=0.49.13', 'mavsdk>=4.1'],
        # What got10k and vot-toolkit import, whose figures the tests compare with ours. The
        # Makefile installs these two alone: vot-toolkit asks for another OpenCV.
        'test-toolkits': [
            'attributee==0.1.9',  # 0.1.10 does not import
            'bidict>=0.19',
            'cachetools>=4.1',
            'colorama>=0.4.3',
            'lazy-object-proxy>=1.9',
            'matplotlib>=3.5',
            'numba>=0.61',
            'phx-class-registry>=5',
            'pillow>=9',
            'shapely>=2',
            'six',
            'wget',
        ],
        'docs': ['mkdocs>=1.6,<2', 'mkdocs-material>=9.5'],
        'lint': ['ruff==0.17.6', 'mypy==2.4.1', 'import-linter==2.16', 'types-PyYAML'],
    },
    zip_safe=False,
    author='The hcat_ros authors',
    maintainer='The hcat_ros authors',
    maintainer_email='hcat_ros@users.noreply.github.com',
    description='HCAT, a fast transformer single-object tracker, as a ROS 2 lifecycle node',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
    keywords=['ROS', 'tracking', 'transformer', 'ONNX', 'TensorRT'],
    entry_points={
        'console_scripts': [
            'camera_sim = hcat_ros.executables:camera_sim',
            'composed = hcat_ros.executables:composed',
            'follower_node = hcat_ros.executables:follower_node',
            'hcat = hcat_ros.executables:hcat',
            'mavlink_camera = hcat_ros.executables:mavlink_camera',
            'select_page = hcat_ros.executables:select_page',
            'tracker_node = hcat_ros.executables:tracker_node',
            'tracker_nodes = hcat_ros.executables:tracker_nodes',
            'video_source = hcat_ros.executables:video_source',
        ],
    },
)
