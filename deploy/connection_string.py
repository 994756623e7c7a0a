"""Where a connection string comes from: the environment, a terminal, or standard input.

Never an argument: `ps` shows arguments to everybody, and make and the shell expand what is in them.
"""

import os

from deploy.environments import ask


def read_connection_string() -> str:
    """Return DATABASE_URL, or what is typed or piped in when it is not set."""
    if url := os.environ.pop("DATABASE_URL", ""):
        return url
    return ask("Connection string of the database's owner:", is_secret=True)
