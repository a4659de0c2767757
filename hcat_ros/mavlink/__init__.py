# SPDX-License-Identifier: Apache-2.0
"""MAVLink: a camera component for naming targets in a ground station, and motion output."""
