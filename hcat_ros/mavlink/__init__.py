# SPDX-License-Identifier: Apache-2.0
"""MAVLink: a camera component that ground stations start the tracker with, and motion out."""
