"""A session on the direct host, for migrations: its settings are ours, whatever was planted.

`ALTER ROLE ... SET` and `ALTER DATABASE ... SET` reach every session. They could change how values
are read and written, which table a name means, or when a statement ends.
"""

import psycopg

from neon._address import direct_conninfo
from neon._errors import UnavailableError
from neon._refusal import said, without_quoted

_CONNECT_SECONDS = 15
# What a role or a database has set goes back to Postgres' own default.
_UNDO = """
SELECT set_config(name, boot_val, false) FROM pg_settings
WHERE source IN ('database', 'user', 'database user') AND context = 'user'
"""
_SEARCH_PATH = "SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false)"
# A proxy may have dropped the encoding on the way.
_ENCODING = "SELECT set_config('client_encoding', 'UTF8', false)"


def direct_connection(url: str) -> psycopg.Connection:
    """Connect to the direct host with psycopg, in autocommit mode.

    Only Postgres' own functions and operators are found without a schema's name: in a schema where
    others may create, they could plant one that runs with this session's rights. Raise
    ConfigurationError for an unsuitable connection string and UnavailableError when the connection
    fails; neither repeats a part of the string.
    """
    try:
        connection = psycopg.connect(
            direct_conninfo(url), autocommit=True, connect_timeout=_CONNECT_SECONDS
        )
    except psycopg.OperationalError as error:
        text = str(error).partition("\n")[0].removeprefix("connection failed: ")
        raise UnavailableError(without_quoted(said(text))) from None
    try:
        for statement in (_SEARCH_PATH, _UNDO, _ENCODING, _SEARCH_PATH):
            connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection
