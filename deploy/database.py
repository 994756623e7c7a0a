"""The database of an environment: whether AWS can reach it, and the API's own login in it.

The login may become `task_api`, and nothing else. There are two names, used by turns. A new
password goes to the login that is not in use, so that the API never meets a password that has
changed already while the secret has not.
"""

import ipaddress
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from deploy.environments import DeployError
from neon import ConfigurationError, direct_conninfo

_CONNECT_SECONDS = 15
_PRIVATE_NAMES = ("localhost", ".localhost", ".local", ".internal", ".lan")
# What would let the login around row-level security, or further than `task_api`.
_EXCESS = """
    SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication
        OR EXISTS (
            SELECT FROM pg_catalog.pg_auth_members AS granted
            WHERE granted.member = login.oid AND granted.roleid <> 'task_api'::regrole
        )
        OR EXISTS (SELECT FROM pg_catalog.pg_class WHERE relowner = login.oid)
    FROM pg_catalog.pg_roles AS login WHERE rolname = %s
"""


def check_connection_string(url: str) -> None:
    """Raise DeployError when the functions could not connect with this string.

    No message repeats any part of the string but its host.
    """
    try:
        direct_conninfo(url)
    except ConfigurationError as error:
        raise DeployError(f"The connection string cannot be used: {error}.") from None
    if reason := _unreachable(str(conninfo_to_dict(url).get("host", ""))):
        raise DeployError(f"AWS cannot reach the database: {reason}.")


def _unreachable(host: str) -> str:
    """Return why AWS cannot reach this host; empty when nothing speaks against it."""
    if not host or host.startswith(("/", "@")):
        return "the connection string names a Unix socket"
    if host.endswith(_PRIVATE_NAMES):
        return f"{host} is a name of this machine or of a private network"
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:  # this machine cannot resolve the name; AWS may
        return ""
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    if not any(ipaddress.ip_address(each).is_global for each in addresses):
        return f"{host} is {addresses[0]}, which is no public address"
    return ""


@contextmanager
def new_login(owner_url: str, environment: str, in_use: str) -> Iterator[str]:
    """Make the login that is not `in_use`, with a new password; yield its connection string.

    Once that is stored, the login in use can connect no more; open connections go on. `owner_url`
    is the schema owner's. Raises DeployError when the owner may not do it, or when a role of that
    name may do more than the API should.
    """
    names = f"task_api_{environment}_a", f"task_api_{environment}_b"
    name, former = names if in_use != names[0] else names[::-1]
    password = secrets.token_urlsafe(32)
    with _connected(owner_url) as connection:
        if not _exists(connection, "task_api"):  # as migration 0002 makes it, which may come later
            connection.execute("CREATE ROLE task_api NOLOGIN")
        verb = sql.SQL("ALTER ROLE" if _exists(connection, name) else "CREATE ROLE")
        options = sql.SQL("LOGIN NOINHERIT PASSWORD {}").format(sql.Literal(password))
        connection.execute(sql.SQL(" ").join([verb, sql.Identifier(name), options]))
        connection.execute(sql.SQL("GRANT task_api TO {}").format(sql.Identifier(name)))
        if connection.execute(_EXCESS, (name,)).fetchone() != (False,):
            raise DeployError(f"The role {name} may do more than task_api: drop it, and try again.")
    parts = urlsplit(owner_url)
    host = parts.netloc.rpartition("@")[2]
    yield urlunsplit(parts._replace(netloc=f"{quote(name)}:{quote(password)}@{host}"))
    with _connected(owner_url) as connection:
        if _exists(connection, former):
            closed = sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL")
            connection.execute(closed.format(sql.Identifier(former)))
    print(f"The API connects as {name} from its next connection on")


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection]:
    """Open one transaction on the direct host. Raises DeployError for what Postgres refuses."""
    try:
        with psycopg.connect(direct_conninfo(url), connect_timeout=_CONNECT_SECONDS) as connection:
            yield connection
    except psycopg.Error as error:
        # Without `from`: a statement that failed may be quoted with its password.
        sentence = str(error).strip().partition("\n")[0]
        raise DeployError(f"The API's login cannot be changed: {sentence}.") from None


def _exists(connection: psycopg.Connection, name: str) -> bool:
    found = connection.execute("SELECT FROM pg_catalog.pg_roles WHERE rolname = %s", (name,))
    return found.rowcount > 0
