# SPDX-License-Identifier: Apache-2.0
"""A real headless Chromium, steered through its DevTools protocol."""

import asyncio
import base64
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from install_browser import REMEDY, find_browser


def chromium() -> str:
    """The path of HCAT_CHROMIUM or an installed browser. Skips the test if there is none."""
    found = find_browser()
    if found is None:
        pytest.skip(f'needs a browser: run tools/install_browser.py, or {REMEDY}')
    return found


class Browser:
    """One tab. Input is sent as mouse, touch and key events, as if from a person."""

    def __init__(self, path: str, folder: Path, size: tuple[int, int] = (1000, 760)) -> None:
        self.log: list[str] = []
        """Messages that the page has written to its console, errors included."""
        self._number = 0
        self._loop = asyncio.new_event_loop()
        arguments = [
            '--headless',
            '--no-sandbox',  # tests may be run by root
            '--disable-gpu',
            '--disable-dev-shm-usage',
            f'--window-size={size[0]},{size[1]}',
            f'--user-data-dir={folder}',
            '--remote-debugging-port=0',
            'about:blank',
        ]
        # The library path of this Python must not reach the browser.
        environment = {k: v for k, v in os.environ.items() if k != 'LD_LIBRARY_PATH'}
        self._process = subprocess.Popen(
            [path, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            # A process group, so that `close` ends child processes too: Debian's
            # chromium-headless-shell is a script that starts the browser as a child.
            start_new_session=True,
        )
        port_file = folder / 'DevToolsActivePort'
        deadline = time.monotonic() + 60
        while not port_file.is_file() or not port_file.read_text().strip():
            assert self._process.poll() is None, f'{path} ended with {self._process.returncode}'
            assert time.monotonic() < deadline, f'{path} does not come up'
            time.sleep(0.05)
        self._loop.run_until_complete(self._connect(port_file.read_text().split()[0]))
        for domain in ('Page', 'Runtime', 'Log'):
            self.call(f'{domain}.enable')

    async def _connect(self, port: str) -> None:
        self._session = aiohttp.ClientSession()
        async with self._session.get(f'http://127.0.0.1:{port}/json/list') as response:
            tabs = await response.json()
        url = next(tab['webSocketDebuggerUrl'] for tab in tabs if tab['type'] == 'page')
        self._socket = await self._session.ws_connect(url, max_msg_size=0)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        return self._loop.run_until_complete(self._call(method, parameters))

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        number = self._number
        await self._socket.send_json({'id': number, 'method': method, 'params': parameters})
        while True:
            message = await self._socket.receive_json(timeout=30)
            if message.get('id') == number:
                assert 'error' not in message, f'{method}: {message.get("error")}'
                return dict(message['result'])
            if message.get('method') in ('Runtime.exceptionThrown', 'Log.entryAdded'):
                self.log.append(str(message['params']))

    def open(self, url: str) -> None:
        """Go to an address."""
        self.call('Page.navigate', url='about:blank')  # a new fragment alone reloads nothing
        self.call('Page.navigate', url=url)
        deadline = time.monotonic() + 60
        while not self.value("location.href != 'about:blank' && document.readyState == 'complete'"):
            assert time.monotonic() < deadline, f'{url} does not load'
            time.sleep(0.05)

    def value(self, expression: str) -> Any:
        """Evaluate JavaScript in the page."""
        answer = self.call('Runtime.evaluate', expression=expression, returnByValue=True)
        assert 'exceptionDetails' not in answer, answer['exceptionDetails']
        return answer['result'].get('value')

    def text(self, element: str) -> str:
        """Return the text of the element with this id, '' if there is none."""
        return str(self.value(f"document.getElementById('{element}')?.textContent ?? ''"))

    def wait(self, expression: str, timeout: float = 60.0) -> Any:
        """Wait until a JavaScript expression is true, and return it."""
        deadline = time.monotonic() + timeout
        while not (value := self.value(expression)):
            state = [self.text(name) for name in ('state', 'detail', 'message')]
            assert time.monotonic() < deadline, f'not seen: {expression}; {state}; {self.log}'
            time.sleep(0.05)
        return value

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return the screen coordinates of a pixel of the full image."""
        area = self.value(
            '(({left, top, width, height}) => [left, top, width, height])'
            "(document.getElementById('picture').getBoundingClientRect())"
        )
        width, height = (
            int(n) for n in self.value("document.getElementById('picture').dataset.size").split('x')
        )
        return area[0] + x * area[2] / width, area[1] + y * area[3] / height

    def drag(self, box: tuple[float, float, float, float], steps: int = 6) -> None:
        """Drag with the mouse over a box in pixels of the full image."""
        x, y, w, h = box
        points = [
            self.place(x + w * step / steps, y + h * step / steps) for step in range(steps + 1)
        ]
        self.send_mouse('mousePressed', points[0])
        for point in points[1:]:
            self.send_mouse('mouseMoved', point)
        self.send_mouse('mouseReleased', points[-1])

    def send_mouse(self, kind: str, point: tuple[float, float]) -> None:
        """Send an event of the left button: mousePressed, mouseMoved or mouseReleased."""
        held = {'button': 'left', 'buttons': 0 if kind == 'mouseReleased' else 1, 'clickCount': 1}
        self.call('Input.dispatchMouseEvent', type=kind, x=point[0], y=point[1], **held)

    def swipe(self, box: tuple[float, float, float, float], steps: int = 6) -> None:
        """Draw the diagonal of a box with a finger."""
        x, y, w, h = box
        for step in range(steps + 1):
            px, py = self.place(x + w * step / steps, y + h * step / steps)
            kind = 'touchStart' if step == 0 else 'touchMove'
            self.call('Input.dispatchTouchEvent', type=kind, touchPoints=[{'x': px, 'y': py}])
        self.call('Input.dispatchTouchEvent', type='touchEnd', touchPoints=[])

    def click(self, element: str) -> None:
        """Click on the middle of the element with this id."""
        point = self.value(
            '(({left, top, width, height}) => [left + width / 2, top + height / 2])'
            f"(document.getElementById('{element}').getBoundingClientRect())"
        )
        self.send_mouse('mousePressed', point)
        self.send_mouse('mouseReleased', point)

    def press(self, key: str) -> None:
        """Press a key, by its name."""
        text = {'text': key} if len(key) == 1 else {'text': '\r'} if key == 'Enter' else {}
        self.call('Input.dispatchKeyEvent', type='keyDown', key=key, code=key, **text)
        self.call('Input.dispatchKeyEvent', type='keyUp', key=key, code=key)

    def screenshot(self, path: Path) -> None:
        """Write a screenshot of the tab as PNG."""
        path.write_bytes(base64.b64decode(self.call('Page.captureScreenshot')['data']))

    def close(self) -> None:
        """End the browser."""
        self._loop.run_until_complete(self._session.close())
        self._loop.close()
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
