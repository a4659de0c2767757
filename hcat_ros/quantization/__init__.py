# SPDX-License-Identifier: Apache-2.0
"""Post-training quantisation of the search graph to INT8, judged by how well it tracks."""
