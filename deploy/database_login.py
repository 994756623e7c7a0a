"""The API's own login in the database: it may become `task_api`, and nothing else.

There are two names, used by turns. A new password goes to the login that is not in use, so that
the API never meets a password that has changed already while the secret has not.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from deploy.environments import DeployError
from neon import direct_conninfo

_CONNECT_SECONDS = 15
# As migration 0002 makes it, which comes later than this in a first deployment.
_TASK_API = """
    DO $$
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'task_api') THEN
            CREATE ROLE task_api NOLOGIN;
        END IF;
    EXCEPTION
        WHEN duplicate_object OR unique_violation THEN
            NULL;
    END
    $$
"""
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


def login_names(environment: str) -> tuple[str, str]:
    """Return the two names that an environment's login has by turns."""
    return f"task_api_{environment}_a", f"task_api_{environment}_b"


def open_login(owner_url: str, environment: str, in_use: str) -> str:
    """Make the login that is not `in_use`, with a new password; return its connection string.

    `owner_url` is the schema owner's. Raises DeployError when the owner may not do it, or when
    a role of that name may do more than the API should.
    """
    first, second = login_names(environment)
    name = second if in_use == first else first
    password = secrets.token_urlsafe(32)
    with _connected(owner_url) as connection:
        connection.execute(_TASK_API)
        verb = sql.SQL("ALTER ROLE" if _exists(connection, name) else "CREATE ROLE")
        options = sql.SQL("LOGIN NOINHERIT PASSWORD {}").format(sql.Literal(password))
        connection.execute(sql.SQL(" ").join([verb, sql.Identifier(name), options]))
        connection.execute(sql.SQL("GRANT task_api TO {}").format(sql.Identifier(name)))
        _refuse_excess(connection, name)
    return _with_account(owner_url, name, password)


def close_login(owner_url: str, environment: str, in_use: str) -> None:
    """Let the login that is not `in_use` connect no more; open connections go on."""
    with _connected(owner_url) as connection:
        for name in login_names(environment):
            if name != in_use and _exists(connection, name):
                connection.execute(
                    sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(sql.Identifier(name))
                )


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
    return found.fetchone() is not None


def _refuse_excess(connection: psycopg.Connection, name: str) -> None:
    if connection.execute(_EXCESS, (name,)).fetchone() != (False,):
        raise DeployError(f"The role {name} may do more than task_api: drop it, and try again.")


def _with_account(url: str, user: str, password: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user)}:{quote(password)}@{host}"))
