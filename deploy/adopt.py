"""Adopt a database of a FastAPI + SQLModel task API: `python -m deploy.adopt`, or `make adopt`.

The old table `tasks` is moved aside, the migrations make the new one, every task is copied, and the
old table is dropped: all in one transaction, so that a failure changes nothing. Nothing of the old
text stays behind, because a deleted task must be gone. Columns that this API does not know move
along with their rows.

`DATABASE_URL` names the database; its role must own the table. `YES=1` answers the question.
`IDS=new` gives new ids to tasks that have UUIDs, too. `ZONE` is the time zone of times that have
none (UTC unless set).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from runner import MigrationError, Runner, migrations

from neon import ConfigurationError, direct_conninfo

_MIGRATIONS = Path(__file__).parent.parent / "functions" / "migrate" / "migrations"
_ASIDE = "tasks_before_adoption"
_NEEDED = ("id", "user_id", "title", "completed")
_OPTIONAL = ("description", "created_at", "updated_at")
_OURS = ("schema_migrations", "idempotency_keys")
_INTEGERS = ("smallint", "integer", "bigint")
_TIMES = {"timestamp without time zone", "timestamp with time zone"}


class AdoptionError(Exception):
    """The database cannot be adopted; the text says why, and nothing was changed."""


@dataclass(frozen=True, slots=True)
class OldTable:
    """The table to adopt: its schema, and its columns with their types."""

    schema: str
    columns: Mapping[str, str]

    @property
    def name(self) -> sql.Composable:
        """The table's full name, quoted."""
        return sql.Identifier(self.schema, "tasks")

    @property
    def has_uuids(self) -> bool:
        """Whether the ids are UUIDs, which can be kept."""
        return self.columns["id"] == "uuid"

    @property
    def unknown(self) -> dict[str, str]:
        """The columns that this API does not know."""
        known = {*_NEEDED, *_OPTIONAL}
        return {name: type_ for name, type_ in self.columns.items() if name not in known}


@dataclass(frozen=True, slots=True)
class Adoption:
    """What is going to be done with a database."""

    old: OldTable
    tasks: int
    users: int
    keeps_ids: bool
    random_ids: int
    zone: str

    def __str__(self) -> str:
        return "\n".join(f"  {name:<12}{text}" for name, text in self._lines())

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield "table", f"{self.old.schema}.tasks: {self.tasks} tasks of {self.users} users"
        yield "ids", self._about_ids()
        if "timestamp without time zone" in self.old.columns.values():
            yield "times", f"times without a time zone are read as {self.zone}"
        if self.old.unknown:
            names = ", ".join(self.old.unknown)
            yield "columns", f"{names}: kept in the table, not shown by the API, may be null"
        yield "replaced", "the old table, with its indexes, constraints and triggers"

    def _about_ids(self) -> str:
        if not self.keeps_ids:
            return "new UUIDs in the order of creation; the old ids stay in the column legacy_id"
        if self.random_ids:
            return (
                f"kept; {self.random_ids} of them do not grow with time, so the list shows these\n"
                f"{'':14}tasks in the order of their ids (IDS=new gives all tasks new ids instead)"
            )
        return "kept"


def plan(connection: psycopg.Connection, *, new_ids: bool, zone: str) -> Adoption:
    """Look at the database and say what adopting it means. Raises AdoptionError."""
    old = _old_table(connection)
    _check_columns(old)
    _check_zone(connection, zone)
    _check_free(connection, old)
    _check_rows(connection, old)
    keeps_ids = old.has_uuids and not new_ids
    ((tasks, users, random_ids),) = connection.execute(
        sql.SQL(
            """
            SELECT count(*), count(DISTINCT user_id),
                   count(*) FILTER (WHERE substr(id::text, 15, 1) <> '7')
            FROM {}
            """
        ).format(old.name)
    ).fetchall()
    return Adoption(old, tasks, users, keeps_ids, random_ids, zone)


def adopt(connection: psycopg.Connection, adoption: Adoption, runner: Runner) -> None:
    """Do it in the transaction that is open. Raises AdoptionError and MigrationError."""
    aside = sql.Identifier(_ASIDE)
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(aside))
    # In a schema of its own, none of its indexes has a name that a migration needs.
    connection.execute(sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(adoption.old.name, aside))
    runner.run_on(connection)
    _add_columns(connection, adoption)
    _copy(connection, adoption)
    ((copied,),) = connection.execute("SELECT count(*) FROM tasks").fetchall()
    if copied != adoption.tasks:
        raise AdoptionError(f"Only {copied} of {adoption.tasks} tasks could be copied")
    connection.execute("ALTER TABLE tasks FORCE ROW LEVEL SECURITY")
    _drop_old(connection)


