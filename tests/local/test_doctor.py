"""`make doctor` names each fault in its line, and finds nothing wrong in any other line."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import psycopg
import pytest
from moto.cloudformation.models import cloudformation_backends

from bench.proxy import Proxy
from bench.servers import PASSWORD, QUOTED, USER, Authority, PgBouncer, Postgres
from deploy.environments import read_environment
from deploy.secret_store import owner_version
from local.token import make_token
from tests import aws
from tests.aws import SecretsManager
from tests.identity.issuers import Jwks, Key, token
from tests.neon.conftest import _open_to_all, need_pgbouncer
from tests.neon.direct_tls import direct_tls
from tests.running import ROOT

HEALTHY = "healthy"
KEY, OTHER = Key.new("EdDSA", "good"), Key.new("EdDSA", "unknown")
RSA = Key.new("RS256", "rsa")
NEON_DIRECT = "ep-cool-lake-123456.eu-central-1.aws.neon.tech"
_FUNCTIONS = [ROOT / "functions" / name for name in ("migrate", "authorizer")]


@cache
def doctor() -> dict[str, Any]:
    """Return the modules of the doctor, which the Makefile gives the functions' folders."""
    names = {path.stem for folder in _FUNCTIONS for path in folder.glob("*.py")}
    others = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    with mock.patch.object(sys, "path", [*map(str, _FUNCTIONS), *sys.path]):
        from local.doctor import __main__, database, findings
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(others)
    return {"main": __main__, "database": database, "findings": findings}


@dataclass
class Place:
    """The servers that a set-up consists of."""

    postgres: Postgres
    authority: Authority
    jwks: Jwks
    database: str = HEALTHY

    def url(
        self, user: str = USER, *, port: int = 0, host: str = "127.0.0.1", more: str = ""
    ) -> str:
        port = port or self.postgres.port
        return f"postgresql://{user}:{QUOTED}@{host}:{port}/{self.database}{more}"

    def issuer(self, **members: object) -> str:
        issuer = {
            "issuer": "https://issuer.example",
            "audience": "tasks",
            "jwks_url": self.jwks.url,
            "algorithms": ["EdDSA"],
        }
        return json.dumps([issuer | members])

    def healthy(self) -> dict[str, str]:
        return {
            "DATABASE_URL": self.url(),
            "OWNER_DATABASE_URL": self.url("owner"),
            "JWT_ISSUERS": self.issuer(),
            "TOKEN": signed(),
            "CORS_ORIGINS": "https://tasks.example.com",
        }


def signed(key: Key = KEY, **claims: object) -> str:
    """Return a token that the issuer made, unless something about it is said."""
    usual = {"iss": "https://issuer.example", "aud": "tasks", "sub": "alice"}
    return token(key.header, usual | {"exp": time.time() + 600} | claims, key.sign)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(_open_to_all(tmp_path_factory.mktemp("certificates")))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Run Postgres with roles of each kind, and a database that is as it should be."""
    with Postgres(_open_to_all(tmp_path_factory.mktemp("pg"))) as postgres:
        postgres.admin(
            f"CREATE ROLE owner LOGIN CREATEROLE PASSWORD '{PASSWORD}'",
            f"CREATE DATABASE {HEALTHY} OWNER owner",
        )
        migrate(f"postgresql://owner:{QUOTED}@127.0.0.1:{postgres.port}/{HEALTHY}")
        postgres.admin(
            f"ALTER ROLE {USER} NOINHERIT",
            f"GRANT task_api TO {USER}",
            f"CREATE ROLE bypassing LOGIN BYPASSRLS IN ROLE task_api PASSWORD '{PASSWORD}'",
            f"CREATE ROLE crowded LOGIN NOINHERIT CONNECTION LIMIT 5 IN ROLE task_api"
            f" PASSWORD '{PASSWORD}'",
            f"CREATE ROLE outsider LOGIN PASSWORD '{PASSWORD}'",
        )
        yield postgres


def migrate(url: str) -> None:
    database = doctor()["database"]
    database.Runner(url, database.migrations(database.MIGRATIONS)).run()


@pytest.fixture(scope="module")
def jwks() -> Iterator[Jwks]:
    with Jwks([KEY.jwk]) as served:
        yield served


@pytest.fixture
def place(server: Postgres, authority: Authority, jwks: Jwks) -> Place:
    jwks.keys, jwks.status, jwks.body = [KEY.jwk], 200, None
    return Place(server, authority, jwks)


Findings = dict[str, tuple[str, str]]


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no fault of the set-up: only the tests of a time have its real limit."""
    monkeypatch.setattr(doctor()["main"], "_SECONDS", 120.0)
    for name in ("_SLOW_SECONDS", "_FAR_SECONDS"):
        monkeypatch.setattr(doctor()["database"], name, 60.0)


