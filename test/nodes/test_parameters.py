# SPDX-License-Identifier: Apache-2.0
import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip('rclpy', reason='needs ROS 2')

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter

from hcat_ros.nodes.parameters import Setting, Settings
from hcat_ros.nodes.tracker.settings import FROM_CARD, SETTINGS

PENALTY = Setting('penalty', float, 0.5, 'A share.', 0, 1)
MODE = Setting('mode', str, 'a', 'A choice.', choices=('a', 'b'))
COUNT = Setting('count', int, 3, 'A count.', 1, 9)
FLAG = Setting('flag', bool, False, 'A switch.')
ANGLE = Setting('angle', float, 0.0, 'An angle; 0: none.', 0, 3, least=0.01)
NAME = Setting('name', str, '', 'A name.', longest=256)
BOX = Setting('box', list, None, 'Numbers.')
SOURCE = Setting('source', str, '', 'A camera.')


@pytest.mark.parametrize(
    ('setting', 'value', 'result'),
    [
        (PENALTY, 0.25, 0.25),
        (PENALTY, 1, 1.0),
        (MODE, 'b', 'b'),
        (SOURCE, 0, '0'),
        (COUNT, 9, 9),
        (FLAG, True, True),
        (BOX, [1, 2.5], [1.0, 2.5]),
        (ANGLE, 0, 0.0),
        (ANGLE, 0.01, 0.01),
        (BOX, None, None),
    ],
)
def test_valid_values_are_converted_to_the_parameter_type(
    setting: Setting, value: Any, result: Any
) -> None:
    checked = setting.checked(value)
    assert checked == result
    assert type(checked) is type(result)


