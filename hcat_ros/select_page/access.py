# SPDX-License-Identifier: Apache-2.0
"""Decides who may see the page and send requests to the tracker."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from urllib.parse import urlsplit

from hcat_ros.files import shown

MIN_TOKEN = 16
"""Least characters of a token; a shorter one could be found by trying."""


class Access:
    """The access rules of one server.

    On the loopback interface everybody who is logged in on the robot has access without a token.
    Other sites in the operator's browser do not: the browser sends their address in Origin, and a
    name that a site has pointed at 127.0.0.1 in Host. Any other interface requires a token.
    """

    def __init__(self, host: str, token: str = '') -> None:
        """Take the address that the server listens on, and the token ('' for none).

        If a token is required and none is given, a random one is made. Raises ValueError for a
        token that is too short, or an address that cannot be resolved.
        """
        if token and (len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable()):
            raise ValueError(
                f'the token has {len(token)} characters: expected at least {MIN_TOKEN}, all '
                'printable ASCII; an empty token has one made if it is required'
            )
        self.loopback = is_loopback(host)
        self.token = token or ('' if self.loopback else secrets.token_urlsafe(24))

    def refusal(self, host: str, origin: str | None) -> str:
        """Return why a request is refused by its Host and Origin headers, '' if it is not."""
        if self.loopback and not is_loopback_name(_hostname(host)):
            return f'this page is only served to this machine, not as {shown(host)}'
        if origin is not None and _site(origin) != host.lower():
            return f'requests from the site {shown(origin)} are refused'
        return ''

    def token_fits(self, token: object) -> bool:
        """Whether the token is right; the comparison takes the same time wherever it differs."""
        if not self.token:
            return True
        return isinstance(token, str) and hmac.compare_digest(
            token.encode('utf-8', 'replace'), self.token.encode()
        )


def is_loopback(host: str) -> bool:
    """Whether all addresses of a host are loopback ones. Raises ValueError if there are none."""
    if not host:
        return False  # every interface, for a server
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"host '{host}' is not an address of this machine: {error}") from None
    return all(ipaddress.ip_address(str(info[4][0]).split('%')[0]).is_loopback for info in found)


def is_loopback_name(name: str) -> bool:
    """Whether a name is this machine's, without asking a name server."""
    if name == 'localhost' or name.endswith('.localhost'):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _hostname(host: str) -> str:
    try:
        return (urlsplit(f'//{host}').hostname or '').rstrip('.')
    except ValueError:
        return ''


def _site(origin: str) -> str:
    """Return host and port of an Origin header; '' for 'null' and invalid headers."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ''
