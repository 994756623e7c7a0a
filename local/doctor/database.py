"""A database: connected to as the API connects, and looked at in read-only transactions."""

from __future__ import annotations

import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg.rows import dict_row, tuple_row
from runner import MigrationError, Runner, check_database, creators, migrations

from deploy.deployment import PRODUCTION
from deploy.migrate import MIGRATIONS
from deploy.template import TemplateError, parameter_values, parse
from local.database import OF_ANOTHER, place_of
from local.doctor.findings import Finding, Findings, State
from neon import ConfigurationError, UnavailableError
from neon._address import Target, _is_local
from neon._connect import Connector
from neon._conninfo import direct_url, is_neon
from neon._statement import PINNED
from neon._telemetry import Telemetry

_SECONDS = 4.0
_SLOW_SECONDS, _FAR_SECONDS = 2.0, 0.5
_TESTED = 150000
_POOLED = 5  # server connections that a pooler can lend
_FINE, _HURTS, _BROKEN, _UNCHECKED = State

# Settings of a role or a database, the values that are fine, and what another value does.
_PLANTED = {
    "default_transaction_read_only": ("off", _BROKEN, "every write is refused"),
    "session_replication_role": ("origin", _BROKEN, "no trigger works"),
    "default_transaction_isolation": ("read committed", _HURTS, "writes fail that meet others"),
    "synchronous_commit": ("on", _HURTS, "a crash can lose a write that was answered"),
}
# Before any search_path of ours: only names that Postgres' own schema answers for.
_NAMES = """
SELECT pg_catalog.to_regclass('tasks')::pg_catalog.oid AS tasks,
       pg_catalog.to_regclass('public.tasks')::pg_catalog.oid AS ours,
       pg_catalog.to_regclass('task')::pg_catalog.oid AS task,
       pg_catalog.current_schemas(false) AS schemas,
       pg_catalog.set_config('statement_timeout', '3000', true)
"""
_OURS = "SELECT set_config('search_path', 'pg_catalog, pg_temp', true)"
_FACTS = """
SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS is_standby,
       rolname AS role, rolsuper OR rolbypassrls AS bypasses, rolcreaterole OR rolsuper AS makes,
       pg_backend_pid() AS backend,
       has_schema_privilege(to_regnamespace('public')::oid, 'CREATE') AS creates,
       EXISTS (SELECT FROM pg_roles WHERE rolname = 'task_api') AS has_role,
       EXISTS (SELECT FROM pg_attribute WHERE attname = 'checksum'
               AND attrelid = to_regclass('public.schema_migrations')) AS is_ours,
       (SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p')
        AND relnamespace = to_regnamespace('public')::oid) AS tables,
       current_setting('max_connections')::int
       - current_setting('superuser_reserved_connections')::int
       - coalesce(current_setting('reserved_connections', true)::int, 0) AS slots,
       rolconnlimit, (SELECT datconnlimit FROM pg_database WHERE datname = current_database())
FROM pg_roles WHERE rolname = session_user
"""
_SETTINGS = """
SELECT name, setting FROM pg_settings
WHERE source IN ('database', 'user', 'database user') OR name = ANY (%s)
"""
_STRANGERS = """
SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS name
FROM pg_default_acl, aclexplode(defaclacl)
WHERE defaclrole = session_user::regrole AND grantee <> defaclrole
"""
_MAY_ACT = "SELECT pg_has_role(session_user, 'task_api', 'MEMBER') AS may"


class Use(NamedTuple):
    """What a connection string is for: the API's requests, the migrations, or both."""

    serves: bool
    migrates: bool


def check(area: str, url: str, use: Use, environments: int) -> Findings:
    """Look at the database; `environments` connect at the same time when it is on this machine."""
    found = partial(Finding, area)
    try:
        parameter = parse(Path("template.yaml"))["Parameters"]["DatabaseUrl"]
        parameter_values({"Parameters": {"DatabaseUrl": parameter}}, {"DATABASE_URL": url})
        target = Target(url)
        connector = Connector(url if use.serves else direct_url(url), Telemetry())
        first, opened = _open(connector)
        second, opened_again = _open(connector)
    except (TemplateError, ConfigurationError) as error:
        yield found("connect", _BROKEN, f"{str(error).rstrip('.')}.")
        return
    except UnavailableError as error:
        yield found(
            "connect", _BROKEN, f"{error}; check host, port and whether it lets this machine in."
        )
        return
    with first, second:
        yield found("connect", *_timed(opened, opened_again))
        yield from _server(found, first, second, target, use, environments, url)


