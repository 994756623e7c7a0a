"""A database: connected to as the API connects, and looked at in read-only transactions."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row
from runner import MigrationError, Runner, check_database, creators, migrations

from deploy.deployment import PRODUCTION
from deploy.migrate import MIGRATIONS
from deploy.template import TemplateError, parameter_value
from local.database import OF_ANOTHER, place_of
from local.doctor.findings import BROKEN, FINE, HURTS, UNCHECKED, Finding, Findings, State, judge
from local.doctor.surroundings import template
from neon import ConfigurationError, UnavailableError
from neon._address import Target, _is_local
from neon._connect import Connector
from neon._conninfo import direct_url, is_neon
from neon._statement import PINNED
from neon._telemetry import Telemetry

Line = Callable[..., Finding]
Connection = psycopg.Connection[tuple[Any, ...]]
Facts = dict[str, Any]

_SECONDS = 4.0  # for each connect, with its retries
_SLOW_SECONDS, _FAR_SECONDS = 2.0, 0.5
_TESTED = 15  # the oldest Postgres that the tests use
_POOLED = 5  # server connections that a pooler should be able to lend
_ADVICE = "give the API a login of its own, and the owner's string in OWNER_DATABASE_URL"
# Settings of a role or a database, the value that is fine, and what another value does.
_PLANTED = {
    "default_transaction_read_only": ("off", BROKEN, "every write is refused"),
    "session_replication_role": ("origin", BROKEN, "no trigger works"),
    "default_transaction_isolation": ("read committed", HURTS, "writes that meet others fail"),
    "synchronous_commit": ("on", HURTS, "a crash can lose a write that was answered"),
}
# With the search_path of the login: so every name is one of Postgres' own.
_NAMES = """
SELECT pg_catalog.to_regclass('tasks')::pg_catalog.oid AS tasks,
       pg_catalog.to_regclass('public.tasks')::pg_catalog.oid AS ours,
       pg_catalog.to_regclass('task')::pg_catalog.oid AS task,
       pg_catalog.current_schemas(false) AS schemas,
       pg_catalog.set_config('statement_timeout', '3000', true),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)
"""
_FACTS = """
SELECT current_setting('server_version_num')::int / 10000 AS version,
       pg_is_in_recovery() AS is_standby,
       rolname AS role, rolsuper OR rolbypassrls AS bypasses,
       has_schema_privilege(to_regnamespace('public')::oid, 'CREATE') AS creates,
       rolsuper OR rolcreaterole
       OR EXISTS (SELECT FROM pg_roles WHERE rolname = 'task_api') AS has_role,
       EXISTS (SELECT FROM pg_attribute WHERE attname = 'checksum'
               AND attrelid = to_regclass('public.schema_migrations')) AS is_ours,
       (SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p')
        AND relnamespace = to_regnamespace('public')::oid) AS tables
FROM pg_roles WHERE rolname = session_user
"""
_SETTINGS = """
SELECT name, setting FROM pg_settings
WHERE source IN ('database', 'user', 'database user') OR name = ANY (%s)
"""
_LIMIT = """
SELECT least(
    current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true)::int, 0),
    nullif(rolconnlimit, -1),
    (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())
) FROM pg_roles WHERE rolname = session_user
"""
_STRANGERS = """
SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END
FROM pg_default_acl, aclexplode(defaclacl)
WHERE defaclrole = (SELECT oid FROM pg_roles WHERE rolname = session_user)
  AND grantee <> defaclrole