@pytest.mark.parametrize(
    ('setting', 'value', 'message'),
    [
        (PENALTY, 1.5, 'penalty 1.5: expected a number from 0 to 1'),
        (PENALTY, math.nan, 'penalty nan: expected a number from 0 to 1'),
        (PENALTY, 'x', "penalty 'x': expected a number"),
        (PENALTY, True, 'penalty True: expected a number'),
        (PENALTY, None, 'penalty is not set'),
        (MODE, 'c', "mode 'c': expected a or b"),
        (MODE, 1, "mode '1': expected a or b"),
        (SOURCE, True, 'source True: expected a text'),
        (SOURCE, 0.5, r'source 0\.5: expected a text'),
        (COUNT, 2.0, 'count 2.0: expected a whole number from 1 to 9'),
        (COUNT, 0, 'count 0: expected a whole number'),
        (FLAG, 1, 'flag 1: expected true or false'),
        (ANGLE, 0.009, r'angle 0\.009: expected 0 or a number from 0\.01 to 3$'),
        (ANGLE, -0.5, r'angle -0\.5: expected 0 or a number from 0\.01 to 3$'),
        (BOX, 'abc', "box 'abc': expected an array of numbers"),
        (BOX, [1, 'a'], 'box .1, .a..: expected an array of numbers'),
        (BOX, 3.0, 'box 3.0: expected an array of numbers'),
    ],
)
def test_invalid_values_are_refused_with_the_expected_range(
    setting: Setting, value: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        setting.checked(value)


@pytest.mark.parametrize(
    ('setting', 'value'),
    [
        (NAME, 'x' * 257),
        (MODE, 'x' * 10**6),
        (PENALTY, 'x' * 10**6),
        (BOX, ['x' * 10**6]),
        (BOX, 'x' * 10**6),
        (BOX, [True] * 10**6),
    ],
)
def test_error_messages_shorten_long_values(setting: Setting, value: Any) -> None:
    with pytest.raises(ValueError, match='expected') as error:
        setting.checked(value)
    assert len(str(error.value)) < 300
    assert NAME.checked('x' * 256)


def test_invalid_overrides_are_reported_and_do_not_prevent_startup(ros: None) -> None:
    overrides = [Parameter('penalty', value=7.0), Parameter('mode', value='z')]
    node = rclpy.create_node('n', parameter_overrides=overrides)
    settings = Settings(node, (PENALTY, MODE, COUNT))
    with pytest.raises(ValueError, match=r"penalty.*7.*mode 'z': expected a or b"):
        settings.values()
    node.set_parameters([Parameter('penalty', value=0.1), Parameter('mode', value='b')])
    assert settings.values() == {'penalty': 0.1, 'mode': 'b', 'count': 3}
    node.destroy_node()


def test_changes_are_validated_converted_and_passed_to_the_callback(ros: None) -> None:
    node = rclpy.create_node('n')
    told: list[Any] = []
    settings = Settings(node, (PENALTY, BOX), told.append)
    assert node.set_parameters([Parameter('penalty', value=1)])[0].successful
    assert told == [{'penalty': 1.0}]
    assert settings['penalty'] == 1.0
    assert type(node.get_parameter('penalty').value) is float
    result = node.set_parameters([Parameter('penalty', value='much')])[0]
    assert not result.successful
    assert 'expected a number from 0 to 1' in result.reason
    assert not node.set_parameters([Parameter('penalty')])[0].successful, 'cannot be removed'
    assert settings['penalty'] == 1.0
    assert told == [{'penalty': 1.0}]
    node.destroy_node()


def test_change_refused_by_another_callback_is_not_reported(ros: None) -> None:
    node = rclpy.create_node('n')
    if not hasattr(node, 'add_post_set_parameters_callback'):
        node.destroy_node()
        pytest.skip('rclpy of Humble tells nothing of what has been set')
    refuse = [False]
    told: list[Any] = []
    # rclpy calls the callback that was added first last.
    node.add_on_set_parameters_callback(
        lambda parameters: SetParametersResult(successful=not refuse[0], reason='not now')
    )
    settings = Settings(
        node, (PENALTY,), lambda changes: told.append((changes, settings['penalty']))
    )
    assert told == []
    refuse[0] = True
    assert node.set_parameters([Parameter('penalty', value=0.1)])[0].reason == 'not now'
    assert told == []
    refuse[0] = False
    assert node.set_parameters([Parameter('penalty', value=0.2)])[0].successful
    assert told == [({'penalty': 0.2}, 0.2)], 'once it is set'
    node.destroy_node()


def test_settings_declared_later_are_converted_once_and_reported(ros: None) -> None:
    """If two objects converted the values, rclpy would set each of them twice."""
    overrides = [Parameter('angle', value=1), Parameter('count', value=0)]
    node = rclpy.create_node('n', parameter_overrides=overrides)
    told: list[Any] = []
    settings = Settings(node, (MODE,), told.append)
    settings.declare((PENALTY, ANGLE, COUNT))
    assert told == [], 'what is given at the start is no change'
    assert type(node.get_parameter('angle').value) is float
    with pytest.raises(ValueError, match='count'):
        settings.values()
    asked: list[Any] = []

    def note(parameters: list[Parameter]) -> SetParametersResult:
        asked.append([(each.name, each.value) for each in parameters])
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(note)
    both = [Parameter('penalty', value=1), Parameter('count', value=2)]
    assert node.set_parameters_atomically(both).successful
    assert type(node.get_parameter('penalty').value) is float
    assert told == [{'penalty': 1.0, 'count': 2}]
    assert asked == [[('penalty', 1.0), ('count', 2)]]
    assert settings.values() == {'mode': 'a', 'penalty': 1.0, 'angle': 1.0, 'count': 2}
    node.destroy_node()


def test_integer_override_of_a_float_parameter_becomes_a_float(ros: None) -> None:
    node = rclpy.create_node('n', parameter_overrides=[Parameter('penalty', value=1)])
    Settings(node, (PENALTY,))
    assert type(node.get_parameter('penalty').value) is float
    node.destroy_node()


def test_camera_number_becomes_a_string(ros: None) -> None:
    node = rclpy.create_node('n', parameter_overrides=[Parameter('source', value=0)])
    settings = Settings(node, (SOURCE,))
    assert node.get_parameter('source').value == settings.values()['source'] == '0'
    node.destroy_node()


def test_null_from_a_parameter_dump_means_unset(ros: None) -> None:
    overrides = [Parameter('box', value='null'), Parameter('penalty', value='null')]
    node = rclpy.create_node('n', parameter_overrides=overrides)
    settings = Settings(node, (PENALTY, BOX))
    assert settings['box'] is None
    with pytest.raises(ValueError, match="penalty 'null': expected a number"):
        settings.values()
    assert node.set_parameters([Parameter('box', value='null')])[0].successful
    assert node.set_parameters([Parameter('box', value=[1.0])])[0].successful
    assert not node.set_parameters([Parameter('box', value='null')])[0].successful
    assert settings['box'] == [1.0]
    node.destroy_node()


def test_descriptors_show_range_and_description(ros: None) -> None:
    node = rclpy.create_node('n')
    Settings(node, (PENALTY, COUNT, MODE))
    penalty = node.describe_parameter('penalty')
    assert penalty.description == 'A share.'
    assert penalty.floating_point_range[0].to_value == 1.0
    assert node.describe_parameter('count').integer_range[0].from_value == 1
    assert 'a or b' in node.describe_parameter('mode').additional_constraints
    node.destroy_node()


def test_the_config_file_names_every_parameter_with_its_default(checkout: Path) -> None:
    text = (checkout / 'config' / 'tracker.yaml').read_text()
    given = yaml.safe_load(text)['/**']['ros__parameters']
    optional = {s.name for s in SETTINGS if s.default is None}
    assert optional == {*FROM_CARD, 'init_box'}
    for setting in SETTINGS:
        if setting.default is not None:
            assert given.pop(setting.name) == setting.default
        # Each parameter stands under the comment that describes it.
        found = re.search(rf'((?:    # .*\n)+)    (?:# )?{setting.name}: ', text)
        assert found, setting.name
        sentences = re.split(r'# \w+: .*\n', found[1])
        assert ('(live)' in sentences[-1]) == setting.live, setting.name
    assert given == {}