def diagnosed(environ: Mapping[str, str]) -> Findings:
    """Return the state and the text of each line, by area and name."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with mock.patch.dict(os.environ, {**kept, **environ}, clear=True):
        found = doctor()["main"].diagnose()
    lines = "\n".join(doctor()["main"].table(found))
    assert not any(each in lines for each in (PASSWORD, QUOTED, environ.get("TOKEN") or PASSWORD))
    named = {f"{each.area}/{each.name}": (each.state.value, each.text) for each in found}
    assert len(named) == len(found), "a line hides another one"
    return named


def wrong(found: Findings) -> dict[str, str]:
    """Return the states that are not fine."""
    return {
        name: state for name, (state, _) in found.items() if state not in ("fine", "not checked")
    }


def test_a_set_up_as_it_should_be_is_fine_on_every_line(place: Place) -> None:
    found = diagnosed(place.healthy())
    assert {name for name, (state, _) in found.items() if state != "fine"} == {"deployed/"}
    assert len(found) == 22


@dataclass(frozen=True)
class Fault:
    """One fault: the lines that are wrong, a part of what the first one says, and how it is made.

    `environ` has variables, with the address of the database in braces. `sql` runs in a copy of the
    healthy database, or in an empty one.
    """

    lines: Mapping[str, str]
    says: str
    environ: Mapping[str, str] = field(default_factory=dict)
    sql: tuple[str, ...] = ()
    template: str = ""


def hurts(*lines: str) -> dict[str, str]:
    return dict.fromkeys(lines, "will hurt")


def broken(*lines: str) -> dict[str, str]:
    return dict.fromkeys(lines, "broken")


IN_DATABASE = f"ALTER ROLE {USER} IN DATABASE fault SET"
CONNECT = broken("database/connect")
MIGRATIONS, TABLES = "owner/migrations", "owner/tables"
LOCAL = "postgresql://{user}:{password}@127.0.0.1:{port}/fault"
OLD = "(id int, user_id text, title text, description text, completed bool)"

OF_DATABASES: dict[str, Fault] = {
    "nobody listens": Fault(
        CONNECT, "Connection refused", {"DATABASE_URL": "postgresql://a:{password}@127.0.0.1:1/b"}
    ),
    "a wrong password": Fault(
        CONNECT,
        "password authentication failed",
        {"DATABASE_URL": "postgresql://{user}:wrong@127.0.0.1:{port}/fault"},
    ),
    "no such database": Fault(
        CONNECT, "does not exist", {"DATABASE_URL": LOCAL.replace("/fault", "/nowhere")}
    ),
    "another scheme": Fault(
        CONNECT, "starts with postgresql://", {"DATABASE_URL": "mysql://a:{password}@127.0.0.1/b"}
    ),
    "a raw @ in the password": Fault(
        CONNECT, "percent-encode", {"DATABASE_URL": "postgresql://a:{password}@x@127.0.0.1/b"}
    ),
    "another client's parameter": Fault(
        CONNECT, "has the parameter schema", {"DATABASE_URL": LOCAL + "?schema=public"}
    ),
    "no TLS asked of another machine": Fault(
        CONNECT, "sslmode=disable is for", {"DATABASE_URL": "postgresql://a@h/b?sslmode=disable"}
    ),
    "another encoding": Fault(
        broken("database/connect", "owner/connect"), "LATIN1", template="latin"
    ),
    "planted: read-only": Fault(
        broken("database/default_transaction_read_only"),
        "every write is refused",
        sql=(f"{IN_DATABASE} default_transaction_read_only = on",),
    ),
    "planted: no triggers": Fault(
        broken("database/session_replication_role"),
        "no trigger works",
        sql=(f"{IN_DATABASE} session_replication_role = replica",),
    ),
    "planted: isolation": Fault(
        hurts("database/default_transaction_isolation"),
        "serializable",
        sql=("ALTER DATABASE fault SET default_transaction_isolation = serializable",),
    ),
    "planted: commits": Fault(
        hurts("database/synchronous_commit"),
        "a crash can lose",
        sql=("ALTER DATABASE fault SET synchronous_commit = off",),
    ),
    "planted: search_path": Fault(
        broken("database/search_path"),
        "RESET search_path",
        sql=(f"{IN_DATABASE} search_path = shop",),
    ),
    "another tasks on the search_path": Fault(
        broken("database/search_path"),
        "does not find public.tasks first",
        sql=(
            "CREATE SCHEMA shop",
            f"GRANT USAGE ON SCHEMA shop TO {USER}",
            "CREATE TABLE shop.tasks (id int)",
            f"{IN_DATABASE} search_path = shop, public",
        ),
    ),
    "an owner serves": Fault(
        hurts("database/role"),
        "may do more than task_api",
        {"DATABASE_URL": LOCAL.replace("{user}", "owner")},
    ),
    "a login bypasses": Fault(
        hurts("database/role"),
        "a login of its own",
        {"DATABASE_URL": LOCAL.replace("{user}", "bypassing")},
    ),
    "a login may not act": Fault(
        broken("database/role"),
        'GRANT task_api TO "outsider"',
        {"DATABASE_URL": LOCAL.replace("{user}", "outsider")},
    ),
    "few connections": Fault(
        hurts("database/connections"),
        "5 at once, and the API may need",
        {"DATABASE_URL": LOCAL.replace("{user}", "crowded")},
    ),
    "a migration is missing": Fault(
        hurts(MIGRATIONS),
        "Missing: 0002_tables",
        sql=("DELETE FROM public.schema_migrations WHERE version = 2",),
    ),
    "a migration was changed": Fault(
        broken(MIGRATIONS),
        "was changed after it had been applied",
        sql=("UPDATE public.schema_migrations SET checksum = 'x'",),
    ),
    "other migrations": Fault(
        broken(MIGRATIONS),
        "has other migrations than these",
        sql=("UPDATE public.schema_migrations SET name = '0001_other' WHERE version = 1",),
    ),
    "a newer database": Fault(
        hurts(MIGRATIONS),
        "update the checkout",
        sql=("INSERT INTO public.schema_migrations VALUES (3, '0003_new', 'x')",),
    ),
    "no migrations": Fault(hurts(MIGRATIONS), "`make migrate` does it", template="template0"),
    "an old table tasks": Fault(
        broken(MIGRATIONS) | hurts(TABLES),
        "`make adopt` moves them in",
        sql=(f"CREATE TABLE public.tasks {OLD}",),
        template="template0",
    ),
    "an old table task": Fault(
        broken(MIGRATIONS) | hurts(TABLES),
        "`make adopt` moves them in",
        sql=(f"CREATE TABLE public.task {OLD}",),
        template="template0",
    ),
    "another project's tables": Fault(
        hurts(MIGRATIONS, TABLES),
        "`make migrate` does it",
        sql=("CREATE TABLE public.shop (id int)",),
        template="template0",
    ),
    "a stranger to an empty database": Fault(
        broken(MIGRATIONS),
        "give the owner's connection string",
        {"OWNER_DATABASE_URL": LOCAL.replace("{user}", "outsider")},
        template="template0",
    ),
    "everybody creates in public": Fault(
        hurts("owner/schema"),
        "PUBLIC may create",
        sql=("GRANT CREATE ON SCHEMA public TO PUBLIC",),
    ),
    "everybody creates in public, and this role cannot end it": Fault(
        broken("owner/schema"),
        "REVOKE CREATE ON SCHEMA public FROM",
        sql=("ALTER SCHEMA public OWNER TO postgres", "GRANT CREATE ON SCHEMA public TO PUBLIC"),
    ),
    "default privileges": Fault(
        hurts("owner/default rights"),
        "outsider",
        sql=("ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT SELECT ON TABLES TO outsider",),
    ),
}


@pytest.mark.parametrize("name", OF_DATABASES)
def test_a_fault_of_a_database_is_named(place: Place, name: str) -> None:
    fault = OF_DATABASES[name]
    place.database = "fault"
    options = fault.template or HEALTHY
    if fault.template == "latin":
        options = "template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' LOCALE_PROVIDER libc"
    place.postgres.admin(f"CREATE DATABASE fault OWNER owner TEMPLATE {options}")
    try:
        with psycopg.connect(place.postgres.url_for("postgres", "fault")) as connection:
            for statement in fault.sql:
                connection.execute(statement.encode())
        port = place.postgres.port
        environ = {
            variable: value.format(user=USER, password=QUOTED, port=port)
            for variable, value in fault.environ.items()
        }
        found = diagnosed(place.healthy() | environ)
    finally:
        place.postgres.admin("DROP DATABASE fault WITH (FORCE)")
    assert wrong(found) == dict(fault.lines)
    assert fault.says in found[next(iter(fault.lines))][1]


# -- what is between the API and the database ------------------------------------------------------


def test_a_tracking_pooler_with_tls_is_fine(place: Place, tmp_path: Path) -> None:
    with pooler(place, tmp_path, "localhost") as port:
        found = diagnosed(place.healthy() | {"DATABASE_URL": through(place, port)})
    assert wrong(found) == {}
    said = {name: found[f"database/{name}"][1] for name in ("pooling", "TLS", "channel binding")}
    assert said == {
        "pooling": "pooled",
        "TLS": "verified",
        "channel binding": "prefer",
    }
    names = "SELECT name FROM pg_prepared_statements WHERE name LIKE 'doctor%'"
    assert place.postgres.admin(names) == []


def test_a_pooler_that_loses_prepared_statements_is_named(place: Place, tmp_path: Path) -> None:
    with pooler(place, tmp_path, "localhost", max_prepared_statements=0) as port:
        url = through(place, port)
        found = diagnosed(place.healthy() | {"DATABASE_URL": url})
        with psycopg.connect(url) as connection:
            left = connection.execute("SELECT name FROM pg_prepared_statements").fetchall()
    assert wrong(found) == hurts("database/prepared")
    assert left == []


def test_a_certificate_that_is_not_trusted_is_named(place: Place, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other").roots
    with pooler(place, tmp_path, "localhost") as port:
        url = through(place, port).replace(str(place.authority.roots), str(other))
        found = diagnosed(place.healthy() | {"DATABASE_URL": url})
    assert wrong(found) == CONNECT
    assert "certificate verify failed" in found["database/connect"][1]


def test_channel_binding_that_is_turned_off_is_named(place: Place, tmp_path: Path) -> None:
    with pooler(place, tmp_path, "localhost") as port:
        url = through(place, port) + "&channel_binding=disable"
        found = diagnosed(place.healthy() | {"DATABASE_URL": url})
    assert wrong(found) == hurts("database/channel binding")


def test_neons_direct_host_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def resolved(host: bytes, *rest: Any, **named: Any) -> Any:
        return real("127.0.0.1" if host == NEON_DIRECT.encode() else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    issued = place.authority.issue(NEON_DIRECT)
    with direct_tls(place.postgres.port, issued.chain, issued.key) as port:
        more = f"?channel_binding=prefer&sslrootcert={place.authority.roots}"
        url = place.url(port=port, host=NEON_DIRECT, more=more)
        found = diagnosed(place.healthy() | {"DATABASE_URL": url})
    assert wrong(found) == hurts("database/pooling")
    assert "-pooler" in found["database/pooling"][1]


def test_a_server_that_never_answers_is_left_when_the_time_is_over(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS would take minutes; what was found of the environment before is in the table."""
    monkeypatch.setattr(doctor()["main"], "_SECONDS", 8.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        dead = place.url(port=port)
        issuer = place.issuer(jwks_url=f"http://127.0.0.1:{port}/jwks")
        found = diagnosed(
            place.healthy()
            | {"DATABASE_URL": dead, "OWNER_DATABASE_URL": dead, "JWT_ISSUERS": issuer}
            | {**aws.settings(f"http://127.0.0.1:{port}"), "ENV": "dev"}
        )
    lines = ("database/connect", "owner/connect", "issuer/keys", "dev/time")
    assert wrong(found) == broken(*lines)
    assert found["dev/samconfig.toml"][0] == "fine"
    assert found["token/token"][0] == "not checked"


def test_a_server_that_is_older_than_the_tested_ones_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor()["database"], "_TESTED", 99)
    assert wrong(diagnosed(place.healthy())) == hurts("database/server", "owner/server")


