"""Whether a connection string can be used, and reached, from AWS."""

from __future__ import annotations

import ipaddress
import socket

from psycopg.conninfo import conninfo_to_dict

from deploy.environments import DeployError
from neon import ConfigurationError, direct_conninfo

_PRIVATE_NAMES = ("localhost", ".localhost", ".local", ".internal", ".lan")


def check_connection_string(url: str) -> None:
    """Raise DeployError when the functions could not connect with this string.

    No message repeats any part of the string but its host.
    """
    try:
        direct_conninfo(url)
    except ConfigurationError as error:
        raise DeployError(f"The connection string cannot be used: {error}.") from None
    host = str(conninfo_to_dict(url).get("host", ""))
    if reason := _unreachable(host):
        raise DeployError(f"AWS cannot reach the database: {reason}.")


def _unreachable(host: str) -> str:
    """Return why AWS cannot reach this host; empty when nothing speaks against it."""
    if not host or host.startswith(("/", "@")):
        return "the connection string names a Unix socket"
    if host.endswith(_PRIVATE_NAMES):
        return f"{host} is a name of this machine or of a private network"
    addresses = _addresses(host)
    if addresses and not any(each.is_global for each in addresses):
        return f"{host} is {addresses[0]}, which is no public address"
    return ""


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return the host's addresses; none when this machine cannot resolve its name."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