def _old_table(connection: psycopg.Connection) -> OldTable:
    """The table `tasks` that the connection's search path finds."""
    rows = connection.execute(
        """
        SELECT relnamespace::regnamespace::text, attname, format_type(atttypid, NULL)
        FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
        WHERE pg_class.oid = to_regclass('tasks') AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum
        """
    ).fetchall()
    if not rows:
        raise AdoptionError("There is no table tasks; make migrate is all that this database needs")
    return OldTable(rows[0][0], {name: type_ for _, name, type_ in rows})


def _is_adopted(connection: psycopg.Connection) -> bool:
    """Whether this API's migrations have run here, and not another program's."""
    if not connection.execute("SELECT to_regclass('schema_migrations')").fetchall()[0][0]:
        return False
    ours = "SELECT FROM schema_migrations AS row WHERE to_jsonb(row) ->> 'name' = '0001_tasks'"
    return bool(connection.execute(ours).fetchall())


def _check_columns(old: OldTable) -> None:
    if missing := [name for name in _NEEDED if name not in old.columns]:
        raise AdoptionError(f"The table tasks has no column {', '.join(missing)}")
    if old.columns["id"] not in ("uuid", *_INTEGERS):
        raise AdoptionError(f"The ids are {old.columns['id']}; they have to be integers or UUIDs")
    if old.columns["completed"] != "boolean":
        raise AdoptionError("The column completed has to be a boolean")
    for name in ("created_at", "updated_at"):
        if old.columns.get(name, "timestamp with time zone") not in _TIMES:
            raise AdoptionError(f"The column {name} has to be a timestamp")


def _check_zone(connection: psycopg.Connection, zone: str) -> None:
    known = "SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = %s)"
    if not connection.execute(known, (zone,)).fetchall()[0][0]:
        raise AdoptionError(f"Postgres knows no time zone {zone}; ZONE=Europe/Berlin is one")


def _check_free(connection: psycopg.Connection, old: OldTable) -> None:
    """Refuse where a table of another program has a name that the migrations need."""
    for name in _OURS:
        if connection.execute("SELECT to_regclass(%s)", (name,)).fetchall()[0][0]:
            raise AdoptionError(f"There is a table {name} of another program; rename it first")
    referring = connection.execute(
        "SELECT DISTINCT conrelid::regclass::text FROM pg_constraint"
        " WHERE contype = 'f' AND confrelid = %s::regclass AND conrelid <> confrelid",
        (f'"{old.schema}".tasks',),
    ).fetchall()
    if referring:
        names = ", ".join(name for (name,) in referring)
        raise AdoptionError(f"Other tables refer to tasks: {names}; drop their foreign keys first")


def _check_rows(connection: psycopg.Connection, old: OldTable) -> None:
    """Refuse what this API cannot store, by id: nothing is cut short or left out."""
    description = "description" if "description" in old.columns else "NULL"
    for rule, condition in (
        ("have no user", "coalesce(user_id::text, '') = ''"),
        ("have a user id of more than 255 characters", "char_length(user_id::text) > 255"),
        ("have no title", "coalesce(title, '') = ''"),
        ("have a title of more than 500 characters", "char_length(title) > 500"),
        (
            "have a description of more than 5000 characters",
            f"char_length({description}) > 5000",
        ),
    ):
        rows = connection.execute(
            sql.SQL("SELECT id::text FROM {} WHERE {} ORDER BY id LIMIT 6").format(
                old.name, sql.SQL(condition)
            )
        ).fetchall()
        if rows:
            ids = ", ".join(id_ for (id_,) in rows[:5]) + (", ..." if len(rows) > 5 else "")
            raise AdoptionError(f"Some tasks {rule}; change them first (ids: {ids})")


def _add_columns(connection: psycopg.Connection, adoption: Adoption) -> None:
    """Give the new table the columns that only the old one has."""
    columns = dict(adoption.old.unknown)
    if not adoption.keeps_ids:
        columns = {"legacy_id": "text", **columns}
    for name, type_ in columns.items():
        connection.execute(
            sql.SQL("ALTER TABLE tasks ADD COLUMN {} {}").format(
                sql.Identifier(name), sql.SQL(type_)
            )
        )
    # The owner copies rows of all users, which the policy would hide. `adopt` forces it again.
    connection.execute("ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY")


