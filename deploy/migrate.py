"""Bring a database's schema up to date: `python -m deploy.migrate`, or `make migrate`."""

import sys
from pathlib import Path

from runner import MigrationError, Runner, migrations

from deploy.connection_string import read_connection_string
from neon import ConfigurationError

MIGRATIONS = Path(__file__).parent.parent / "functions" / "migrate" / "migrations"


def main() -> None:
    """Apply the missing migrations and print them; an error is one sentence and exit status 1."""
    try:
        applied = Runner(read_connection_string(), migrations(MIGRATIONS)).run()
    except (ConfigurationError, MigrationError) as error:
        sys.exit(f"{error}.")
    print(f"Applied: {', '.join(applied) or 'nothing, the schema is up to date'}")


if __name__ == "__main__":
    main()
