"""Where a connection string comes from: the environment, a terminal, or standard input.

Never an argument: `ps` shows arguments to everybody, and make and the shell expand what is in them.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from runner import MigrationError

from deploy.environments import ask
from deploy.printable import printable
from neon import ConfigurationError, UnavailableError, direct_connection


@contextmanager
def as_owner(ending: str = "") -> Iterator[psycopg.Connection]:
    """Connect to the direct host as the database's owner.

    An error here or within is one sentence, followed by `ending`, and exit status 1.
    """
    try:
        with direct_connection(_read_connection_string()) as connection:
            yield connection
    except UnavailableError as error:
        sentence = f"The database cannot be reached: {error}"
    except (ConfigurationError, MigrationError) as error:
        sentence = str(error)
    except psycopg.Error as error:
        sentence = "Postgres refuses: " + str(error).strip().partition("\n")[0]
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            sentence += "; give the connection string of the database's owner"
    except (KeyboardInterrupt, EOFError):
        sentence = "Nobody answered"
    else:
        return
    sys.exit(printable(f"{sentence}.{ending}"))


def _read_connection_string() -> str:
    """Return DATABASE_URL, or what is typed or piped in when it is not set."""
    question = "Connection string of the database's owner:"
    given = os.environ.pop("DATABASE_URL", "") or ask(question, is_secret=True)
    if not given.partition("://")[0].strip(" \n\"'").startswith("postgres"):
        raise ConfigurationError(
            "DATABASE_URL has to be a connection string that starts with postgresql://"
            if given
            else "Set DATABASE_URL, or type the connection string of the database's owner"
        )
    return given
