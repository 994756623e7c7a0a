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
from typing import LiteralString

import psycopg
from psycopg import sql

from deploy.environments import DeployError
from neon import (
    ConfigurationError,
    UnavailableError,
    direct_connection,
    direct_conninfo,
    direct_transaction,
    format_url,
    parse_conninfo,
)

_PRIVATE_NAMES = ("localhost", ".localhost", ".local", ".internal", ".lan")
# Neon's words when it commits a role with a verifier: its console has to know the password.
_PLAIN_ONLY = "plaintext password"
# The rights that would let the login around row-level security, or further than `task_api`.
_EXCESS = """
    SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication
        OR EXISTS (
            SELECT FROM pg_auth_members AS granted
            WHERE granted.member = login.oid AND granted.roleid <> 'task_api'::regrole::oid
        )
        OR EXISTS (
            SELECT FROM pg_shdepend
            WHERE refclassid = 'pg_authid'::regclass::oid AND refobjid = login.oid
              AND deptype = 'o'
        )
    FROM pg_roles AS login WHERE rolname = %s
"""
# The databases in which the login has settings of its own, which it could change itself; null is
# every database.
_SETTINGS = """
    SELECT datname FROM pg_db_role_setting LEFT JOIN pg_database ON pg_database.oid = setdatabase
    WHERE setrole = (SELECT oid FROM pg_roles WHERE rolname = %s)
"""
_OWNS_DATABASE = """
    SELECT FROM pg_database WHERE datname = current_database() AND pg_has_role(datdba, 'USAGE')
"""
_CAN_LOG_IN = (
    "SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname = ANY(%s) ORDER BY rolname"
)
_MAY_ACT = """
    SELECT rolname FROM pg_roles WHERE oid IN (
        SELECT member FROM pg_auth_members WHERE roleid = 'task_api'::regrole::oid
    )
"""


def check_connection_string(url: str) -> None:
    """Raise DeployError when the functions could not connect with this string.

    No message repeats any part of the string.
    """
    try:
        direct_conninfo(url)
        host = parse_conninfo(url).get("host", "")
    except ConfigurationError as error:
        raise DeployError(f"The connection string cannot be used: {error}.") from None
    if reason := _unreachable(host):
        raise DeployError(f"AWS cannot reach the database: {reason}.")


def _unreachable(host: str) -> str:
    """Return why AWS cannot reach this host; empty when nothing speaks against it."""
    if not host or host.startswith(("/", "@")):
        return "the connection string names a Unix socket"
    if host.endswith(_PRIVATE_NAMES):
        return "its host is a name of this machine or of a private network"
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:  # this machine cannot resolve the name; AWS may
        return ""
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    if not any(ipaddress.ip_address(each).is_global for each in addresses):
        return "its host has no public address"
    return ""


def login_names(environment: str) -> tuple[str, str]:
    """Return the two logins of an environment's API."""
    return f"task_api_{environment}_a", f"task_api_{environment}_b"


@contextmanager
def new_login(owner_url: str, environment: str, in_use: str) -> Iterator[str]:
    """Make the login that is not `in_use`, with a new password; yield its connection string.

    Once that is stored, the login in use can connect no more; open connections go on. `owner_url`
    is the schema owner's. Raise DeployError when the owner may not do it, when another stack may
    use these logins, or when a role of that name may do more than the API should.
    """
    names = login_names(environment)
    if in_use not in names:
        _refuse_strangers(owner_url, names)
    name, former = names if in_use != names[0] else names[::-1]
    password = secrets.token_urlsafe(32)
    try:
        _make(owner_url, name, password, hashed=True)
    except DeployError as error:
        if _PLAIN_ONLY not in str(error):
            raise
        _make(owner_url, name, password, hashed=False)
    yield format_url({**parse_conninfo(owner_url), "user": name, "password": password})
    with _connected(owner_url) as connection:
        _close(connection, former)
    print(f"The API connects as {name} from its next connection on")