def _copy(connection: psycopg.Connection, adoption: Adoption) -> None:
    old = adoption.old
    values: dict[str, sql.Composable] = {
        "user_id": sql.SQL("user_id::text"),
        "id": sql.SQL("id" if adoption.keeps_ids else _NEW_ID),
        "title": sql.SQL("title"),
        "description": sql.SQL("description" if "description" in old.columns else "NULL"),
        "completed": sql.SQL("coalesce(completed, false)"),
        "created_at": sql.SQL("new_created_at"),
        "updated_at": sql.SQL("new_updated_at"),
    }
    if not adoption.keeps_ids:
        values["legacy_id"] = sql.SQL("id::text")
    values |= {name: sql.Identifier(name) for name in old.unknown}
    connection.execute(
        sql.SQL("INSERT INTO tasks ({}) SELECT {} FROM ({}) AS old").format(
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(values.values()),
            _numbered(adoption),
        )
    )


# A UUID of version 7 (RFC 9562): 48 bits of milliseconds and 12 of their fraction; then the row's
# number, which keeps the order of tasks of the same microsecond; then 30 random bits.
_NEW_ID = """
    (lpad(to_hex(floor(extract(epoch FROM new_created_at) * 1000)::bigint), 12, '0') || '7'
     || lpad(
         to_hex(extract(microseconds FROM new_created_at)::bigint % 1000 * 4096 / 1000), 3, '0'
     )
     || to_hex((2::bigint << 62) | (new_number << 30) | floor(random() * (1 << 30))::bigint)
    )::uuid
"""


def _numbered(adoption: Adoption) -> sql.Composable:
    """The old rows in the order of their creation, with times that have a zone."""
    created, updated = (_time(adoption, name) for name in ("created_at", "updated_at"))
    return sql.SQL(
        """
        SELECT *, row_number() OVER (ORDER BY new_created_at, id) AS new_number
        FROM (
            SELECT *, coalesce({created}, now()) AS new_created_at,
                   coalesce({updated}, {created}, now()) AS new_updated_at
            FROM {table}
        ) AS timed
        """
    ).format(created=created, updated=updated, table=sql.Identifier(_ASIDE, "tasks"))


def _time(adoption: Adoption, name: str) -> sql.Composable:
    match adoption.old.columns.get(name):
        case None:
            return sql.SQL("NULL::timestamptz")
        case "timestamp without time zone":
            return sql.SQL("{} AT TIME ZONE {}").format(sql.Identifier(name), adoption.zone)
    return sql.Identifier(name)


def _drop_old(connection: psycopg.Connection) -> None:
    try:
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(_ASIDE, "tasks")))
    except psycopg.errors.DependentObjectsStillExist as error:
        detail = (error.diag.message_detail or "").partition("\n")[0]
        raise AdoptionError(f"Something else uses the old table; drop it first: {detail}") from None
    connection.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(_ASIDE)))


def main() -> None:
    """Show the plan, ask, and do it; what goes wrong is one sentence and exit status 1."""
    url = os.environ.get("DATABASE_URL", "")
    try:
        runner = Runner(url, migrations(_MIGRATIONS))
        with psycopg.connect(direct_conninfo(url), connect_timeout=15) as connection:
            _adopt_or_explain(connection, runner)
    except (AdoptionError, ConfigurationError, MigrationError) as error:
        sys.exit(f"{error}. Nothing was changed.")
    except psycopg.Error as error:
        sentence = str(error).strip().partition("\n")[0]
        sys.exit(f"Postgres refuses: {sentence}. Nothing was changed.")


def _adopt_or_explain(connection: psycopg.Connection, runner: Runner) -> None:
    if _is_adopted(connection):
        print("This database is adopted already; make migrate brings its schema up to date.")
        return
    new_ids, zone = os.environ.get("IDS") == "new", os.environ.get("ZONE") or "UTC"
    adoption = plan(connection, new_ids=new_ids, zone=zone)
    connection.rollback()  # the old system goes on working while the question is open
    print(f"Adopting the database {connection.info.dbname}:\n{adoption}", flush=True)
    if not _is_agreed():
        print("Nothing was changed. Answer yes, or say YES=1, to adopt it.")
        return
    connection.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
    adopt(connection, plan(connection, new_ids=new_ids, zone=zone), runner)
    connection.commit()
    print("Done: the database is adopted.")


def _is_agreed() -> bool:
    if os.environ.get("YES") == "1":
        return True
    return sys.stdin.isatty() and input("Adopt it now? (yes/no) ").strip().lower() == "yes"


if __name__ == "__main__":
    main()
