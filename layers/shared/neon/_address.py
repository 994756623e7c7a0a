"""The connection string: where it comes from, what it must not say, and where its host is.

Nothing but the string says where and how to connect: libpq would fill its gaps from PG* variables
and from files in the home directory, so every parameter is stated.
"""

import ipaddress
import json
import os
import re
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo

from neon._conninfo import clean_url, direct_url, is_neon, parse_conninfo
from neon._errors import ConfigurationError, UnavailableError
from neon._refusal import ConnectFailedError

_KEYS = ("DATABASE_URL", "database_url", "url")
_SECRET_SECONDS = 5.0
_SHIPPED_ROOTS = str(Path(__file__).with_name("roots.pem"))
# Amazon Linux, Debian, and wherever else OpenSSL was told to look.
_SYSTEM_ROOTS = ("/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt")
# What would send the password somewhere else than the string's host, or read files.
_REFUSED = ("hostaddr", "service", "servicefile", "passfile")
_NO_FILE = "/dev/null/none"  # libpq takes "" for its default, and warns of a file that is none
# Each parameter that libpq would otherwise take from a variable or a file.
_STATED = {
    "hostaddr": "",
    "port": "5432",
    "password": "",
    "passfile": _NO_FILE,
    "connect_timeout": "15",
    "client_encoding": "UTF8",
    "options": "",
    # An unanswered segment ends the connection after this many milliseconds; keepalives alone did
    # not within 25 s, and they stand still while Lambda has the environment frozen.
    "tcp_user_timeout": "3000",
    "channel_binding": "prefer",
    "sslnegotiation": "postgres",
    "sslcompression": "0",
    "sslcert": "",
    "sslkey": "",
    "sslcertmode": "disable",
    "sslrootcert": _NO_FILE,
    "sslcrl": _NO_FILE,
    "sslcrldir": "",
    "sslsni": "1",
    "requirepeer": "",
    "require_auth": "!gss,!sspi",
    "min_protocol_version": "3.0",
    "max_protocol_version": "3.0",
    "ssl_min_protocol_version": "TLSv1.2",
    "ssl_max_protocol_version": "",
    "gssencmode": "disable",  # else libpq may ask a Kerberos library first
    "krbsrvname": "postgres",
    "gsslib": "",
    "gssdelegation": "0",
    "target_session_attrs": "any",
    "load_balance_hosts": "disable",
}
# A server setting among `options`, not the `endpoint=...` that Neon's proxy reads itself.
_OPTION = re.compile(r"(^|\s)-[c-]")


def url_source() -> str | Callable[[float], str]:
    """Return the connection string of `DATABASE_URL`, or a function that fetches the secret.

    `DATABASE_SECRET` names the secret. The function takes the seconds that it may need. Raise
    ConfigurationError if neither variable is set, or the URL is not one.
    """
    url, secret = os.environ.get("DATABASE_URL", ""), os.environ.get("DATABASE_SECRET", "")
    if secret and not url.strip():
        return partial(_secret_url, secret)
    if not (url := clean_url(url)):
        raise ConfigurationError("DATABASE_URL has to be a postgresql:// connection string")
    return url


def url_from_environment() -> str:
    """Return the connection string, fetched within five seconds if it is in a secret.

    Raise ConfigurationError and UnavailableError.
    """
    source = url_source()
    return source if isinstance(source, str) else source(_SECRET_SECONDS)


def _secret_url(name: str, seconds: float) -> str:
    """Return the connection string that a secret holds, as text or as a JSON object's member.

    The member is `DATABASE_URL`, `database_url` or `url`. Raise ConfigurationError if the secret
    does not exist, is not allowed or holds none; UnavailableError if asking again may help.
    """
    # Imported only where it is used.
    from secrets_manager import SecretRefusedError, SecretUnavailableError, get_secret

    try:
        text = get_secret(name, timeout=seconds)
    except SecretRefusedError as error:
        raise ConfigurationError(str(error)) from error
    except SecretUnavailableError as error:
        raise UnavailableError(str(error)) from error
    if url := _url_in(text):
        return url
    # Outside of any `except`: what could not be read is the secret.
    raise ConfigurationError(f"the secret {name} holds no postgresql:// connection string")


def _url_in(text: str) -> str:
    if url := clean_url(text):
        return url
    try:
        members = json.loads(text)
    except ValueError:
        return ""
    found = [members.get(key) for key in _KEYS] if isinstance(members, dict) else []
    return next((clean_url(each) for each in found if isinstance(each, str)), "")


class Transport(NamedTuple):
    """How TLS is begun and which roots are trusted; None leaves libpq's default."""

    negotiation: str | None = None
    roots: str | None = None


