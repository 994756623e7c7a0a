"""The database behind the API, and `make psql` and `make reset`: opened by hand, and emptied."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from deploy.printable import printable
from local.errors import LocalError
from local.postgres import BINARIES, Postgres
from local.settings import Settings

_API_ROLE = "task_api"  # made by the schema
_API_LOGIN = "task_login"
_CONNECT_SECONDS = 10
_VERIFYING = ("require", "verify-ca", "verify-full")
OF_ANOTHER = "{place} has the tasks of another application: `make adopt` moves them in."
_STATE = """
    SELECT EXISTS (SELECT FROM pg_attribute  -- a login without rights sees it, too
                   WHERE attrelid = to_regclass('schema_migrations') AND attname = 'checksum'),
           to_regclass('tasks') IS NOT NULL OR to_regclass('task') IS NOT NULL
"""


def embedded_postgres(
    settings: Settings, progress: Callable[[str], None], *, shared: bool = False
) -> Postgres | None:
    """Return this checkout's own Postgres, not yet started; None when DATABASE_URL is given."""
    if settings.database_url:
        return None
    return Postgres(settings.state / "postgres", shared=shared, progress=progress)


def environ_with(settings: Settings, postgres: Postgres | None) -> Mapping[str, str]:
    """Return the variables that set the parameters of the template.

    As on Neon, the API has a login that owns nothing; only Migrate is the database's owner.
    """
    if postgres is None:
        return settings.environ
    api = postgres.url_for(_API_LOGIN, "tasks")
    return {**settings.environ, "DATABASE_URL": api, "OWNER_DATABASE_URL": postgres.url}


def create_api_login(postgres: Postgres) -> None:
    """Create the API's login after the schema has created the role of the API."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        known = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        if _API_LOGIN not in known:
            member = f"IN ROLE {_API_ROLE}" if _API_ROLE in known else ""
            connection.execute(f"CREATE ROLE {_API_LOGIN} LOGIN NOINHERIT {member}")


def place_of(url: str) -> str:
    """Return the database and the host of a connection string, and nothing secret."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return "the one in DATABASE_URL"
    if "@" in f"{parts.get('dbname')}{parts.get('host')}":  # a part of the password
        return "the one in DATABASE_URL"
    return printable(f"{parts.get('dbname')} on {parts.get('host')}")


def check_database(settings: Settings) -> None:
    """Ask before the schema goes into a database that is neither embedded nor this API's yet.

    Raise LocalError unless a person agrees, or YES=1 is set, and when the database has the tasks of
    another application. A database that cannot be reached is left to Migrate, which says why.
    """
    if not settings.database_url:
        return
    url = settings.environ.get("OWNER_DATABASE_URL", settings.database_url)
    try:
        with psycopg.connect(url, **_encrypted(url)) as connection:
            is_ours, has_tasks = connection.execute(_STATE).fetchone() or (True, False)
    except psycopg.Error:
        return
    if not is_ours and has_tasks:
        raise LocalError(OF_ANOTHER.format(place=place_of(url)))
    if not is_ours and settings.environ.get("YES") != "1":
        _confirm(f"Create the tables of this API in {place_of(url)}?", "nothing was created")


def _encrypted(url: str) -> dict[str, Any]:
    """Return connection options that encrypt every connection to another machine.

    Migrate connects next and also verifies the server's certificate.
    """
    given = conninfo_to_dict(url)
    host, mode = str(given.get("host") or ""), given.get("sslmode")
    is_local = host.startswith("/") or host in ("", "localhost", "127.0.0.1", "::1")
    options = {} if is_local or mode in _VERIFYING else {"sslmode": "require"}
    return {"connect_timeout": _CONNECT_SECONDS, "sslcertmode": "disable", **options}


def psql(settings: Settings) -> int:
    """Open psql as the database's owner, and start the server for it where none runs.

    Raise LocalError when there is no database yet.
    """
    postgres = _embedded(settings)
    if not postgres.exists():
        raise LocalError("There is no database yet: `make run` makes it.")
    with postgres:
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C cancels a query in psql
        return subprocess.run([BINARIES / "psql", postgres.url], check=False).returncode


def reset(settings: Settings) -> int:
    """Delete the embedded database; the next start makes an empty one.

    It asks first, unless YES=1 is set. Raise LocalError while something uses the database.
    """
    postgres = _embedded(settings)
    if not postgres.exists():
        print("There is no database; `make run` makes an empty one.")
        return 0
    with postgres.locked():
        if settings.environ.get("YES") != "1":
            _confirm("Delete every task in the embedded database?", "nothing was deleted")
        postgres.delete()
    print("The database is deleted; `make run` makes an empty one.")
    return 0


def _embedded(settings: Settings) -> Postgres:
    postgres = embedded_postgres(settings, print, shared=True)
    if postgres is None:
        raise LocalError("DATABASE_URL names another database; this is for the embedded one.")
    return postgres


def _confirm(question: str, otherwise: str) -> None:
    """Raise LocalError unless a person agrees."""
    try:
        said = input(f"{question} [y/N] ")
    except (EOFError, KeyboardInterrupt):
        raise LocalError(
            f"{question} Nobody answered, so {otherwise}; YES=1 answers yes."
        ) from None
    if said.strip().lower() not in ("y", "yes"):
        raise LocalError(f"{otherwise.capitalize()}.")
