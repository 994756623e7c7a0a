"""Adopt a database of a FastAPI + SQLModel task API: `python -m deploy.adopt`, or `make adopt`.

The old table is moved aside, the migrations make the new one, every task is copied, and the old
table is dropped: all in one transaction, so that a failure changes nothing. Nothing of the old
text stays behind, because a deleted task must be gone. Columns that this API does not know move
along with their rows.

The connection string comes from `DATABASE_URL`, a terminal or standard input; its role has to own
the table. `YES=1` answers the question. The old table is called `task` or `tasks`, in any schema;
`TABLE=schema.name` names another one.
`IDS=new` gives new ids to tasks that have UUIDs, too. `ZONE` is the time zone of times that have
none (UTC unless set).
"""

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import LiteralString, NamedTuple

import psycopg
from psycopg import sql
from runner import MigrationError, Runner, check_database, migrations

from deploy.connection_string import as_owner
from deploy.migrate import IS_OURS, MIGRATIONS, OLD_TABLES
from deploy.printable import printable
from neon import direct_transaction
from tasks.models import Task

_WITHOUT_ZONE = "timestamp without time zone"
_TIMES = (_WITHOUT_ZONE, "timestamp with time zone")
# The columns that the old table has to have, each with its possible types; empty for any type.
_NEEDED: dict[str, tuple[str, ...]] = {
    "id": ("uuid", "smallint", "integer", "bigint"),
    "user_id": (),
    "title": (),
    "description": (),
    "completed": ("boolean",),
    "created_at": _TIMES,
    "updated_at": _TIMES,
}
# Other members of a task may be in the old table as well; they are copied as they are.
_MEMBERS = tuple(Task.model_fields)


class AdoptionError(MigrationError):
    """The database cannot be adopted; the text says why, and nothing was changed."""


class Table(NamedTuple):
    """The old table; `text` is its name for people, and for `regclass`."""

    oid: int
    schema: str
    name: str
    text: str

    def query(self, text: LiteralString, **parts: sql.Composable) -> sql.Composed:
        """Return a query with the table's name in the place of `{table}`."""
        return sql.SQL(text).format(table=sql.Identifier(self.schema, self.name), **parts)


@dataclass(frozen=True, slots=True)
class Adoption:
    """What is going to be done with a database. `columns` are the old table's, with their types."""

    table: Table
    columns: Mapping[str, str]
    keeps_ids: bool
    zone: str
    hides_tasks: bool
    tasks: int
    users: int
    random_ids: int

    @property
    def unknown(self) -> dict[str, str]:
        """The columns that this API does not know, with their types."""
        return {name: type_ for name, type_ in self.columns.items() if name not in _MEMBERS}

    def __str__(self) -> str:
        lines = {
            "table": f"{self.table.text}: {self.tasks} tasks of {self.users} users",
            **self._about_ids(),
        }
        if _WITHOUT_ZONE in self.columns.values():
            lines["times"] = f"times without a time zone are read as {self.zone}"
        if self.unknown:
            names = ", ".join(self.unknown)
            lines["columns"] = f"{names}: kept in the table, not shown by the API, may be null"
        lines["replaced"] = "the old table, with its indexes, constraints and triggers"
        if self.hides_tasks:
            lines["hidden"] = (
                "row-level security hides tasks from this role, too: its count(*) is 0"
            )
        return "\n".join(f"  {name:<12}{printable(text)}" for name, text in lines.items())

    def _about_ids(self) -> dict[str, str]:
        if not self.keeps_ids:
            new = "new UUIDs in the order of creation; the old ids stay in the column legacy_id"
            return {"ids": new}
        if self.random_ids:
            kept = f"kept; {self.random_ids} of them do not grow with time, so the list shows these"
            rest = "  tasks in the order of their ids (IDS=new gives all tasks new ids instead)"
            return {"ids": kept, "": rest}
        return {"ids": "kept"}


def find_table(connection: psycopg.Connection, name: str) -> Table | None:
    """Return the table of this name, or the one that may be it; None if all are adopted.

    Raise AdoptionError if there is none, more than one, or another where the new one has to be.
    """
    if name:
        given = name if "." in name else f"public.{name}"
        found = connection.execute(_NAMED, (given,)).fetchall()
    else:
        found = connection.execute(OLD_TABLES).fetchall()
    tables = [Table(*row) for row in found]
    is_ours = connection.execute(IS_OURS).rowcount
    if not tables and is_ours and not name:
        return None
    if not tables:
        raise AdoptionError(
            f"There is no table {name or 'task or tasks'}; TABLE=schema.name names the old one,"
            " and an empty database needs `make migrate` alone"
        )
    if len(tables) > 1:
        names = " and ".join(table.text for table in tables)
        raise AdoptionError(
            f"{names} may both be the old table; name it, as TABLE={tables[0].text}"
        )
    (table,) = tables
    if not is_ours and connection.execute(_IN_THE_WAY, (table.oid,)).rowcount:
        raise AdoptionError("The tasks go into public.tasks, and another table has that name")
    return table


