# SPDX-License-Identifier: Apache-2.0
"""The web page on which an operator sees the tracker's images and names targets. No ROS here.

`view` holds what is shown, `pictures` scales images, `access` and `door` control who may connect,
`client` serves one browser, `server` is the HTTP server (aiohttp), and `page.html` is the page.
`hcat_ros.nodes.tools.select_page` connects them with the tracker.
"""