"""


def check(
    area: str, url: str, *, environments: int = 0, serves: bool = False, migrates: bool = False
) -> Findings:
    """Look at the database of a connection string that serves requests, migrates, or both.

    So many `environments` of `make run` may hold a connection.
    """
    line = partial(judge, area)
    try:
        parameter_value(template(), "DatabaseUrl", {"DATABASE_URL": url})
        target = Target(url)
        connector = Connector(url if serves else direct_url(url), Telemetry())
        (first, waited), (second, seconds) = _open(connector), _open(connector)
    except (TemplateError, ConfigurationError) as error:
        yield line("connect", "", (True, BROKEN, f"{str(error).rstrip('.')}."))
    except UnavailableError as error:
        hint = "check the host, the port, and whether the server lets this machine in"
        yield line("connect", "", (True, BROKEN, f"{error}; {hint}."))
    else:
        with first, second:
            yield _timed(line, waited, seconds)
            facts = _row(first, _NAMES) | _row(first, _FACTS)
            yield _server(line, facts)
            if migrates:
                yield from _schema(line, first, facts, place_of(url))
                yield from _rights(line, first)
            if serves:
                yield _path(line, facts)
                yield from _planted(line, first, facts["role"])
                yield _role(line, first, facts)
                yield from _transport(line, first, target)
                yield from _pooling(line, first, second, target, environments)


def _open(connector: Connector) -> tuple[Connection, float]:
    """Open a session whose transactions are read-only; return it and its seconds."""
    started = time.monotonic()
    pgconn = connector.open(started + _SECONDS)
    pgconn.nonblocking = 1
    connection = psycopg.Connection(pgconn)
    connection.read_only, connection.prepare_threshold = True, None
    return connection, time.monotonic() - started


def _row(connection: Connection, query: LiteralString) -> Facts:
    (row,) = connection.cursor(row_factory=dict_row).execute(query).fetchall()
    return row


def _column(connection: Connection, query: LiteralString) -> list[Any]:
    return [value for (value,) in connection.execute(query).fetchall()]


def _timed(line: Line, first: float, second: float) -> Finding:
    text = f"first connect {first * 1000:.0f} ms, second {second * 1000:.0f} ms"
    return line(
        "connect",
        text,
        (second > _FAR_SECONDS, HURTS, f"{text}: serve the API from the database's region."),
        (first > _SLOW_SECONDS, HURTS, f"{text}: it slept, and a request that wakes it waits."),
    )


def _server(line: Line, facts: Facts) -> Finding:
    text = f"Postgres {facts['version']}"
    return line(
        "server",
        f"{text}, UTF8",
        (facts["is_standby"], BROKEN, "It is a read replica: give the primary's string."),
        (facts["version"] < _TESTED, HURTS, f"{text}: the oldest that is tested is {_TESTED}."),
    )


def _path(line: Line, facts: Facts) -> Finding:
    """Judge which table the login's search_path finds."""
    is_ours = facts["is_ours"]
    is_found = facts["tasks"] == facts["ours"] if is_ours else "public" in facts["schemas"]
    advice = f'ALTER ROLE "{facts["role"]}" RESET search_path'
    text = f"It does not find public.tasks first: {advice}, or the same for the database."
    return line("search_path", "finds public", (not is_found, BROKEN, text))


def _planted(line: Line, connection: Connection, role: str) -> Findings:
    """Judge what `ALTER ROLE` and `ALTER DATABASE` have set; neon undoes what is in `PINNED`."""
    rows = connection.execute(_SETTINGS, (list(PINNED),)).fetchall()
    found: dict[str, str] = dict(rows)
    pinned = {name for name in found.keys() & PINNED.keys() if found[name] not in PINNED[name]}
    for name, (fine, state, what) in _PLANTED.items():
        if (value := found.get(name, fine)) != fine:
            advice = f'ALTER ROLE "{role}" RESET {name}, or the same for the database'
            yield line(name, "", (True, state, f"It is {value}, so {what}: {advice}."))
    others = found.keys() - PINNED.keys() - _PLANTED.keys()
    names = ", ".join(sorted(pinned | others))
    yield line("settings", f"{names}: harmless here" if names else "nothing is planted")


def _role(line: Line, connection: Connection, facts: Facts) -> Finding:
    role, is_ours = facts["role"], facts["is_ours"]
    may_act, is_refused = True, facts["bypasses"] or facts["creates"]
    if is_ours:
        (may_act,) = _column(connection, "SELECT pg_has_role(session_user, 'task_api', 'MEMBER')")
        is_refused = _is_refused(connection)
    return line(
        "role",
        role,
        (not may_act, BROKEN, f'It may not act as task_api: GRANT task_api TO "{role}".'),
        (is_refused, HURTS, f"{role} may do more than task_api: {_ADVICE}."),
    )