def _open(connector: Connector) -> tuple[psycopg.Connection[Any], float]:
    """Open a session whose transactions are read-only; return it and its seconds."""
    started = time.monotonic()
    pgconn = connector.open(started + _SECONDS)
    pgconn.nonblocking = 1
    connection = psycopg.Connection(pgconn, row_factory=dict_row)
    connection.read_only, connection.prepare_threshold = True, None
    return connection, time.monotonic() - started


def _timed(first: float, second: float) -> tuple[State, str]:
    text = f"first connect {first * 1000:.0f} ms, second {second * 1000:.0f} ms"
    if second > _FAR_SECONDS:
        return _HURTS, f"{text}: serve the API from the database's region."
    if first > _SLOW_SECONDS:
        return _HURTS, f"{text}: it slept; a request that wakes it waits as long."
    return _FINE, text


def _server(
    found: partial[Finding],
    first: psycopg.Connection[Any],
    second: psycopg.Connection[Any],
    target: Target,
    use: Use,
    environments: int,
    url: str,
) -> Findings:
    facts = _row(first, _NAMES)
    first.execute(_OURS)
    facts |= _row(first, _FACTS)
    settings = {
        row["name"]: row["setting"] for row in first.execute(_SETTINGS, (list(PINNED),)).fetchall()
    }
    yield _version(found, facts)
    if use.serves:
        yield _path(found, facts)
        yield from _planted(found, settings, facts["role"])
        yield _role(found, first, facts)
    if use.migrates:
        yield from _schema(found, first, facts, place_of(url))
        yield from _rights(found, first)
    first.rollback()
    if use.serves:
        yield from _transport(found, first, target)
        yield from _pooling(found, first, second, target, facts, environments)


def _version(found: partial[Finding], facts: Any) -> Finding:
    version = facts["version"] // 10000
    if facts["is_standby"]:
        return found("server", _BROKEN, "It is a read replica: give the primary's string.")
    if facts["version"] < _TESTED:
        return found("server", _HURTS, f"Postgres {version}; the oldest that is tested is 15.")
    return found("server", _FINE, f"Postgres {version}, UTF8")


def _path(found: partial[Finding], facts: Any) -> Finding:
    """Judge which table the login's search_path finds."""
    if facts["is_ours"] and facts["tasks"] == facts["ours"]:
        return found("search_path", _FINE, "finds public.tasks")
    if not facts["is_ours"] and "public" in facts["schemas"]:
        return found("search_path", _FINE, "finds the schema public")
    advice = f'ALTER ROLE "{facts["role"]}" RESET search_path'
    return found("search_path", _BROKEN, f"It does not find public.tasks first: {advice}.")


def _planted(found: partial[Finding], settings: dict[str, str], role: str) -> Findings:
    wrong = [name for name, (fine, *_) in _PLANTED.items() if settings.get(name, fine) != fine]
    for name in wrong:
        _, state, what = _PLANTED[name]
        advice = f'ALTER ROLE "{role}" RESET {name}, or the same for the database'
        yield found(name, state, f"It is {settings[name]}, so {what}: {advice}.")
    pinned = sorted(
        name for name, fine in PINNED.items() if settings.get(name, *fine[:1]) not in fine
    )
    others = sorted(settings.keys() - PINNED.keys() - set(wrong))
    parts = [f"{', '.join(pinned)}: set anew in every transaction"] if pinned else []
    parts += [f"{', '.join(others)}: harmless"] if others else []
    yield found("settings", _FINE, "; ".join(parts) or "nothing is planted")


def _role(found: partial[Finding], connection: psycopg.Connection[Any], facts: Any) -> Finding:
    role = facts["role"]
    advice = "give the API a login of its own, and the owner's in OWNER_DATABASE_URL"
    if not facts["is_ours"]:
        if facts["bypasses"] or facts["creates"]:
            text = f"Row-level security would not bind {role}: {advice}."
            return found("role", _HURTS, text)
        return found("role", _FINE, role)
    if not _row(connection, _MAY_ACT)["may"]:
        return found("role", _BROKEN, f'It may not act as task_api: GRANT task_api TO "{role}".')
    try:
        with connection.transaction():
            connection.execute("SELECT public.refuse_privileged_login()")
    except psycopg.Error:
        return found("role", _HURTS, f"{role} may do more than task_api: {advice}.")
    return found("role", _FINE, f"{role}, which may act as task_api and nothing else")


def _schema(
    found: partial[Finding], connection: psycopg.Connection[Any], facts: Any, place: str
) -> Findings:
    if facts["is_ours"]:
        yield found("migrations", *_applied(connection))
    elif facts["tasks"] or facts["task"]:
        yield found("migrations", _BROKEN, OF_ANOTHER.format(place=place))
    elif not facts["creates"] or not (facts["makes"] or facts["has_role"]):
        text = "may not create in the schema public, or no role task_api"
        yield found(
            "migrations", _BROKEN, f"{facts['role']} {text}: give the owner's connection string."
        )
    else:
        yield found("migrations", _HURTS, "none is there yet: `make migrate` applies them.")
    if not facts["is_ours"] and facts["tables"]:
        text = f"{place} holds {facts['tables']} tables of something else"
        yield found("tables", _HURTS, f"{text}: unset DATABASE_URL if it is another project's.")


