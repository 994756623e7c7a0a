"""Why a connect failed, by the text of its error: psycopg has no SQLSTATE for it.

Sources: Neon's proxy (`proxy/src/control_plane/errors.rs`, `messages.rs`, `auth/mod.rs`), which
gives every error of its own the SQLSTATE XX000; Postgres; PgBouncer; libpq. Of these only Postgres
translates its messages (`lc_messages`); one in another language is UNKNOWN.
"""

from __future__ import annotations

import re
from enum import Enum


class Refusal(Enum):
    """What a failed connect means for the next one."""

    PERMANENT = "permanent"  # a person has to act
    CERTIFICATE = "certificate"  # permanent, unless the address was old
    PASSWORD = "password"  # noqa: S105  permanent, unless the secret has been changed
    TRANSIENT = "transient"
    BUSY = "busy"  # transient, and trying again soon makes it worse
    CONTROL_PLANE = "control_plane"  # may be either: two tries
    UNKNOWN = "unknown"  # a text that is not in the list below: two tries
    NETWORK = "network"  # nobody answered: the next address may


class ConnectFailedError(Exception):
    """One attempt to connect failed; never leaves this package."""

    def __init__(self, text: str) -> None:
        super().__init__(without_quoted(text))
        self.refusal = classify(text)


# What libpq itself finds wrong with the server's certificate.
_CERTIFICATE = ("certificate verify failed", "server certificate for")
# What libpq itself finds wrong with the server's TLS or with our settings.
_PERMANENT_HERE = (
    "root certificate file",
    "does not support ssl",
    "channel binding",
    "invalid ",
    "weak sslmode",
    "authentication method requirement",
)

# What servers say, as regular expressions. The first match wins, so a specific text stands above a
# general one.
_TEXTS = (
    (Refusal.PASSWORD, "(password|sasl) authentication failed"),
    (Refusal.CONTROL_PLANE, "temporarily unavailable"),
    (
        Refusal.TRANSIENT,
        (
            "running operations|concurrency limit|lock (already )?taken|endpoint is idle"
            "|maintenance|couldn't connect to compute node|early eof|the database system is"
            "|server_login_retry|cannot connect to server|server conn crashed|shut(ting)? down"
            "|terminating connection|client_login_timeout|query_wait_timeout"
        ),
    ),
    (
        Refusal.BUSY,
        (
            "failed to acquire permit|too many (connection|clients)|remaining connection slots"
            "|no more connections allowed|rate limit"
            # Supavisor and RDS Proxy
            "|max client connections reached|max ?clients ?(reached|in)"
            "|timed-out waiting to acquire"
        ),
    ),
    (
        Refusal.PERMANENT,
        (
            "disabled|not found|(cannot|could not) be found|quota|exceeded|protected|not allowed"
            "|blocked network|unsupported startup parameter|unrecognized configuration parameter"
            "|endpoint id is not specified|does not exist|not permitted to log in"
            "|no pg_hba.conf entry|no such (database|user)|unsupported authentication method"
            "|permission denied for database"
        ),
    ),
    (Refusal.CONTROL_PLANE, "control plane request failed"),
)


# What libpq and the server quote: hosts, users, databases and parameters' values. A quotation mark
# within a word is an apostrophe.
_QUOTED = re.compile(r"""\s*("[^"]*"|(?<!\w)'[^']*')(\s*\([^)]*\))?""")
# libpq writes the severity of a server's message so, in the server's language.
_BY_SERVER = re.compile(r"\w+:\s\s|(fatal|error):")


def said(text: str) -> str:
    """Return libpq's text without its prefix: that names the host, which is no evidence."""
    before, _, after = text.partition(" failed: ")
    return after if before.startswith("connection to server") else text


def without_quoted(text: str) -> str:
    """Return a message without what it quotes, which may be a part of the connection string."""
    return _QUOTED.sub("", text)


def classify(text: str) -> Refusal:
    """Return the meaning of libpq's error text for a failed connect."""
    message = said(text).lower()
    if not _BY_SERVER.match(message):
        return _by_libpq(message)
    matches = (refusal for refusal, pattern in _TEXTS if re.search(pattern, message))
    return next(matches, Refusal.UNKNOWN)


def _by_libpq(message: str) -> Refusal:
    if any(fragment in message for fragment in _CERTIFICATE):
        return Refusal.CERTIFICATE
    is_permanent = any(fragment in message for fragment in _PERMANENT_HERE)
    return Refusal.PERMANENT if is_permanent else Refusal.NETWORK
