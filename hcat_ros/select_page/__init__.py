# SPDX-License-Identifier: Apache-2.0
"""The web page on which an operator sees the tracker's picture and names a target. No ROS here.

`view` is what there is to see, `pictures` makes it small, `access` says who may, `server` serves
it (aiohttp), `page.html` shows it. `hcat_ros.nodes.tools.select_page` connects it with the tracker.
"""
