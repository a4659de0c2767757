# SPDX-License-Identifier: Apache-2.0
"""The paper's network, its checkpoints and its export to ONNX. Needs PyTorch."""

from hcat_ros.network.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from hcat_ros.network.config import HCATConfig
from hcat_ros.network.hcat import HCAT

__all__ = ['HCAT', 'CheckpointError', 'HCATConfig', 'load_checkpoint', 'save_checkpoint']
