# SPDX-License-Identifier: Apache-2.0
"""Who may see the page's picture and steer the tracker."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from urllib.parse import urlsplit

from hcat_ros.files import shown

MIN_TOKEN = 16
"""Characters: a shorter one could be found by trying."""


class Access:
    """The rules of one server.

    On the loopback interface whoever is logged in on the robot may, without a token. Pages of
    other sites in the operator's browser may not: a browser tells the site in Origin, and a name
    that some site has pointed at 127.0.0.1 in Host. On any other interface a token is needed.
    """

    def __init__(self, host: str, token: str = '') -> None:
        """Take the address that the server listens on and the token, '' for none given.

        Where one is needed and none is given, one is made. Raises ValueError for a token that is
        too short and an address that cannot be resolved.
        """
        if token and (len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable()):
            raise ValueError(
                f'the token has {len(token)} characters: expected at least {MIN_TOKEN}, all '
                'printable ASCII, or none at all to have one made'
            )
        self.loopback = is_loopback(host)
        self.token = token or ('' if self.loopback else secrets.token_urlsafe(24))

    def refusal(self, host: str, origin: str | None) -> str:
        """Return why a request is refused by its Host and Origin headers, '' if it is not."""
        if self.loopback and not is_loopback_name(_hostname(host)):
            return f'this page is served to this machine alone, not as {shown(host)}'
        if origin is not None and _site(origin) != host.lower():
            return f'requests from the site {shown(origin)} are refused'
        return ''

    def token_fits(self, token: object) -> bool:
        """Whether the token is the right one, in the same time wherever it differs."""
        if not self.token:
            return True
        return isinstance(token, str) and hmac.compare_digest(
            token.encode('utf-8', 'replace'), self.token.encode()
        )


def is_loopback(host: str) -> bool:
    """Whether all addresses of a host are loopback ones. Raises ValueError if it has none."""
    if not host:
        return False  # every interface, for a server
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"host '{host}' is no address of this machine: {error}") from None
    return all(ipaddress.ip_address(str(info[4][0]).split('%')[0]).is_loopback for info in found)


def is_loopback_name(name: str) -> bool:
    """Whether a name, without asking anybody, is this machine's."""
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
    """Return host and port of an Origin header; '' for 'null' and what is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ''
