# SPDX-License-Identifier: Apache-2.0
"""The page in a real Chromium, served by a real server; the robot is a double."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hcat_ros.boxes import Box
from hcat_ros.select_page.view import ShownTrack, Status

TOKEN = 'of the operator: +&%#'
STAMP = 1_764_000_000_123_456_789
BOX = (100.0, 60.0, 48.0, 40.0)
PICTURE = "document.getElementById('picture')"
MESSAGE = "document.getElementById('message').textContent"


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, f'not seen: {what}'
        time.sleep(0.02)


def asked_box(robot: Any) -> tuple[int, Any]:
    until(lambda: robot.asked, 'a box')
    assert len(robot.asked) == 1
    return robot.asked[0]


@pytest.mark.parametrize('max_width', [80, 4000])
def test_a_dragged_box_is_in_pixels_of_the_full_image_however_it_is_scaled(
    serve: Any, robot: Any, seen: Any, browser: Any, max_width: int
) -> None:
    server = serve(max_width=max_width)
    server.feed.tell(Status('no target'))
    server.feed.show(seen(STAMP, 1080, 1920))
    browser.open(server.url)
    browser.wait(f"{PICTURE}.dataset.stamp == '{STAMP}'")
    assert browser.text('state') == 'no target'
    browser.drag((1200, 300, 400, 500))
    stamp, box = asked_box(robot)
    assert stamp == STAMP
    # One pixel of the screen shows two of the image.
    assert tuple(box) == pytest.approx((1200, 300, 400, 500), abs=3)
    browser.wait(f"{MESSAGE} == 'done'")
    assert browser.log == []


def test_box_is_drawn_by_touch(serve: Any, robot: Any, seen: Any, browser: Any) -> None:
    server = serve()
    server.feed.show(seen(STAMP))
    browser.call('Emulation.setTouchEmulationEnabled', enabled=True)
    browser.open(server.url)
    browser.wait(f'{PICTURE}.dataset.stamp')
    browser.swipe(BOX)
    assert tuple(asked_box(robot)[1]) == pytest.approx(BOX, abs=1.5)


def test_box_is_drawn_from_any_corner_and_clipped_to_the_image(
    serve: Any, robot: Any, seen: Any, browser: Any
) -> None:
    server = serve()
    server.feed.show(seen(STAMP))
    browser.open(server.url)
    browser.wait(f'{PICTURE}.dataset.stamp')
    browser.drag((100.0, 60.0, -110.0, -70.0))
    assert tuple(asked_box(robot)[1]) == pytest.approx((0, 0, 100, 60), abs=1.5)


@pytest.mark.parametrize('hold', [False, True])
def test_box_has_the_stamp_of_the_image_shown_at_release(
    serve: Any, robot: Any, seen: Any, browser: Any, hold: bool
) -> None:
    server = serve()
    server.feed.show(seen(STAMP))
    browser.open(server.url)
    browser.wait(f'{PICTURE}.dataset.stamp')
    if hold:
        browser.click('hold')
    browser.send_mouse('mousePressed', browser.place(100, 60))
    browser.send_mouse('mouseMoved', browser.place(120, 80))
    server.feed.show(seen(STAMP + 1))
    if hold:
        time.sleep(0.5)
        assert browser.value(f'{PICTURE}.dataset.stamp') == str(STAMP)
    else:
        browser.wait(f"{PICTURE}.dataset.stamp == '{STAMP + 1}'")
    browser.send_mouse('mouseReleased', browser.place(148, 100))
    stamp, box = asked_box(robot)
    assert stamp == STAMP + (not hold)
    assert tuple(box) == pytest.approx(BOX, abs=1.5)


def test_a_click_and_a_cancelled_drag_send_nothing(
    serve: Any, robot: Any, seen: Any, browser: Any
) -> None:
    server = serve()
    server.feed.show(seen(STAMP))
    browser.open(server.url)
    browser.wait(f'{PICTURE}.dataset.stamp')
    browser.click('picture')
    browser.wait(f"{MESSAGE}.includes('too small')")
    browser.send_mouse('mousePressed', browser.place(100, 60))
    browser.send_mouse('mouseMoved', browser.place(150, 90))
    browser.press('Escape')
    browser.send_mouse('mouseReleased', browser.place(150, 90))
    time.sleep(0.3)
    assert robot.asked == []


def test_target_is_reset_by_mouse_and_keyboard(serve: Any, robot: Any, browser: Any) -> None:
    server = serve()
    browser.open(server.url)
    browser.wait("!document.getElementById('reset').disabled")
    browser.click('reset')
    until(lambda: robot.asked == ['reset'], 'a click')
    browser.press('r')
    until(lambda: robot.asked == ['reset'] * 2, 'the key R')
    browser.value('document.activeElement.blur()')
    for _ in range(4):
        browser.press('Tab')
        if browser.value('document.activeElement.id') == 'reset':
            break
    browser.press('Enter')
    until(lambda: robot.asked == ['reset'] * 3, 'the button by keys')
    robot.answer = ValueError('no tracker: nobody serves /hcat_tracker/reset')
    browser.press('r')
    browser.wait(f"{MESSAGE}.startsWith('no tracker')")


def test_state_and_problem_are_shown(serve: Any, seen: Any, browser: Any) -> None:
    server = serve()
    browser.open(server.url)
    server.feed.tell(Status('lost', 'target lost', 'init box refused: too old'))
    browser.wait("document.getElementById('state').dataset.state == 'lost'")
    assert browser.text('detail') == 'target lost'
    assert browser.text('message') == 'init box refused: too old'
    server.feed.show(seen(STAMP, box=(10, 20, 30, 40)))
    browser.wait(f"{PICTURE}.dataset.track == '[10,20,30,40]'")


def test_a_token_opens_the_page(serve: Any, seen: Any, robot: Any, browser: Any) -> None:
    server = serve(token=TOKEN)
    server.feed.show(seen(STAMP))
    browser.open(server.url)
    browser.wait(f'{PICTURE}.dataset.stamp')

    browser.open(server.url.split('#')[0])
    browser.wait("document.activeElement.id == 'token'")
    assert browser.text('message') == 'This robot asks for a token.'
    browser.call('Input.insertText', text='a wrong token of somebody')
    browser.press('Enter')
    browser.wait(f"{MESSAGE} == 'wrong token' && document.activeElement.id == 'token'")
    browser.value("document.getElementById('token').value = ''")
    browser.call('Input.insertText', text=TOKEN)
    browser.press('Enter')
    browser.wait(f'!{PICTURE}.hidden && {PICTURE}.dataset.stamp')
    assert robot.watched[-1]


def test_page_reconnects_to_a_restarted_server(serve: Any, seen: Any, browser: Any) -> None:
    server = serve()
    browser.open(server.url)
    browser.wait("!document.getElementById('reset').disabled")
    server.close()
    browser.wait("document.getElementById('state').textContent == 'not connected'")
    assert browser.value("document.getElementById('reset').disabled")
    again = serve(port=server.port)
    again.feed.show(seen(STAMP))
    browser.wait(f'{PICTURE}.dataset.stamp')


def press(browser: Any, key: str, shift: bool = False) -> None:
    for kind in ('keyDown', 'keyUp'):
        browser.call('Input.dispatchKeyEvent', type=kind, key=key, modifiers=8 if shift else 0)


def test_a_box_is_made_and_sent_by_keyboard(
    serve: Any, robot: Any, seen: Any, browser: Any
) -> None:
    server = serve()
    server.feed.show(seen(STAMP, 100, 200))
    browser.open(server.url)
    browser.wait(f'{PICTURE}.dataset.stamp')
    browser.value(f'{PICTURE}.focus()')
    # The box begins as the middle fifth, (80, 40, 40, 20); a step is a hundredth of 200 pixels.
    for _ in range(3):
        press(browser, 'ArrowLeft')
    press(browser, 'ArrowDown')
    press(browser, 'ArrowRight', shift=True)  # wider by a step, about the middle
    press(browser, '+')
    browser.wait(f"{MESSAGE}.includes('Enter starts')")
    assert robot.asked == []
    press(browser, 'Enter')
    stamp, box = asked_box(robot)
    assert stamp == STAMP
    width, height = 42 * 1.1, 20 * 1.1
    assert tuple(box) == pytest.approx((73 + 21 - width / 2, 52 - height / 2, width, height))
    press(browser, 'ArrowUp')
    press(browser, 'Escape')
    press(browser, 'Enter')
    browser.wait(f"{MESSAGE} != ''")
    assert len(robot.asked) == 1


def test_page_without_images_says_what_it_waits_for(serve: Any, seen: Any, browser: Any) -> None:
    server = serve()
    server.feed.tell(Status('no image', 'none on /image for 5 s: nobody publishes it'))
    browser.open(server.url)
    waiting = "document.getElementById('waiting')"
    browser.wait(f"{waiting}.textContent.includes('nobody publishes it')")
    assert browser.value(f'[{waiting}.hidden, {PICTURE}.hidden]') == [False, True]
    server.feed.show(seen(STAMP))
    browser.wait(f'{PICTURE}.dataset.stamp')
    assert browser.value(f'[{waiting}.hidden, {PICTURE}.hidden]') == [True, False]


@pytest.mark.parametrize('score', [0.71, 0.73])
def test_new_target_with_a_low_score_shows_a_warning(
    serve: Any, seen: Any, browser: Any, score: float
) -> None:
    server = serve()
    browser.open(server.url)
    view = seen(STAMP, box=BOX)
    server.feed.show(replace(view, track=view.track._replace(score=score)))
    browser.wait(f'{PICTURE}.dataset.track')
    time.sleep(0.2)
    doubted = 'is this the target?' in browser.value(MESSAGE)
    assert doubted is (score < 0.72)


def test_image_fills_the_height_of_a_landscape_phone(serve: Any, seen: Any, browser: Any) -> None:
    server = serve()
    server.feed.show(seen(STAMP, 720, 1280))
    size = {'width': 800, 'height': 360, 'deviceScaleFactor': 1, 'mobile': True}
    browser.call('Emulation.setDeviceMetricsOverride', **size)
    browser.open(server.url)
    browser.wait(f'{PICTURE}.dataset.stamp')
    area = f'{PICTURE}.getBoundingClientRect()'
    assert browser.value(f'{area}.height') > 320
    assert browser.value(f'{area}.bottom') <= 360
    right = browser.value("document.getElementById('reset').getBoundingClientRect().left")
    assert browser.value(f'{area}.right') <= right


LARGE, SMALL, FAR = (20, 40, 120, 120), (60, 60, 30, 30), (220, 120, 60, 60)


def three_targets(seen: Any, primary: int = 0) -> Any:
    tracks = [
        ShownTrack(Box(*box), f'a-{number}', 'car', score)
        for number, (box, score) in enumerate(zip((LARGE, SMALL, FAR), (0.9, 0.8, None)))
    ]
    track = tracks.pop(primary)
    return replace(seen(STAMP + primary), track=track, others=tuple(tracks))


def test_tap_on_a_target_makes_it_the_primary_one(
    serve: Any, robot: Any, seen: Any, browser: Any
) -> None:
    server = serve()
    server.feed.tell(Status('tracking'))
    server.feed.show(three_targets(seen))
    browser.open(server.url)
    browser.wait(f"({PICTURE}.dataset.others || '').includes('a-2')")
    assert browser.value(f'JSON.parse({PICTURE}.dataset.others)') == [
        ['a-1', *SMALL],
        ['a-2', *FAR],
    ]
    if 'HCAT_SCREENSHOTS' in os.environ:
        browser.screenshot(Path(os.environ['HCAT_SCREENSHOTS']) / 'several_targets.png')
    for point, asked in (
        ((250, 150), [('primary', 'a-2')]),
        ((70, 70), [('primary', 'a-2'), ('primary', 'a-1')]),  # the smaller one of two
    ):
        browser.drag((*point, 0, 0), steps=1)
        until(lambda asked=asked: robot.asked == asked, f'{asked}')
    browser.drag((30, 150, 0, 0), steps=1)
    browser.wait(f"{MESSAGE} == 'a-0 is the primary target already'")
    browser.drag((310, 20, 1, 1), steps=1)
    browser.wait(f"{MESSAGE}.startsWith('no target here')")
    assert len(robot.asked) == 2
    # A box can still be drawn, over a target too.
    browser.drag((30, 50, 60, 60))
    until(lambda: len(robot.asked) == 3, 'the box')
    assert tuple(robot.asked[2][1]) == pytest.approx((30, 50, 60, 60), abs=1.5)
    assert browser.log == []


def test_targets_are_selected_and_dropped_by_keys_and_button(
    serve: Any, robot: Any, seen: Any, browser: Any
) -> None:
    server = serve()
    server.feed.show(seen(STAMP, box=BOX))
    browser.open(server.url)
    browser.wait(f'{PICTURE}.dataset.track')
    hidden = "document.getElementById('drop').hidden"
    assert browser.value(hidden), 'one target is dropped by reset'
    for key in 'nd':
        browser.press(key)
    server.feed.show(three_targets(seen, primary=2))
    browser.wait(f'!{hidden}')
    browser.press('n')  # after the last target the first
    browser.press('d')
    browser.click('drop')
    expected = [('primary', 'a-0'), ('drop', 'a-2'), ('drop', 'a-2')]
    until(lambda: robot.asked == expected, 'what was asked')
    assert browser.log == []


def test_a_target_keeps_its_colour(serve: Any, seen: Any, browser: Any) -> None:
    server = serve()
    browser.open(server.url)

    def colours(primary: int) -> dict[str, str]:
        view = three_targets(seen, primary)
        server.feed.show(view)
        browser.wait(f"{PICTURE}.dataset.stamp == '{view.stamp}'")
        return dict(browser.value('[...colours]'))

    first = colours(0)
    assert len(set(first.values())) == 3
    assert colours(2) == colours(1) == first