class Target:
    """One server to connect to. Its text never shows the password.

    Raise ConfigurationError with a sentence for a connection string that is not suitable.
    """

    def __init__(self, url: str) -> None:
        given = parse_conninfo(url)
        _refuse_unsuitable(given)
        self.host = given.get("host", "")
        self.port = int(given.get("port") or 5432)
        is_local = _is_local(self.host)
        self.transports = (Transport(),) if is_local else _transports(given)
        own = _plain(given) if is_local else _verified(given)
        self.parameters = _known(_base(given) | own)

    @property
    def is_socket(self) -> bool:
        """Return whether the server is reached through a Unix socket, which has no address."""
        return not self.host or self.host.startswith(("/", "@"))

    def conninfo(self, address: str, transport: Transport) -> bytes:
        """Return libpq's parameters; `host` stays the name that the certificate has to match."""
        extra = {"hostaddr": address} if address else {}
        if transport.negotiation:
            extra["sslnegotiation"] = transport.negotiation
        if transport.roots:
            extra["sslrootcert"] = transport.roots
        return make_conninfo(**{**self.parameters, **extra}).encode()


def direct_conninfo(url: str) -> str:
    """Return libpq's parameters for the direct host, verified as everywhere.

    Migrations need it: session state (SET, advisory locks, LISTEN) does not survive the pooler.
    https://neon.com/docs/connect/connection-pooling. Raise ConfigurationError for what is no URL.
    """
    target = Target(direct_url(url))
    # The way into TLS that every server understands, with the first roots to trust.
    transport = next(each for each in target.transports if each.negotiation != "direct")
    return target.conninfo("", transport).decode()


def resolved(target: Target) -> list[str]:
    """Return the target's addresses, IPv4 first (Lambda has IPv6 only where a VPC was given it)."""
    if target.is_socket:
        return [""]
    try:
        # As bytes: for a text Python imports and applies IDNA, which libpq does not either.
        host = target.host.encode()
        found = socket.getaddrinfo(host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectFailedError(f"the host name cannot be resolved ({error.strerror})") from error
    ordered = sorted(found, key=lambda entry: entry[0] != socket.AF_INET)
    return list(dict.fromkeys(str(entry[4][0]) for entry in ordered))


def _refuse_unsuitable(given: Mapping[str, str]) -> None:
    host = given.get("host", "")
    if "," in host:
        raise ConfigurationError("the connection string has to name one host")
    for name in _REFUSED:
        if name in given:
            raise ConfigurationError(f"the connection string cannot hold {name}: remove it")
    if "PGSERVICE" in os.environ:
        raise ConfigurationError("unset PGSERVICE: only the connection string counts")
    if not given.get("user"):
        raise ConfigurationError("the connection string has to name a user")
    if given.get("port") and not given["port"].isdigit():
        raise ConfigurationError("the connection string's port is no number")
    if not _is_local(host) and given.get("sslmode") == "disable":
        raise ConfigurationError("sslmode=disable is for loopback and Unix sockets; remove it")
    if is_neon(host) and "-pooler." in host and _OPTION.search(given.get("options", "")):
        raise ConfigurationError(
            "Neon's pooled host refuses options=-c...; use ALTER ROLE ... SET or settings"
        )


def _base(given: Mapping[str, str]) -> dict[str, str]:
    name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "python")
    own = {"host": "", "dbname": given["user"], "application_name": name}
    certificate = {"sslcertmode": "allow"} if "sslcert" in given else {}
    # Whatever the database is encoded in: the API's texts are Unicode.
    return _STATED | own | certificate | dict(given) | {"client_encoding": "UTF8"}


def _known(parameters: Mapping[str, str]) -> dict[str, str]:
    """Leave out what an older libpq does not know: it takes that from nowhere either."""
    known = {option.keyword.decode() for option in Conninfo.parse(b"")}
    return {name: value for name, value in parameters.items() if name in known}


def _plain(given: Mapping[str, str]) -> dict[str, str]:
    return {"sslmode": given.get("sslmode", "disable")}


def _verified(given: Mapping[str, str]) -> dict[str, str]:
    """Return `verify-full` in any case: Neon's own strings say `require`, which trusts anybody."""
    binding = "require" if is_neon(given["host"]) else "prefer"
    return {"sslmode": "verify-full", "channel_binding": given.get("channel_binding", binding)}


def _transports(given: Mapping[str, str]) -> tuple[Transport, ...]:
    """Return ways to begin TLS, in the order to try them; what the string names is kept."""
    ways = ["direct", "postgres"] if is_neon(given["host"]) else ["postgres"]
    ways = [given["sslnegotiation"]] if "sslnegotiation" in given else ways
    roots = [given["sslrootcert"]] if "sslrootcert" in given else _roots()
    return tuple(Transport(way, root) for root in roots for way in ways)


def _roots() -> list[str]:
    system = (os.environ.get("SSL_CERT_FILE", ""), *_SYSTEM_ROOTS)
    return [_SHIPPED_ROOTS, *[path for path in system if os.path.isfile(path)][:1]]


def _is_local(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
