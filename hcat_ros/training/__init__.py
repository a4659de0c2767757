# SPDX-License-Identifier: Apache-2.0
"""Training: data, pairs, losses and the loop. Needs PyTorch."""
