# SPDX-License-Identifier: Apache-2.0
"""Nodes around the tracker: sources of images, the page, the client, several in one process."""
