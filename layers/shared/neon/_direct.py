"""Transactions on the direct host, for migrations: their settings are ours, whatever was planted.

`ALTER ROLE ... SET` and `ALTER DATABASE ... SET` reach every session. They could change how values
are read and written, which table a name means, or when a statement ends. What is set here ends with
the transaction: behind a pooler that is not Neon's, the session belongs to the next client, too.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from neon._address import direct_conninfo
from neon._errors import UnavailableError
from neon._refusal import said, without_quoted

_CONNECT_SECONDS = 15
# A proxy may have dropped the encoding on the way.
_OURS = """
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),
       pg_catalog.set_config('client_encoding', 'UTF8', true)
"""
# What a role or a database has set goes back to Postgres' own default.
_UNDO = """
SELECT set_config(name, boot_val, true) FROM pg_settings
WHERE source IN ('database', 'user', 'database user') AND context = 'user'
  AND name NOT IN ('search_path', 'client_encoding')
"""


def direct_connection(url: str) -> psycopg.Connection:
    """Connect to the direct host with psycopg, in autocommit mode, for `direct_transaction`.

    Raise ConfigurationError for an unsuitable connection string and UnavailableError when the
    connection fails; neither repeats a part of the string.
    """
    try:
        connection = psycopg.connect(
            direct_conninfo(url),
            autocommit=True,
            connect_timeout=_CONNECT_SECONDS,
            prepare_threshold=None,  # a pooler gives the next transaction to another session
        )
    except psycopg.OperationalError as error:
        text = str(error).partition("\n")[0].removeprefix("connection failed: ")
        raise UnavailableError(without_quoted(said(text))) from None
    # Each transaction begins with these, because their defaults may have been changed.
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    connection.read_only = False
    return connection


@contextmanager
def direct_transaction(connection: psycopg.Connection) -> Iterator[None]:
    """Run a transaction, or a savepoint in one, whose settings are ours.

    Only Postgres' own functions and operators are found without a schema's name: in a schema where
    others may create, they could plant one that runs with this session's rights.
    """
    with connection.transaction():
        connection.execute(_OURS)
        connection.execute(_UNDO)
        yield
