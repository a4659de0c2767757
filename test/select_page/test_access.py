# SPDX-License-Identifier: Apache-2.0
import pytest

from hcat_ros.select_page.access import Access, is_loopback, is_loopback_name

TOKEN = 'a token of the operator'


@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost', '::1', '127.0.0.9'])
def test_loopback_needs_no_token(host: str) -> None:
    access = Access(host)
    assert access.loopback
    assert access.token == ''
    assert access.token_fits(None)


@pytest.mark.parametrize('host', ['0.0.0.0', '', '::'])
def test_every_interface_needs_a_token_and_gets_one(host: str) -> None:
    first, second = Access(host), Access(host)
    assert not first.loopback
    assert len(first.token) >= 32
    assert first.token != second.token
    for wrong in (None, '', 'x', first.token[:-1], second.token, 5, [], '\ud800'):
        assert not first.token_fits(wrong)
    assert first.token_fits(first.token)


def test_a_given_token_counts_on_loopback_too() -> None:
    access = Access('127.0.0.1', TOKEN)
    assert not access.token_fits('')
    assert access.token_fits(TOKEN)


@pytest.mark.parametrize('token', ['short', 'with a line\nbreak in it', 'not all of it is ascii é'])
def test_a_token_that_cannot_be_used_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match=f'the token has {len(token)} characters: expected'):
        Access('127.0.0.1', token)


def test_a_host_without_an_address_is_refused() -> None:
    with pytest.raises(ValueError, match=r"host 'no\.such\.invalid' is not an address"):
        is_loopback('no.such.invalid')


@pytest.mark.parametrize(
    ('host', 'origin'),
    [
        ('127.0.0.1:8321', None),
        ('127.0.0.1:8321', 'http://127.0.0.1:8321'),
        ('localhost:9000', 'http://localhost:9000'),  # through ssh -L 9000:localhost:8321
        ('[::1]:8321', 'http://[::1]:8321'),
        ('localhost', None),
    ],
)
def test_own_requests_are_taken(host: str, origin: str | None) -> None:
    assert Access('127.0.0.1').refusal(host, origin) == ''


@pytest.mark.parametrize(
    ('host', 'origin', 'reason'),
    [
        ('evil.example:8321', None, 'only served to this machine'),  # points at 127.0.0.1
        ('evil.example:8321', 'http://evil.example:8321', 'only served to this machine'),
        ('127.0.0.1.evil.example', None, 'only served to this machine'),
        ('', None, 'only served to this machine'),
        ('127.0.0.1:8321', 'http://evil.example', 'are refused'),
        ('127.0.0.1:8321', 'http://127.0.0.1:3000', 'are refused'),  # another local service
        ('127.0.0.1:8321', 'null', 'are refused'),
        ('127.0.0.1:8321', 'http://[broken', 'are refused'),
    ],
)
def test_requests_of_others_are_refused(host: str, origin: str | None, reason: str) -> None:
    assert reason in Access('127.0.0.1').refusal(host, origin)


def test_with_a_token_any_name_of_the_robot_is_taken_but_no_other_site() -> None:
    access = Access('0.0.0.0')
    assert access.refusal('robot.local:8321', 'http://robot.local:8321') == ''
    assert access.refusal('robot.local:8321', 'http://evil.example') != ''


def test_names_of_this_machine_are_known_without_asking() -> None:
    assert is_loopback_name('page.localhost')
    assert not is_loopback_name('localhost.evil.example')
