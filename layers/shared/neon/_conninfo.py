"""The connection string: libpq reads it, one function writes it, and no message repeats it.

`urllib.parse` and libpq disagree about `#`, `?` and other characters in a password, so nothing
else takes a connection string apart.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from neon._errors import ConfigurationError

# `+psycopg2` and the like are SQLAlchemy's way of naming a driver.
_SCHEME = re.compile(r"(postgres|postgresql)(\+\w+)?://")
# A password with a raw `/` or `@` puts a part of itself into the host or the database's name, which
# error messages repeat.
_ONE_ACCOUNT = re.compile(r"\w+://([^@/]*@)?[^@]*")
_UNREADABLE = (
    "the database's connection string cannot be read:"
    " percent-encode : / ? # [ ] @ % and blanks in its user and password"
)
# Parameters of other clients. A message may name these, because they are no part of a password.
_FOREIGN = ("schema", "pgbouncer", "connection_limit", "pool_timeout", "sslaccept", "ssl")
_NEON = (".neon.tech", ".neon.build")


def clean_url(text: str) -> str:
    """Return a postgresql:// connection string without its wrapping; empty for other text.

    White space and quotes around it go, and so does the driver of `postgresql+psycopg2://`.
    """
    text = text.strip()
    if text[:1] in ("'", '"') and text[-1:] == text[:1]:
        text = text[1:-1].strip()
    scheme = _SCHEME.match(text)
    return f"{scheme[1]}://{text[scheme.end() :]}" if scheme else ""


def parse_conninfo(text: str) -> dict[str, str]:
    """Return the parameters of a connection string, as libpq reads them.

    Raise ConfigurationError for a string that cannot be read; the error repeats no part of it.
    """
    url = clean_url(text)
    if url and not _ONE_ACCOUNT.fullmatch(url):
        raise ConfigurationError(_UNREADABLE)
    if name := next((each for each in _FOREIGN if re.search(rf"[?&]{each}=", url)), ""):
        raise ConfigurationError(
            f"the database's connection string has the parameter {name}, which is another"
            " client's: remove it"
        )
    if "\0" in text:  # libpq would end the string there
        raise ConfigurationError(_UNREADABLE)
    try:
        return {key: str(value) for key, value in conninfo_to_dict(url or text).items()}
    except (psycopg.Error, UnicodeError):
        # From None: libpq's text quotes the part that it cannot read, password and all.
        raise ConfigurationError(_UNREADABLE) from None


def format_url(parameters: Mapping[str, str]) -> str:
    """Return the postgresql:// connection string of libpq's parameters, percent-encoded."""
    rest = {name: quote(value, safe="") for name, value in parameters.items()}
    user, password = rest.pop("user", ""), rest.pop("password", "")
    account = f"{user}:{password}@" if password else f"{user}@" if user else ""
    host, port, database = (rest.pop(name, "") for name in ("host", "port", "dbname"))
    host = f"[{parameters['host']}]" if "%3A" in host else host
    query = "&".join(f"{name}={value}" for name, value in rest.items())
    return f"postgresql://{account}{host}{port and f':{port}'}/{database}{query and f'?{query}'}"


def is_neon(host: str) -> bool:
    """Tell whether Neon runs the server of this name."""
    return host.endswith(_NEON)


def direct_url(text: str) -> str:
    """Return the connection string with Neon's direct host for its pooled one.

    Another provider's host stays as it is. Raise ConfigurationError for what is no URL.
    """
    if not clean_url(text):
        raise ConfigurationError("a direct host needs a postgresql:// connection string")
    parameters = parse_conninfo(text)
    host = parameters.get("host", "")
    if is_neon(host):
        endpoint, dot, domain = host.partition(".")
        parameters["host"] = endpoint.removesuffix("-pooler") + dot + domain
    return format_url(parameters)