@contextmanager
def pooler(place: Place, folder: Path, host: str, **settings: Any) -> Iterator[int]:
    """Run PgBouncer with a certificate for the host; by default it tracks prepared statements."""
    need_pgbouncer(1, 21)
    issued = place.authority.issue(host)
    usual = {"max_prepared_statements": 100, "default_pool_size": 3}
    directory = _open_to_all(folder) / "pooler"
    with PgBouncer(directory, place.postgres, certificate=issued, **(usual | settings)) as found:
        yield found.port


def through(place: Place, port: int) -> str:
    """Return the healthy login's connection string through a pooler, verified in full."""
    roots = place.authority.roots
    more = f"?sslmode=verify-full&sslrootcert={roots}"
    return place.url(port=port, host="localhost", more=more)


def test_a_read_replica_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded server answers what a replica would."""
    database = doctor()["database"]
    facts = database._FACTS.replace("pg_is_in_recovery()", "true")
    monkeypatch.setattr(database, "_FACTS", facts)
    found = diagnosed(place.healthy())
    assert wrong(found) == broken("database/server", "owner/server")
    assert "give the primary's string" in found["database/server"][1]


def test_a_database_that_is_far_away_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor()["database"], "_FAR_SECONDS", 0.5)
    with Proxy(place.postgres.port, latency=0.1) as proxy:
        found = diagnosed(place.healthy() | {"DATABASE_URL": place.url(port=proxy.port)})
    assert wrong(found) == hurts("database/connect")
    assert "from the database's region" in found["database/connect"][1]


# -- issuers and tokens ----------------------------------------------------------------------------

KEYS, TOKEN = "issuer/keys", "token/token"


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"JWT_ISSUERS": "not json"}, "is not a JSON list of issuers"),
        ({"JWT_ISSUERS": "", "JWT_SECRET": "short"}, "has to be at least 32 bytes long"),
        ({"JWT_ISSUERS": "", "JWT_SECRET": "hush" * 9}, "has to be random"),
        ({"NEON_AUTH_URL": "ftp://ep-x.neonauth"}, "NEON_AUTH_URL has to start with https://"),
        ({"JWT_SECRET": "0123456789abcdef" * 2}, "JWT_ISSUER has to name"),
    ],
)
def test_settings_that_the_authorizer_refuses_are_named_with_its_sentence(
    place: Place, environ: dict[str, str], says: str
) -> None:
    found = diagnosed({**place.healthy(), "DATABASE_URL": "", **environ})
    assert wrong(found) == broken("issuer/settings")
    assert says in found["issuer/settings"][1]


@pytest.mark.parametrize(
    ("members", "served", "says"),
    [
        ({"jwks_url": "http://127.0.0.1:1/jwks"}, {}, "no complete response"),
        ({}, {"status": 404}, "status 404"),
        ({}, {"body": b"<html>"}, "not JSON"),
        ({}, {"keys": [KEY.jwk | {"use": "enc"}]}, "good is not for signatures"),
        ({}, {"keys": [KEY.jwk | {"d": "x"}]}, "good is published with its private half"),
        ({}, {"keys": [RSA.jwk]}, "rsa is for RS256, which is none of the issuer's algorithms"),
        ({"algorithms": ["ES256"]}, {}, "good is for EdDSA"),
    ],
)
def test_keys_that_do_not_fit_are_named_with_the_reason(
    place: Place, members: dict[str, object], served: dict[str, Any], says: str
) -> None:
    for name, value in served.items():
        setattr(place.jwks, name, value)
    issuer = place.issuer(**members)
    found = diagnosed(place.healthy() | {"DATABASE_URL": "", "TOKEN": "", "JWT_ISSUERS": issuer})
    assert wrong(found) == broken(KEYS)
    assert says in found[KEYS][1]


@pytest.mark.parametrize(
    ("claims", "state", "says"),
    [
        (
            {"iss": "https://other"},
            "broken",
            "iss is 'https://other', configured is https://issuer.example",
        ),
        ({"iss": "https://issuer.example/"}, "broken", "it names no issuer that is accepted"),
        ({"aud": "shop"}, "broken", "aud is 'shop', configured is tasks"),
        ({"exp": 1}, "broken", "it has expired"),
        ({"exp": None}, "broken", "its exp is no number"),
        ({"sub": 5}, "broken", "its sub is no user"),
        ({"nbf": time.time() + 3600}, "will hurt", "It holds only in"),
        ({"key": OTHER}, "broken", "its key is not the issuer's"),
        ({"key": RSA}, "broken", "alg is 'RS256', configured is EdDSA"),
    ],
)
def test_a_token_that_is_refused_is_named_with_the_authorizers_reason(
    place: Place, claims: dict[str, Any], state: str, says: str
) -> None:
    text = signed(**claims)
    found = diagnosed(place.healthy() | {"DATABASE_URL": "", "TOKEN": text})
    assert wrong(found) == {TOKEN: state}
    assert says in found[TOKEN][1]


def test_a_clock_that_differs_from_the_issuers_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_hour_ago = formatdate(time.time() - 3600, usegmt=True)
    handler = http.server.BaseHTTPRequestHandler
    monkeypatch.setattr(handler, "date_time_string", lambda _: an_hour_ago)
    found = diagnosed(place.healthy() | {"DATABASE_URL": ""})
    assert wrong(found) == hurts("issuer/clock")
    assert "ahead of the issuer's" in found["issuer/clock"][1]


# -- origins and the shell -------------------------------------------------------------------------

ORIGINS = "origins/CORS_ORIGINS"


@pytest.mark.parametrize(
    ("environ", "lines", "says"),
    [
        ({"CORS_ORIGINS": "https://a.example/"}, broken(ORIGINS), "no slash at the end"),
        ({"CORS_ORIGINS": "tasks.example.com"}, broken(ORIGINS), "a scheme and a host"),
        ({"CORS_ORIGINS": '["https://a.example"]'}, broken(ORIGINS), "no path and no slash"),
        ({"CORS_ORIGINS": "https://a.example:443"}, broken(ORIGINS), "it never matches"),
        ({"CORS_ORIGINS": "http://a.example:99999"}, broken(ORIGINS), "it never matches"),
        ({"CORS_ORIGINS": "*"}, hurts(ORIGINS), "list your own origins"),
        ({"CORS_ORIGIN": "x"}, hurts("shell/names"), "did you mean CORS_ORIGINS?"),
        ({"GIVEN": "JWT_SECRETT"}, broken("shell/names"), "did you mean JWT_SECRET?"),
        ({"PGSERVICE": "other"}, broken("shell/PGSERVICE"), "unset PGSERVICE"),
        ({"SSL_CERT_FILE": "/nowhere"}, broken("shell/SSL_CERT_FILE"), "unset it"),
        ({"HTTPS_PROXY": "http://p"}, hurts("shell/proxy"), "through a proxy"),
        ({"LIST_TIMEOUT": "60"}, broken("shell/parameters"), "LIST_TIMEOUT has to be a number"),
        ({"DEFAULT_SORT": "x"}, broken("shell/parameters"), "DEFAULT_SORT has to be one of"),
        ({"ALLOW_OWNER_LOGIN": "yes"}, broken("shell/parameters"), "has to be 1 or true"),
    ],
)
def test_what_acts_in_the_shell_is_named(
    place: Place, environ: dict[str, str], lines: dict[str, str], says: str
) -> None:
    found = diagnosed(place.healthy() | {"DATABASE_URL": "", "TOKEN": ""} | environ)
    assert wrong(found) == lines
    assert says in found[next(iter(lines))][1]


def test_variables_of_libpq_are_said_and_change_nothing(place: Place) -> None:
    found = diagnosed(place.healthy() | {"PGHOST": "elsewhere", "PGPORT": "1", "PGUSER": "x"})
    assert wrong(found) == {}
    assert found["shell/PG variables"][1] == "ignored here: PGHOST, PGPORT, PGUSER"


# -- a deployed environment ------------------------------------------------------------------------

STACK = "task-api-dev"
SECRETS = ("task-api/dev/database", "task-api/dev/owner", "task-api/dev/jwt")


@pytest.fixture
def account(aws_endpoint: str) -> Callable[..., dict[str, str]]:
    """Return a function that deploys the environment dev, and returns what `make doctor` needs."""

    def deploy(*secrets: str, is_there: bool = True, **changed: str) -> dict[str, str]:
        for name in secrets:
            SecretsManager(aws_endpoint).create(name, "text")
        environment = read_environment(ROOT / "samconfig.toml", "dev")
        if is_there:
            values = {**environment.parameters, "DatabaseSecretVersion": owner_version(environment)}
            _create_stack(values | changed)
        return {**aws.settings(aws_endpoint), "ENV": "dev"}

    return deploy


def _create_stack(values: Mapping[str, str]) -> None:
    template = {
        "Parameters": {name: {"Type": "String"} for name in values},
        "Resources": {"Bucket": {"Type": "AWS::S3::Bucket"}},
    }
    boto3.client("cloudformation").create_stack(
        StackName=STACK,
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in values.items()],
    )


Account = Callable[..., dict[str, str]]


def test_an_environment_that_is_deployed_as_it_is_configured_is_fine(account: Account) -> None:
    found = diagnosed(account(*SECRETS))
    assert wrong(found) == {}
    assert len([name for name in found if name.startswith("dev/")]) == 4


@pytest.mark.parametrize("missing", SECRETS)
def test_a_missing_secret_is_named(
    account: Account, secrets_manager: SecretsManager, missing: str
) -> None:
    environ = account(*SECRETS)
    secrets_manager.client.delete_secret(SecretId=missing, ForceDeleteWithoutRecovery=True)
    found = diagnosed(environ)
    assert wrong(found) == broken("dev/secrets")
    assert f"{missing} is missing: `make secrets" in found["dev/secrets"][1]


def test_an_environment_without_a_stack_is_named(account: Account) -> None:
    found = diagnosed(account(*SECRETS, is_there=False))
    assert wrong(found) == broken("dev/stack")


def test_a_parameter_that_changed_since_the_deployment_is_named(account: Account) -> None:
    found = diagnosed(account(*SECRETS, LogRetention="90"))
    assert wrong(found) == hurts("dev/versions")
    assert "LogRetention" in found["dev/versions"][1]


def test_a_secret_that_was_replaced_since_the_deployment_is_named(
    account: Account, secrets_manager: SecretsManager
) -> None:
    environ = account(*SECRETS)
    secrets_manager.change("task-api/dev/owner", "new")
    found = diagnosed(environ)
    assert wrong(found) == hurts("dev/versions")
    assert "DatabaseSecretVersion" in found["dev/versions"][1]


@pytest.mark.parametrize(
    ("status", "state"),
    [("UPDATE_ROLLBACK_COMPLETE", "will hurt"), ("ROLLBACK_COMPLETE", "broken")],
)
def test_a_deployment_that_was_taken_back_is_named(
    account: Account, monkeypatch: pytest.MonkeyPatch, status: str, state: str
) -> None:
    environ = account(*SECRETS)
    (stack,) = cloudformation_backends["123456789012"][aws.REGION].stacks.values()
    monkeypatch.setattr(stack, "status", status)
    assert wrong(diagnosed(environ)) == {"dev/stack": state}


@pytest.mark.parametrize(
    ("environ", "line", "says"),
    [
        ({"ENV": "qa"}, "qa/environment", "ENV is one of dev, staging, prod"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}, "dev/environment", "No region is set"),
    ],
)
def test_an_environment_that_nobody_can_ask_for_is_named(
    account: Account, environ: dict[str, str], line: str, says: str
) -> None:
    found = diagnosed(account(*SECRETS) | environ)
    assert wrong(found) == broken(line)
    assert says in found[line][1]


def test_an_environment_whose_alarms_reach_nobody_is_named(account: Account) -> None:
    found = diagnosed(account(is_there=False) | {"ENV": "staging"})
    assert wrong(found) == broken("staging/samconfig.toml", "staging/secrets", "staging/stack")
    assert "alarm_email" in found["staging/samconfig.toml"][1]


# -- the command -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("origins", "status"), [("*", 0), ("https://a.example/", 1)])
def test_the_command_prints_a_table_and_creates_nothing(
    tmp_path: Path, origins: str, status: int
) -> None:
    """What may hurt is no error. Without an issuer, the secret of `make run` is looked at."""
    (tmp_path / "template.yaml").symlink_to(ROOT / "template.yaml")
    (tmp_path / ".local").mkdir()
    secret = tmp_path / ".local" / "jwt_secret"
    secret.write_text("0123456789abcdef" * 2)
    before = sorted(tmp_path.rglob("*"))
    environ = {
        "CORS_ORIGINS": origins,
        "TOKEN": make_token("alice", {"JWT_SECRET": secret.read_text()}),
    }
    folders = ["layers/shared", "functions/migrate", "functions/authorizer"]
    environ["PYTHONPATH"] = os.pathsep.join(str(ROOT / name) for name in [".", *folders])
    done = subprocess.run(
        [sys.executable, "-m", "local.doctor"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (status, "")
    states = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "fine         accepted for another" in states["token"]
    assert "DATABASE_URL is not given" in states["database"]
    assert sorted(tmp_path.rglob("*")) == before
