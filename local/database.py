"""The database behind the API, and `make psql` and `make reset`: opened by hand, and emptied."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Mapping

import psycopg

from local.errors import LocalError
from local.postgres import BINARIES, Postgres
from local.settings import Settings

_API_ROLE = "task_api"  # made by the schema
_API_LOGIN = "task_login"


def embedded_postgres(
    settings: Settings, progress: Callable[[str], None], *, shared: bool = False
) -> Postgres | None:
    """Return this checkout's own Postgres, not yet started; None when DATABASE_URL is given."""
    if settings.database_url:
        return None
    return Postgres(settings.state / "postgres", shared=shared, progress=progress)


def environ_with(settings: Settings, postgres: Postgres | None) -> Mapping[str, str]:
    """Return what template parameters are taken from.

    As on Neon, the API has a login that owns nothing; only Migrate is the database's owner.
    """
    if postgres is None:
        return settings.environ
    api = postgres.url_for(_API_LOGIN, "tasks")
    return {**settings.environ, "DATABASE_URL": api, "OWNER_DATABASE_URL": postgres.url}


def let_the_api_in(postgres: Postgres) -> None:
    """Make the API's login once the schema has made the role that it acts as."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        known = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        if _API_LOGIN not in known:
            member = f"IN ROLE {_API_ROLE}" if _API_ROLE in known else ""
            connection.execute(f"CREATE ROLE {_API_LOGIN} LOGIN NOINHERIT {member}")


def psql(settings: Settings) -> int:
    """Open psql as the database's owner, and start the server for it where none runs.

    Raises LocalError when there is no database yet.
    """
    postgres = _embedded(settings)
    if not postgres.exists():
        raise LocalError("There is no database yet: `make run` makes it.")
    with postgres:
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C cancels a query in psql
        return subprocess.run([BINARIES / "psql", postgres.url], check=False).returncode


def reset(settings: Settings) -> int:
    """Delete the embedded database; the next start makes an empty one.

    It asks first, unless YES=1 is set. Raises LocalError while something uses the database.
    """
    postgres = _embedded(settings)
    if not postgres.exists():
        print("There is no database; `make run` makes an empty one.")
        return 0
    with postgres.locked():
        if settings.environ.get("YES") != "1":
            _confirm()
        postgres.delete()
    print("The database is deleted; `make run` makes an empty one.")
    return 0


def _embedded(settings: Settings) -> Postgres:
    postgres = embedded_postgres(settings, print, shared=True)
    if postgres is None:
        raise LocalError("DATABASE_URL names another database; this is for the embedded one.")
    return postgres


def _confirm() -> None:
    """Raise LocalError unless a person agrees."""
    try:
        said = input("Delete every task in the embedded database? [y/N] ")
    except (EOFError, KeyboardInterrupt):
        raise LocalError("Nobody answered, so nothing was deleted; YES=1 answers yes.") from None
    if said.strip().lower() not in ("y", "yes"):
        raise LocalError("Nothing was deleted.")