def _applied(connection: psycopg.Connection[Any]) -> tuple[State, str]:
    known = migrations(MIGRATIONS)
    try:
        with connection.transaction():
            connection.row_factory = tuple_row
            recorded = Runner("", known).recorded(connection)
    except MigrationError as error:
        return _BROKEN, f"{error}."
    except psycopg.errors.InsufficientPrivilege:
        return _UNCHECKED, "only the owner can read the list: give OWNER_DATABASE_URL, too."
    finally:
        connection.row_factory = dict_row
    pending = [each.name for each in known[len(recorded) :]]
    if pending:
        return _HURTS, f"{', '.join(pending)} is missing: `make migrate` applies it."
    if len(recorded) > len(known):
        return _HURTS, f"it has {len(recorded)}, this checkout {len(known)}: update the checkout."
    return _FINE, f"all {len(known)} are applied"


def _rights(found: partial[Finding], connection: psycopg.Connection[Any]) -> Findings:
    strangers = [row["name"] for row in connection.execute(_STRANGERS).fetchall()]
    connection.row_factory = tuple_row
    try:
        check_database(connection)
        others = creators(connection)
    except MigrationError as error:
        yield found("schema", _BROKEN, f"{error}.")
    else:
        text = f"{', '.join(others)} may create in the schema public: `make migrate` ends that."
        state = found("schema", _HURTS, text) if others else None
        yield state or found("schema", _FINE, "only its owner creates in public")
    text = f"New tables and functions give rights to {', '.join(strangers)}"
    advice = "ALTER DEFAULT PRIVILEGES ... REVOKE takes them back"
    if strangers:
        yield found("default rights", _HURTS, f"{text}: {advice}.")
    else:
        yield found("default rights", _FINE, "none for strangers")


def _transport(
    found: partial[Finding], connection: psycopg.Connection[Any], target: Target
) -> Findings:
    if not connection.pgconn.ssl_in_use:
        yield found("TLS", _FINE, "none, and none is needed on this machine")
        return
    is_verified = target.parameters["sslmode"] == "verify-full"
    yield found("TLS", _FINE, "verified" if is_verified else "not verified on this machine")
    binding = target.parameters.get("channel_binding", "prefer")
    if binding == "disable":
        text = "The string turns it off: remove channel_binding=disable."
        yield found("channel binding", _HURTS, text)
    else:
        yield found("channel binding", _FINE, f"the string says {binding}")


def _pooling(
    found: partial[Finding],
    first: psycopg.Connection[Any],
    second: psycopg.Connection[Any],
    target: Target,
    facts: Any,
    environments: int,
) -> Findings:
    is_shared = facts["backend"] == _backend(second)
    is_pooler = is_shared or "-pooler." in target.host
    if is_pooler:
        yield found("pooling", _FINE, "pooled")
    elif is_neon(target.host):
        text = "The host is Neon's direct one: take the pooled string, with -pooler in its host."
        yield found("pooling", _HURTS, text)
    else:
        yield found("pooling", _FINE, "direct")
    if not is_shared or _stays_prepared(first, second):
        yield found("prepared", _FINE, "prepared statements work")
    else:
        text = "The pooler loses prepared statements, so each request takes longer"
        yield found("prepared", _HURTS, f"{text}: set its max_prepared_statements.")
    limits = [facts["slots"], facts["rolconnlimit"], facts["datconnlimit"]]
    most = min(each for each in limits if each >= 0)
    needed = _POOLED if is_pooler else environments if _is_local(target.host) else PRODUCTION
    text = f"{most} at once"
    if most < needed:
        text = f"{text}, and the API may need {needed}: use a pooler, or raise the limit."
        yield found("connections", _HURTS, text)
    else:
        yield found("connections", _FINE, f"{text}, {needed} are needed")


def _backend(connection: psycopg.Connection[Any]) -> int:
    pid = _row(connection, "SELECT pg_catalog.pg_backend_pid() AS pid")["pid"]
    connection.rollback()
    return int(pid)


def _row(connection: psycopg.Connection[Any], query: LiteralString) -> dict[str, Any]:
    (row,) = connection.execute(query).fetchall()
    return dict(row)


def _stays_prepared(first: psycopg.Connection[Any], second: psycopg.Connection[Any]) -> bool:
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