_NAMED = """
SELECT pg_class.oid, nspname, relname, pg_class.oid::regclass::text
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE pg_class.oid = to_regclass(%s)
"""
_IN_THE_WAY = "SELECT FROM pg_class WHERE oid = to_regclass('public.tasks') AND oid <> %s"


def plan(connection: psycopg.Connection, table: Table, *, new_ids: bool, zone: str) -> Adoption:
    """Look at the table and say what adopting it means. Raise AdoptionError."""
    _check_owner(connection, table)
    columns: dict[str, str] = dict(connection.execute(_COLUMNS, (table.oid,)).fetchall())
    _check_columns(table, columns)
    _check_rows(connection, table)
    known = connection.execute("SELECT FROM pg_timezone_names WHERE name = %s", (zone,))
    if not known.rowcount:
        raise AdoptionError(f"Postgres knows no time zone {zone}; ZONE=Europe/Berlin is one")
    keeps_ids = columns["id"] == "uuid" and not new_ids
    if not keeps_ids and "legacy_id" in columns:
        raise AdoptionError("The old ids go into a column legacy_id; rename the one that is there")
    (counts,) = connection.execute(table.query(_COUNTS)).fetchall()
    return Adoption(table, columns, keeps_ids, zone, *counts)


_COLUMNS = """
SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_COUNTS: LiteralString = """
SELECT (SELECT NOT (rolsuper OR rolbypassrls) FROM pg_roles WHERE rolname = current_user),
       count(*), count(DISTINCT user_id), count(*) FILTER (WHERE substr(id::text, 15, 1) <> '7')
FROM {table}
"""


def _check_owner(connection: psycopg.Connection, table: Table) -> None:
    """Refuse another role's table: its triggers, rules and views would run with our rights."""
    if connection.execute(_OWNER, (table.oid,)).fetchone() != (True,):
        raise AdoptionError(
            f"{table.text} is not an ordinary table of this role; adopt as its owner"
        )


_OWNER = """
SELECT relkind = 'r' AND relowner = (SELECT oid FROM pg_roles WHERE rolname = current_user)
FROM pg_class WHERE oid = %s
"""


def _check_columns(table: Table, columns: Mapping[str, str]) -> None:
    for name, types in _NEEDED.items():
        if name not in columns:
            raise AdoptionError(f"The table {table.text} has no column {name}")
        if types and columns[name] not in types:
            allowed = " or ".join(types)
            raise AdoptionError(f"The column {name} is {columns[name]}; it has to be {allowed}")


def _check_rows(connection: psycopg.Connection, table: Table) -> None:
    """Refuse what this API cannot store, by id: nothing is cut short or left out."""
    if connection.execute("SELECT WHERE row_security_active(%s::oid)", (table.oid,)).rowcount:
        raise AdoptionError("Row-level security may hide tasks from this role; disable it first")
    for number, rule, ids in connection.execute(table.query(_MISFITS)).fetchall():
        raise AdoptionError(f"Some tasks ({number}) {rule}; change them first (ids: {ids})")


_MISFITS: LiteralString = """
SELECT count(*), rule, array_to_string((array_agg(id ORDER BY id))[:20], ', ')
FROM (
    SELECT id, CASE
        WHEN coalesce(user_id::text, '') = '' THEN 'have no user'
        WHEN char_length(user_id::text) > 255 THEN 'have a user id of more than 255 characters'
        WHEN coalesce(title, '') = '' THEN 'have no title'
        WHEN char_length(title) > 500 THEN 'have a title of more than 500 characters'
        WHEN char_length(description) > 5000
            THEN 'have a description of more than 5000 characters'
        -- An id has to grow with time, and Python has to read the times.
        WHEN least(created_at, updated_at) < '1971-01-01'
            OR greatest(created_at, updated_at) >= '9999-01-01'
            THEN 'have a time that is not between the years 1971 and 9998'
    END AS rule FROM {table}
) AS judged
WHERE rule IS NOT NULL GROUP BY rule LIMIT 1
"""


def adopt(connection: psycopg.Connection, adoption: Adoption, runner: Runner) -> None:
    """Do it in the transaction that is open. Raise AdoptionError and MigrationError."""
    copied = _replace(connection, adoption, runner)
    if copied != adoption.tasks:
        raise AdoptionError(f"Only {copied} of {adoption.tasks} tasks could be copied")


def rehearse(connection: psycopg.Connection, adoption: Adoption, runner: Runner) -> None:
    """Do everything but the copying of rows, and take it back. Raise as `adopt` does."""
    logging.disable(logging.WARNING)  # the runner would say that it took rights away
    try:
        with connection.transaction(force_rollback=True):
            _replace(connection, adoption, runner, at_most=0)
    finally:
        logging.disable(logging.NOTSET)


