# SPDX-License-Identifier: Apache-2.0
"""The `hcat` command line, one file per verb."""
