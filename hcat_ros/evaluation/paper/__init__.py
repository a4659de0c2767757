# SPDX-License-Identifier: Apache-2.0
"""The paper's tables, with its figures beside those of this machine, for `hcat paper`."""