def end_logins(owner_url: str, environment: str) -> None:
    """Let the environment's logins connect no more, and end their connections.

    Raise DeployError.
    """
    with _connected(owner_url) as connection:
        for name in login_names(environment):
            if _close(connection, name):
                # Only a role that has a login's rights may end its connections.
                _run(connection, "GRANT {} TO CURRENT_USER", name)
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s",
                    (name,),
                )
                _run(connection, "REVOKE {} FROM CURRENT_USER", name)


def _refuse_strangers(owner_url: str, names: tuple[str, str]) -> None:
    """Raise DeployError when one of the logins can connect, though none of ours is stored."""
    with _connected(owner_url) as connection:
        if found := connection.execute(_CAN_LOG_IN, (list(names),)).fetchone():
            raise DeployError(
                f"The login {found[0]} is there, and no secret of this stack has its password: "
                "another stack may use it. Give each stack a branch of its own; if nobody uses "
                f"this login, run ALTER ROLE {found[0]} NOLOGIN as the owner, and try again."
            )


def _make(owner_url: str, name: str, password: str, *, hashed: bool) -> None:
    """Make or change the login, in one transaction.

    With `hashed` the server gets a SCRAM verifier, so that no log of it can hold the password.
    """
    with _connected(owner_url) as connection:
        secret = password
        if hashed:
            verifier = connection.pgconn.encrypt_password(
                password.encode(), name.encode(), b"scram-sha-256"
            )
            secret = verifier.decode()
        if not _exists(connection, "task_api"):  # as the first migration, which may come later
            connection.execute("CREATE ROLE task_api NOLOGIN")
        verb = sql.SQL("ALTER ROLE" if _exists(connection, name) else "CREATE ROLE")
        options = sql.SQL("LOGIN NOINHERIT PASSWORD {}").format(sql.Literal(secret))
        connection.execute(sql.SQL(" ").join([verb, sql.Identifier(name), options]))
        _run(connection, "GRANT task_api TO {}", name)
        _reset_settings(connection, name)
        if connection.execute(_EXCESS, (name,)).fetchone() != (False,):
            raise DeployError(f"The role {name} may do more than task_api: drop it, and try again.")
        _close_database(connection)


def _reset_settings(connection: psycopg.Connection, name: str) -> None:
    """Undo what the login has set for its own sessions, such as a `search_path`."""
    for (database,) in connection.execute(_SETTINGS, (name,)).fetchall():
        if database is None:
            _run(connection, "ALTER ROLE {} RESET ALL", name)
        else:
            _run(connection, "ALTER ROLE {} IN DATABASE {} RESET ALL", name, database)


def _close_database(connection: psycopg.Connection) -> None:
    """Let only the roles that may act as `task_api` connect, where the owner may decide that."""
    if not connection.execute(_OWNS_DATABASE).rowcount:
        return
    database = connection.info.dbname
    for (member,) in connection.execute(_MAY_ACT).fetchall():
        _run(connection, "GRANT CONNECT ON DATABASE {} TO {}", database, member)
    _run(connection, "REVOKE CONNECT ON DATABASE {} FROM PUBLIC", database)
    print("Only the database's owner and the roles that may act as task_api can connect to it")


def _close(connection: psycopg.Connection, name: str) -> bool:
    """Let a login connect no more, if there is one, and return whether there is."""
    is_there = _exists(connection, name)
    if is_there:
        _run(connection, "ALTER ROLE {} NOLOGIN PASSWORD NULL", name)
    return is_there


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection]:
    """Open one transaction on the direct host. Raise DeployError when Postgres refuses."""
    try:
        with direct_connection(url) as connection, direct_transaction(connection):
            yield connection
    except (psycopg.Error, UnavailableError) as error:
        # Without `from`: a statement that failed may be quoted with its password.
        sentence = str(error).strip().partition("\n")[0]
        raise DeployError(f"The API's login cannot be changed: {sentence}.") from None


def _run(connection: psycopg.Connection, statement: LiteralString, *names: str) -> None:
    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def _exists(connection: psycopg.Connection, name: str) -> bool:
    found = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,))
    return found.rowcount > 0
