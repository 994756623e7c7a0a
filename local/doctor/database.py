"""A database: connected to as the API connects, and looked at in a read-only transaction."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row
from runner import MigrationError, Runner, migrations

from deploy.migrate import MIGRATIONS
from deploy.template import TemplateError, parameter_value
from local.database import OF_ANOTHER, place_of
from local.doctor.findings import BROKEN, FINE, HURTS, UNCHECKED, Finding, Findings, State, judge
from local.doctor.surroundings import template
from neon import ConfigurationError, UnavailableError
from neon._address import Target
from neon._connect import Connector
from neon._conninfo import direct_url, is_neon
from neon._telemetry import Telemetry

Line = Callable[..., Finding]
Connection = psycopg.Connection[tuple[Any, ...]]
Facts = dict[str, Any]

_SECONDS = 4.0  # for the connect, with its retries
_ADVICE = "give the API a login of its own, and the owner's string in OWNER_DATABASE_URL"
# Every name is one of Postgres' own, whatever the login's search_path is.
_SEARCH_PATH: LiteralString = "SELECT pg_catalog.set_config('search_path', 'pg_catalog', true)"
_FACTS: LiteralString = """
SELECT current_setting('server_version_num')::int / 10000 AS version,
       session_user AS role,
       EXISTS (SELECT FROM pg_attribute WHERE attname = 'checksum'
               AND attrelid = to_regclass('public.schema_migrations')) AS is_ours,
       coalesce(to_regclass('public.tasks'), to_regclass('public.task')) IS NOT NULL AS has_tasks
"""


def check(area: str, url: str, *, serves: bool = False, migrates: bool = False) -> Findings:
    """Look at the database of a connection string that serves requests, migrates, or both."""
    line = partial(judge, area)
    try:
        parameter_value(template(), "DatabaseUrl", {"DATABASE_URL": url})
        host = Target(url).host
        connection = _open(url if serves else direct_url(url))
    except (TemplateError, ConfigurationError) as error:
        yield line("connect", "", (True, BROKEN, f"{str(error).rstrip('.')}."))
    except UnavailableError as error:
        hint = "check the host, the port, and whether the server lets this machine in"
        yield line("connect", "", (True, BROKEN, f"{error}; {hint}."))
    else:
        with connection:
            connection.execute(_SEARCH_PATH)
            (facts,) = connection.cursor(row_factory=dict_row).execute(_FACTS).fetchall()
            yield line("connect", f"Postgres {facts['version']}")
            if migrates:
                yield _schema(line, connection, facts, place_of(url))
            if serves:
                if facts["is_ours"]:
                    yield _role(line, connection, facts["role"])
                is_direct = is_neon(host) and "-pooler." not in host
                text = "It is Neon's direct host: take the pooled string, whose host has -pooler."
                yield line("host", host, (is_direct, HURTS, text))


def _open(url: str) -> Connection:
    """Open a session whose transactions are read-only, as the API opens its own."""
    pgconn = Connector(url, Telemetry()).open(time.monotonic() + _SECONDS)
    pgconn.nonblocking = 1
    connection = psycopg.Connection(pgconn)
    connection.read_only, connection.prepare_threshold = True, None
    return connection


def _schema(line: Line, connection: Connection, facts: Facts, place: str) -> Finding:
    if facts["is_ours"]:
        state, text = _applied(connection)
        return line("migrations", "", (True, state, text))
    return line(
        "migrations",
        "",
        (facts["has_tasks"], BROKEN, OF_ANOTHER.format(place=place)),
        (True, HURTS, f"None is applied to {place} yet: `make migrate` does it."),
    )


def _applied(connection: Connection) -> tuple[State, str]:
    known = migrations(MIGRATIONS)
    try:
        with connection.transaction():
            recorded = Runner("", known).recorded(connection)
    except MigrationError as error:
        return BROKEN, f"{error}."
    except psycopg.errors.InsufficientPrivilege:
        return UNCHECKED, "only the owner can read the list: give OWNER_DATABASE_URL, too"
    if pending := [each.name for each in known[len(recorded) :]]:
        return HURTS, f"Missing: {', '.join(pending)}; `make migrate` does it."
    if len(recorded) > len(known):
        return HURTS, f"It has {len(recorded)}, this checkout {len(known)}: update the checkout."
    return FINE, f"all {len(known)} are applied"


def _role(line: Line, connection: Connection, role: str) -> Finding:
    query = "SELECT pg_has_role(session_user, 'task_api', 'MEMBER')"
    ((may_act,),) = connection.execute(query).fetchall()
    return line(
        "role",
        role,
        (not may_act, BROKEN, f'It may not act as task_api: GRANT task_api TO "{role}".'),
        (_is_refused(connection), HURTS, f"{role} may do more than task_api: {_ADVICE}."),
    )


def _is_refused(connection: Connection) -> bool:
    """Ask what each connection of the API asks first."""
    try:
        with connection.transaction():
            connection.execute("SELECT public.refuse_privileged_login()")
    except psycopg.Error:
        return True
    return False
