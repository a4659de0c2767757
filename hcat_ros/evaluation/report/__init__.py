# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page and a Markdown file from runs. Needs jinja2 and matplotlib."""

from hcat_ros.evaluation.report.page import write_report
from hcat_ros.evaluation.report.strips import ReadFrame, read_frame

__all__ = ['ReadFrame', 'read_frame', 'write_report']
