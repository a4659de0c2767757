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
def test_serving_on_all_interfaces_generates_a_token(host: str) -> None:
    first, second = Access(host), Access(host)
    assert not first.loopback
    assert len(first.token) >= 32
    assert first.token != second.token
    for wrong in (None, '', 'x', first.token[:-1], second.token, 5, [], '\ud800'):
        assert not first.token_fits(wrong)
    assert first.token_fits(first.token)


def test_configured_token_is_required_on_loopback_too() -> None:
    access = Access('127.0.0.1', TOKEN)
    assert not access.token_fits('')
    assert access.token_fits(TOKEN)


@pytest.mark.parametrize('token', ['short', 'with a line\nbreak in it', 'not all of it is ascii é'])
def test_invalid_token_is_refused(token: str) -> None:
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
def test_requests_from_the_page_itself_are_accepted(host: str, origin: str | None) -> None:
    assert Access('127.0.0.1').refusal(host, origin) == ''


@pytest.mark.parametrize(
    ('host', 'origin', 'reason'),
    [
        ('evil.example:8321', None, 'only served to this machine'),  # resolves to 127.0.0.1
        ('evil.example:8321', 'http://evil.example:8321', 'only served to this machine'),
        ('127.0.0.1.evil.example', None, 'only served to this machine'),
        ('', None, 'only served to this machine'),
        ('127.0.0.1:8321', 'http://evil.example', 'are refused'),
        ('127.0.0.1:8321', 'http://127.0.0.1:3000', 'are refused'),  # another local service
        ('127.0.0.1:8321', 'null', 'are refused'),
        ('127.0.0.1:8321', 'http://[broken', 'are refused'),
    ],
)
def test_requests_from_other_sites_are_refused(host: str, origin: str | None, reason: str) -> None:
    assert reason in Access('127.0.0.1').refusal(host, origin)


def test_token_allows_any_host_name_but_no_other_origin() -> None:
    access = Access('0.0.0.0')
    assert access.refusal('robot.local:8321', 'http://robot.local:8321') == ''
    assert access.refusal('robot.local:8321', 'http://evil.example') != ''


def test_localhost_names_are_recognised_without_a_name_server() -> None:
    assert is_loopback_name('page.localhost')
    assert not is_loopback_name('localhost.evil.example')
