"""Bring a database's schema up to date: `python -m deploy.migrate`, or `make migrate`."""

import os
from pathlib import Path

import psycopg
from runner import MigrationError, Runner, migrations

from deploy.connection_string import as_owner
from neon import direct_transaction

MIGRATIONS = Path(__file__).parent.parent / "functions" / "migrate" / "migrations"
# The policy of the migrations.
IS_OURS = (
    "SELECT FROM pg_policy WHERE polrelid = to_regclass('public.tasks') AND polname = 'own_tasks'"
)
# What may be the table of an old task API; SQLModel calls it `task` unless told otherwise.
OLD_TABLES = """
SELECT pg_class.oid, nspname, relname, pg_class.oid::regclass::text
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE lower(relname) IN ('task', 'tasks') AND relkind IN ('r', 'p', 'v', 'm', 'f')
  AND nspname !~ '^(pg_|information_schema$)'
  AND NOT EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid AND polname = 'own_tasks')
ORDER BY 4
"""


def main() -> None:
    """Apply the missing migrations and print them; an error is one sentence and exit status 1."""
    with as_owner() as connection:
        if os.environ.get("YES") != "1":
            _check_old_tables(connection)
        applied = Runner("", migrations(MIGRATIONS)).run_on(connection)
    print(f"Applied: {', '.join(applied) or 'nothing, the schema is up to date'}")


def _check_old_tables(connection: psycopg.Connection) -> None:
    """Raise MigrationError for the database of another task API, whose tasks nobody would see."""
    with direct_transaction(connection):
        found = connection.execute(OLD_TABLES).fetchall()
        if found and not connection.execute(IS_OURS).rowcount:
            raise MigrationError(
                f"There is a table {found[0][3]}: `make adopt` moves its tasks in;"
                " YES=1 makes the tables of this API beside it"
            )


if __name__ == "__main__":
    main()
