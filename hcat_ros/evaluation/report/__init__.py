# SPDX-License-Identifier: Apache-2.0
"""Writes a self-contained HTML page and a Markdown file about runs. Needs jinja2, matplotlib."""

from hcat_ros.evaluation.report.page import write_report
from hcat_ros.evaluation.report.strips import ReadFrame, read_frame

__all__ = ['ReadFrame', 'read_frame', 'write_report']