def _replace(
    connection: psycopg.Connection,
    adoption: Adoption,
    runner: Runner,
    at_most: int | None = None,
) -> int:
    """Put the new table in the old one's place; return the number of tasks that were copied."""
    aside = adoption.table._replace(schema="before_adoption")
    connection.execute("CREATE SCHEMA before_adoption")
    # In a schema of its own, none of its indexes has a name that a migration needs.
    connection.execute(adoption.table.query("ALTER TABLE {table} SET SCHEMA before_adoption"))
    runner.run_on(connection)
    # The owner copies rows of all users, which the policy would hide.
    connection.execute("ALTER TABLE public.tasks NO FORCE ROW LEVEL SECURITY")
    copied = _copy(connection, adoption, aside, at_most)
    connection.execute("ALTER TABLE public.tasks FORCE ROW LEVEL SECURITY")
    try:
        connection.execute(aside.query("DROP TABLE {table}"))
    except psycopg.errors.DependentObjectsStillExist as error:
        users = "; ".join((error.diag.message_detail or "").splitlines())
        raise AdoptionError(f"Something else uses the old table; drop it first: {users}") from None
    connection.execute("DROP SCHEMA before_adoption")
    return copied


def _copy(
    connection: psycopg.Connection, adoption: Adoption, aside: Table, at_most: int | None
) -> int:
    """Copy tasks, with the columns that only the old table has; return how many there were."""
    added = adoption.unknown if adoption.keeps_ids else {"legacy_id": "text", **adoption.unknown}
    for name, type_ in added.items():
        column = sql.SQL("ALTER TABLE public.tasks ADD COLUMN IF NOT EXISTS {} {}")
        connection.execute(column.format(sql.Identifier(name), sql.SQL(type_)))
    columns = [name for name in _MEMBERS if name in adoption.columns] + list(added)
    values = _VALUES | ({} if adoption.keeps_ids else {"id": _NEW_ID, "legacy_id": "id::text"})
    connection.execute("SELECT set_config('TimeZone', %s, true)", (adoption.zone,))
    insert = aside.query(
        _INSERT,
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        values=sql.SQL(", ").join(
            sql.SQL(values[name]) if name in values else sql.Identifier(name) for name in columns
        ),
        at_most=sql.Literal(at_most),
    )
    return connection.execute(insert).rowcount


# A cast to timestamptz reads a time without a zone in the session's zone.
_INSERT: LiteralString = """
INSERT INTO public.tasks ({columns})
SELECT {values}
FROM (
    SELECT *, row_number() OVER (ORDER BY created_at, id) AS new_number,
           coalesce(created_at::timestamptz, now()) AS new_created_at
    FROM {table}
) AS old
LIMIT {at_most}
"""

# A UUID of version 7 (RFC 9562): 48 bits of milliseconds; then the row's number, which keeps the
# order of tasks of the same millisecond; then 30 random bits.
_NEW_ID = """
    (lpad(to_hex(floor(extract(epoch FROM new_created_at) * 1000)::bigint), 12, '0') || '7000'
     || to_hex((2::bigint << 62) | (new_number << 30) | floor(random() * (1 << 30))::bigint)
    )::uuid
"""
# What is written for a member; others are copied as they are.
_VALUES: dict[str, LiteralString] = {
    "user_id": "user_id::text",
    "completed": "coalesce(completed, false)",
    "created_at": "new_created_at",
    "updated_at": "coalesce(updated_at::timestamptz, new_created_at)",
}


def main() -> None:
    """Show the plan, ask, and do it; an error or a no is one sentence and exit status 1."""
    with as_owner(" Nothing was changed.") as connection:
        _adopt_or_explain(connection, Runner("", migrations(MIGRATIONS)))


def _adopt_or_explain(connection: psycopg.Connection, runner: Runner) -> None:
    new_ids, zone = os.environ.get("IDS") == "new", os.environ.get("ZONE") or "UTC"
    with direct_transaction(connection):
        check_database(connection)
        table = find_table(connection, os.environ.get("TABLE", ""))
        if table is None:
            print("This database is adopted already; make migrate brings its schema up to date.")
            return
        adoption = plan(connection, table, new_ids=new_ids, zone=zone)
        rehearse(connection, adoption, runner)
    # No transaction is open while the question is: the old system goes on working.
    print(f"Adopting the database {printable(connection.info.dbname)}:\n{adoption}", flush=True)
    if os.environ.get("YES") != "1" and not _agrees():
        raise AdoptionError("Answer yes, or say YES=1, to adopt it")
    with direct_transaction(connection):
        connection.execute(table.query("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        adopt(connection, plan(connection, table, new_ids=new_ids, zone=zone), runner)
    print("Done: the database is adopted.")


def _agrees() -> bool:
    return sys.stdin.isatty() and input("Adopt it now? (yes/no) ").strip().lower() == "yes"


if __name__ == "__main__":
    main()