def _is_refused(connection: Connection) -> bool:
    """Ask what each connection of the API asks first."""
    try:
        with connection.transaction():
            connection.execute("SELECT public.refuse_privileged_login()")
    except psycopg.Error:
        return True
    return False


def _schema(line: Line, connection: Connection, facts: Facts, place: str) -> Findings:
    if facts["is_ours"]:
        yield Finding(*line("migrations", "")[:2], *_applied(connection))
        return
    text = f"{facts['role']} may not create in the schema public, or not the role task_api"
    may_not = not (facts["creates"] and facts["has_role"])
    yield line(
        "migrations",
        "",
        (facts["tasks"] or facts["task"], BROKEN, OF_ANOTHER.format(place=place)),
        (may_not, BROKEN, f"{text}: give the owner's connection string."),
        (True, HURTS, "None is applied yet: `make migrate` does it."),
    )
    if count := facts["tables"]:
        text = f"{place} has {count} tables of something else"
        advice = "unset DATABASE_URL if it is another project's"
        yield line("tables", "", (True, HURTS, f"{text}: {advice}."))


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


def _rights(line: Line, connection: Connection) -> Findings:
    refused, others = "", list[str]()
    try:
        check_database(connection)
        others = creators(connection)
    except MigrationError as error:
        refused = f"{error}."
    ends = f"{', '.join(others)} may create in the schema public: `make migrate` ends that."
    yield line(
        "schema", "nobody else creates in it", (refused, BROKEN, refused), (others, HURTS, ends)
    )
    strangers = _column(connection, _STRANGERS)
    text = f"New tables or functions give rights to {', '.join(strangers)}"
    advice = "ALTER DEFAULT PRIVILEGES ... REVOKE ends that"
    yield line("default rights", "none for others", (strangers, HURTS, f"{text}: {advice}."))


def _transport(line: Line, connection: Connection, target: Target) -> Findings:
    if not connection.pgconn.ssl_in_use:
        yield line("TLS", "none, and none is needed on this machine")
        return
    is_verified = target.parameters["sslmode"] == "verify-full"
    yield line("TLS", "verified" if is_verified else "not verified, on this machine")
    binding = target.parameters["channel_binding"]
    text = "The string turns it off: remove channel_binding=disable."
    yield line("channel binding", binding, (binding == "disable", HURTS, text))


def _pooling(
    line: Line, first: Connection, second: Connection, target: Target, environments: int
) -> Findings:
    (most,) = _column(first, _LIMIT)
    backend = first.execute("SELECT pg_backend_pid()").fetchone()
    first.rollback()
    is_shared = backend == second.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
    second.rollback()
    is_pooled = is_shared or "-pooler." in target.host
    is_direct = is_neon(target.host) and not is_pooled
    text = "It is Neon's direct host: take the pooled string, whose host has -pooler."
    yield line("pooling", "pooled" if is_pooled else "direct", (is_direct, HURTS, text))
    is_lost = is_shared and not _stays_prepared(first, second)
    text = "The pooler loses prepared statements, so requests take longer"
    advice = "set its max_prepared_statements"
    yield line("prepared", "statements stay prepared", (is_lost, HURTS, f"{text}: {advice}."))
    needed = _POOLED if is_pooled else environments if _is_local(target.host) else PRODUCTION
    text = f"{most} at once, and the API may need {needed}"
    advice = "use a pooler, or raise the limit"
    fine = (
        f"{most} at once, " + ("shared by all" if is_pooled else f"for {needed}") + " environments"
    )
    yield line("connections", fine, (most < needed, HURTS, f"{text}: {advice}."))


def _stays_prepared(first: Connection, second: Connection) -> bool:
    """Tell whether a pooler that gave both the same session keeps their statements apart.

    A statement that the other one sees is deallocated by it, so that none is left there.
    """
    name = f"doctor_{uuid.uuid4().hex}"
    first.execute("SELECT 1")
    first.pgconn.prepare(name.encode(), b"SELECT 1")
    first.rollback()
    query = "SELECT FROM pg_catalog.pg_prepared_statements WHERE name = %s"
    is_seen = second.execute(query, (name,)).rowcount > 0
    if is_seen:
        second.execute(f"DEALLOCATE {name}".encode())
    second.rollback()
    return not is_seen
