# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2 (tools/ros_from_pip, or source your ROS)')

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from talker import TARGET, Talker

from hcat_ros.models import load_model


def change(talker: Talker, transition: int = 0, label: str = '') -> bool:
    """Request a transition over the real service; return whether it succeeded."""
    request = ChangeState.Request()
    request.transition.id, request.transition.label = transition, label
    return talker.call(talker.state_client, request).success


def test_all_lifecycle_transitions_over_the_service(talk: Callable[..., Talker]) -> None:
    talker = talk()
    for transition, state in (
        (Transition.TRANSITION_CONFIGURE, 'inactive'),
        (Transition.TRANSITION_ACTIVATE, 'active'),
        (Transition.TRANSITION_DEACTIVATE, 'inactive'),
        (Transition.TRANSITION_CLEANUP, 'unconfigured'),
        (Transition.TRANSITION_CONFIGURE, 'inactive'),
        (Transition.TRANSITION_ACTIVATE, 'active'),
    ):
        assert change(talker, transition)
        assert talker.tracker.state_label == state
    talker.spin(talker.connected, 'connections')
    talker.send(0)
    talker.name_target(TARGET)
    talker.send(1)
    talker.spin(lambda: len(talker.tracks) == 1, 'a track after the second activation')
    assert change(talker, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert talker.tracker.state_label == 'finalized'


@pytest.mark.parametrize(
    ('transition', 'label', 'asked'),
    [
        (Transition.TRANSITION_ACTIVATE, '', 'activate'),
        (99, '', 'number 99'),
        (0, 'fly', 'fly'),
        (0, 'deactivate', 'deactivate'),
    ],
)
def test_impossible_transition_is_refused_with_the_possible_ones(
    talk: Callable[..., Talker],
    capfd: pytest.CaptureFixture[str],
    transition: int,
    label: str,
    asked: str,
) -> None:
    talker = talk()
    assert not change(talker, transition, label)
    refusal = f"transition '{asked}' is not possible in state 'unconfigured': "
    (line,) = [line for line in capfd.readouterr().err.splitlines() if refusal in line]
    assert 'expected configure, shutdown' in line
    assert '.c:' not in line, 'no path of rcl'
    assert talker.tracker.state_label == 'unconfigured'
    assert change(talker, Transition.TRANSITION_CONFIGURE)


def test_a_long_transition_name_is_shortened_in_the_log(
    talk: Callable[..., Talker], capfd: pytest.CaptureFixture[str]
) -> None:
    talker = talk()
    assert not change(talker, 0, 'fly' * 10**5)
    assert len(capfd.readouterr().err) < 1000


def test_missing_model_fails_configure_and_a_second_attempt_works(
    talk: Callable[..., Talker],
) -> None:
    talker = talk(model='no_such_model')
    assert not change(talker, Transition.TRANSITION_CONFIGURE)
    assert talker.tracker.state_label == 'unconfigured'
    assert talker.set('model', 'hcat_base').successful
    assert change(talker, Transition.TRANSITION_CONFIGURE)


def test_a_damaged_model_is_refused(talk: Callable[..., Talker], tmp_path: Path) -> None:
    for path in load_model('hcat_base').folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    search = tmp_path / 'search.onnx'
    search.write_bytes(search.read_bytes()[:-100])
    talker = talk(model=str(tmp_path))
    assert not change(talker, Transition.TRANSITION_CONFIGURE)
    assert talker.tracker.state_label == 'unconfigured'


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('window_penalty', 7.0),
        ('engine', 'abacus'),
        ('threads', 'two'),
        ('init_box', ['a']),
        ('autostart', 'yes'),
    ],
)
def test_invalid_initial_parameter_fails_configure_and_can_be_corrected(
    talk: Callable[..., Talker], name: str, value: Any
) -> None:
    talker = talk(**{name: value})
    assert not change(talker, Transition.TRANSITION_CONFIGURE)
    good = {
        'window_penalty': 0.5,
        'engine': 'auto',
        'threads': 1,
        'init_box': [1.0, 2.0, 30.0, 40.0],
        'autostart': False,
    }
    assert talker.set(name, good[name]).successful
    assert change(talker, Transition.TRANSITION_CONFIGURE)


def test_integer_is_accepted_for_a_float_parameter(talk: Callable[..., Talker]) -> None:
    talker = talk(window_penalty=1)
    talker.start()
    assert talker.tracker.session.tracker.config.window_penalty == 1.0


def test_autostart_activates_the_node(talk: Callable[..., Talker]) -> None:
    talker = talk(autostart=True)
    talker.spin(lambda: talker.tracker.state_label == 'active', 'active by itself')


def test_bad_value_of_autostart_is_reported_although_nothing_starts(
    talk: Callable[..., Talker], capfd: pytest.CaptureFixture[str]
) -> None:
    """A quoted "true" in a parameter file used to leave the node unconfigured without a reason."""
    talker = talk(autostart='true')
    seen = ''

    def is_logged() -> bool:
        nonlocal seen
        seen += capfd.readouterr().err
        return "not started: autostart 'true': expected true or false" in seen

    talker.spin(is_logged, 'the reason in the log')
    assert talker.tracker.state_label == 'unconfigured'


def test_model_card_values_change_with_the_model(
    talk: Callable[..., Talker], tmp_path: Path
) -> None:
    card = load_model('hcat_base').card
    for path in load_model('hcat_base').folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    other = tmp_path / 'model.yaml'
    text = other.read_text().replace(
        f'window_penalty: {card.window_penalty}', 'window_penalty: 0.123'
    )
    other.write_text(text)
    talker = talk()
    assert change(talker, Transition.TRANSITION_CONFIGURE)
    assert talker.tracker.get_parameter('window_penalty').value == card.window_penalty
    assert change(talker, Transition.TRANSITION_CLEANUP)
    assert talker.set('model', str(tmp_path)).successful
    assert change(talker, Transition.TRANSITION_CONFIGURE)
    assert talker.tracker.get_parameter('window_penalty').value == 0.123
