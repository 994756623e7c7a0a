"""`make doctor` names each fault in its line, and finds nothing wrong in any other line."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import boto3
import psycopg
import pytest
from moto.cloudformation.models import cloudformation_backends

from bench.servers import PASSWORD, QUOTED, USER, Authority, Postgres
from tests import aws
from tests.aws import SecretsManager
from tests.identity.issuers import Jwks, Key, token
from tests.neon.conftest import _open_to_all
from tests.neon.direct_tls import direct_tls
from tests.running import ROOT

KEY, OTHER = Key.new("EdDSA", "good"), Key.new("EdDSA", "unknown")
RSA = Key.new("RS256", "rsa")
NEON_DIRECT = "ep-cool-lake-123456.eu-central-1.aws.neon.tech"
LOGIN = "postgresql://{user}:{password}@127.0.0.1:{port}/{database}"
_FUNCTIONS = [ROOT / "functions" / name for name in ("migrate", "authorizer")]


@cache
def doctor() -> dict[str, Any]:
    """Return the modules of the doctor, which the Makefile gives the functions' folders."""
    names = {path.stem for folder in _FUNCTIONS for path in folder.glob("*.py")}
    others = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    with mock.patch.object(sys, "path", [*map(str, _FUNCTIONS), *sys.path]):
        from local.doctor import __main__, database
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(others)
    return {"main": __main__, "database": database}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Run Postgres with roles of each kind, and a database that is as it should be."""
    with Postgres(_open_to_all(tmp_path_factory.mktemp("pg"))) as postgres:
        postgres.admin(
            f"CREATE ROLE owner LOGIN CREATEROLE PASSWORD '{PASSWORD}'",
            "CREATE DATABASE healthy OWNER owner",
        )
        database = doctor()["database"]
        url = url_of(postgres, user="owner")
        database.Runner(url, database.migrations(database.MIGRATIONS)).run()
        postgres.admin(
            f"ALTER ROLE {USER} NOINHERIT",
            f"GRANT task_api TO {USER}",
            f"CREATE ROLE bypassing LOGIN BYPASSRLS IN ROLE task_api PASSWORD '{PASSWORD}'",
            f"CREATE ROLE outsider LOGIN PASSWORD '{PASSWORD}'",
        )
        yield postgres


def url_of(
    server: Postgres, url: str = LOGIN, user: str = USER, database: str = "healthy", port: int = 0
) -> str:
    port = port or server.port
    return url.format(user=user, password=QUOTED, port=port, database=database)


@pytest.fixture(scope="module")
def served() -> Iterator[Jwks]:
    with Jwks([KEY.jwk]) as jwks:
        yield jwks


@pytest.fixture
def jwks(served: Jwks) -> Jwks:
    served.keys, served.status, served.body = [KEY.jwk], 200, None
    return served


@pytest.fixture
def trusting(jwks: Jwks) -> dict[str, str]:
    """Return the variables of an issuer with a token of its own."""
    return {"JWT_ISSUERS": issuers(jwks_url=jwks.url), "TOKEN": signed()}


@pytest.fixture
def healthy(server: Postgres, trusting: dict[str, str]) -> dict[str, str]:
    origins = {"CORS_ORIGINS": "https://tasks.example.com"}
    owner = {"OWNER_DATABASE_URL": url_of(server, user="owner")}
    return {"DATABASE_URL": url_of(server), **owner, **trusting, **origins}


def issuers(**members: object) -> str:
    usual = {"issuer": "https://issuer.example", "audience": "tasks", "algorithms": ["EdDSA"]}
    return json.dumps([usual | members])


def signed(key: Key = KEY, **claims: object) -> str:
    """Return a token that the issuer made, unless something about it is said."""
    usual = {"iss": "https://issuer.example", "aud": "tasks", "sub": "alice"}
    return token(key.header, usual | {"exp": time.time() + 600} | claims, key.sign)


Findings = dict[str, tuple[str, str]]


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


def assert_wrong(found: Findings, line: str, state: str, says: str) -> None:
    """Assert that this line is the only one that is not fine."""
    wrong = {name: found[name][0] for name in found if found[name][0] in ("will hurt", "broken")}
    assert wrong == {line: state}
    assert says in found[line][1]


def test_a_set_up_as_it_should_be_is_fine_on_every_line(healthy: dict[str, str]) -> None:
    """The variables of libpq, which belong to another database, change nothing."""
    found = diagnosed(healthy | {"PGHOST": "elsewhere", "PGPORT": "1", "PGSERVICE": "x"})
    assert {name for name, (state, _) in found.items() if state != "fine"} == {"deployed/"}
    assert len(found) == 11


class Fault(NamedTuple):
    """A line that is wrong, a part of what it says, and what is done to a copy of the database."""

    line: str
    state: str
    says: str
    url: str = LOGIN
    user: str = USER
    sql: str = ""
    template: str = "healthy"


CONNECT, ROLE, MIGRATIONS = "database/connect", "database/role", "owner/migrations"
FAULTS = {
    "nobody listens": Fault(
        CONNECT, "broken", "Connection refused", "postgresql://a:{password}@127.0.0.1:1/b"
    ),
    "a wrong password": Fault(
        CONNECT, "broken", "authentication failed", LOGIN.replace("{password}", "wrong")
    ),
    "no such database": Fault(
        CONNECT, "broken", "does not exist", LOGIN.replace("{database}", "nowhere")
    ),
    "another scheme": Fault(
        CONNECT, "broken", "starts with postgresql://", "mysql://a:{password}@127.0.0.1/b"
    ),
    "a raw @ in the password": Fault(
        CONNECT, "broken", "percent-encode", "postgresql://a:{password}@x@127.0.0.1/b"
    ),
    "an owner serves": Fault(ROLE, "will hurt", "may do more than task_api", user="owner"),
    "a login bypasses": Fault(ROLE, "will hurt", "a login of its own", user="bypassing"),
    "a login may not act": Fault(ROLE, "broken", 'GRANT task_api TO "outsider"', user="outsider"),
    "a migration is missing": Fault(
        MIGRATIONS,
        "will hurt",
        "Missing: 0002_tables",
        sql="DELETE FROM public.schema_migrations WHERE version = 2",
    ),
    "a migration was changed": Fault(
        MIGRATIONS,
        "broken",
        "was changed after it had been applied",
        sql="UPDATE public.schema_migrations SET checksum = 'x'",
    ),
    "a newer database": Fault(
        MIGRATIONS,
        "will hurt",
        "update the checkout",
        sql="INSERT INTO public.schema_migrations VALUES (3, '0003_new', 'x')",
    ),
    "no migrations": Fault(MIGRATIONS, "will hurt", "`make migrate` does it", template="template0"),
    "an old table": Fault(
        MIGRATIONS,
        "broken",
        "`make adopt` moves them in",
        sql="CREATE TABLE public.task (id int)",
        template="template0",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_database_is_named(
    server: Postgres, healthy: dict[str, str], name: str
) -> None:
    fault = FAULTS[name]
    server.admin(f"CREATE DATABASE fault OWNER owner TEMPLATE {fault.template}")
    try:
        with psycopg.connect(server.url_for("postgres", "fault")) as connection:
            connection.execute(fault.sql.encode())
        urls = {
            "DATABASE_URL": url_of(server, fault.url, fault.user, "fault"),
            "OWNER_DATABASE_URL": url_of(server, user="owner", database="fault"),
        }
        found = diagnosed(healthy | urls)
    finally:
        server.admin("DROP DATABASE fault WITH (FORCE)")
    assert_wrong(found, fault.line, fault.state, fault.says)


def test_the_apis_login_alone_cannot_read_the_migrations(healthy: dict[str, str]) -> None:
    found = diagnosed(healthy | {"OWNER_DATABASE_URL": ""})
    assert found["database/migrations"][0] == "not checked"


def test_neons_direct_host_is_named(
    server: Postgres, healthy: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def resolved(host: bytes, *rest: Any, **named: Any) -> Any:
        return real("127.0.0.1" if host == NEON_DIRECT.encode() else host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    authority = Authority(_open_to_all(tmp_path))
    issued = authority.issue(NEON_DIRECT)
    with direct_tls(server.port, issued.chain, issued.key) as port:
        url = url_of(server, port=port).replace("127.0.0.1", NEON_DIRECT)
        url += f"?channel_binding=prefer&sslrootcert={authority.roots}"
        found = diagnosed(healthy | {"DATABASE_URL": url})
    assert_wrong(found, "database/host", "will hurt", "-pooler")


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"JWT_ISSUERS": "not json"}, "is not a JSON list of issuers"),
        ({"JWT_ISSUERS": "", "JWT_SECRET": "hush" * 9}, "has to be random"),
        ({"NEON_AUTH_URL": "ftp://ep-x.neonauth"}, "NEON_AUTH_URL has to start with https://"),
    ],
)
def test_settings_that_the_authorizer_refuses_are_named_with_its_sentence(
    trusting: dict[str, str], environ: dict[str, str], says: str
) -> None:
    assert_wrong(diagnosed(trusting | environ), "issuer/settings", "broken", says)


@pytest.mark.parametrize(
    ("members", "served_instead", "says"),
    [
        ({"jwks_url": "http://127.0.0.1:1/jwks"}, {}, "no complete response"),
        ({}, {"body": b"<html>"}, "not JSON"),
        ({}, {"keys": [KEY.jwk | {"d": "x"}]}, "good is published with its private half"),
        ({"algorithms": ["ES256"]}, {}, "good is for EdDSA"),
    ],
)
def test_keys_that_do_not_fit_are_named_with_the_reason(
    jwks: Jwks, members: dict[str, object], served_instead: dict[str, Any], says: str
) -> None:
    for name, value in served_instead.items():
        setattr(jwks, name, value)
    found = diagnosed({"JWT_ISSUERS": issuers(**{"jwks_url": jwks.url} | members)})
    assert_wrong(found, "issuer/keys", "broken", says)


@pytest.mark.parametrize(
    ("claims", "state", "says"),
    [
        ({"iss": "https://other"}, "broken", "iss is 'https://other', configured is https:"),
        ({"aud": "shop"}, "broken", "aud is 'shop', configured is tasks"),
        ({"exp": 1}, "broken", "it has expired"),
        ({"nbf": time.time() + 3600}, "will hurt", "It holds only in"),
        ({"key": OTHER}, "broken", "its key is not the issuer's"),
        ({"key": RSA}, "broken", "alg is 'RS256', configured is EdDSA"),
    ],
)
def test_a_token_that_is_refused_is_named_with_the_authorizers_reason(
    trusting: dict[str, str], claims: dict[str, Any], state: str, says: str
) -> None:
    found = diagnosed(trusting | {"TOKEN": signed(**claims)})
    assert_wrong(found, "token/token", state, says)


@pytest.mark.parametrize(
    ("environ", "line", "state", "says"),
    [
        ({"CORS_ORIGINS": "https://a.example/"}, "origins/CORS_ORIGINS", "broken", "no slash"),
        ({"CORS_ORIGINS": "*"}, "origins/CORS_ORIGINS", "will hurt", "list your own origins"),
        ({"CORS_ORIGIN": "x"}, "shell/names", "will hurt", "did you mean CORS_ORIGINS?"),
        ({"LIST_TIMEOUT": "60"}, "shell/parameters", "broken", "LIST_TIMEOUT has to be a number"),
    ],
)
def test_a_parameter_with_a_wrong_value_or_name_is_named(
    environ: dict[str, str], line: str, state: str, says: str
) -> None:
    assert_wrong(diagnosed(environ), line, state, says)


# -- a deployed environment ------------------------------------------------------------------------

SECRETS = ("task-api/dev/database", "task-api/dev/owner", "task-api/dev/jwt")


@pytest.fixture
def account(aws_endpoint: str) -> Callable[..., dict[str, str]]:
    """Return a function that deploys the environment dev, and returns what `make doctor` needs."""

    def deploy(*secrets: str, is_there: bool = True) -> dict[str, str]:
        for name in secrets:
            SecretsManager(aws_endpoint).create(name, "text")
        if is_there:
            template = {"Resources": {"Bucket": {"Type": "AWS::S3::Bucket"}}}
            client = boto3.client("cloudformation")
            client.create_stack(StackName="task-api-dev", TemplateBody=json.dumps(template))
        return {**aws.settings(aws_endpoint), "ENV": "dev"}

    return deploy


Account = Callable[..., dict[str, str]]


def test_an_environment_that_is_deployed_is_fine_until_a_deployment_is_taken_back(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = account(*SECRETS)
    found = diagnosed(environ)
    states = {name: state for name, (state, _) in found.items() if name.startswith("dev/")}
    assert states == dict.fromkeys(["dev/samconfig.toml", "dev/secrets", "dev/stack"], "fine")
    (stack,) = cloudformation_backends["123456789012"][aws.REGION].stacks.values()
    monkeypatch.setattr(stack, "status", "UPDATE_ROLLBACK_COMPLETE")
    assert_wrong(diagnosed(environ), "dev/stack", "broken", "its events say why")


@pytest.mark.parametrize(
    ("secrets", "is_there", "environ", "line", "says"),
    [
        (SECRETS[1:], True, {}, "dev/secrets", f"{SECRETS[0]} is missing: `make secrets"),
        (SECRETS, False, {}, "dev/stack", "`make deploy ENV=dev` makes task-api-dev"),
        (SECRETS, True, {"ENV": "qa"}, "qa/environment", "ENV is one of dev, staging, prod"),
        (
            SECRETS,
            True,
            {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""},
            "dev/environment",
            "No region is set",
        ),
    ],
    ids=["a secret is missing", "no stack", "an unknown environment", "no region"],
)
def test_a_fault_of_a_deployment_is_named(
    account: Account,
    secrets: tuple[str, ...],
    is_there: bool,
    environ: dict[str, str],
    line: str,
    says: str,
) -> None:
    found = diagnosed(account(*secrets, is_there=is_there) | environ)
    assert_wrong(found, line, "broken", says)


def test_an_environment_whose_alarms_reach_nobody_is_named(account: Account) -> None:
    found = diagnosed(account(is_there=False) | {"ENV": "staging"})
    assert found["staging/samconfig.toml"][0] == "broken"
    assert "alarm_email" in found["staging/samconfig.toml"][1]


@pytest.mark.parametrize(("origins", "status"), [("*", 0), ("https://a.example/", 1)])
def test_the_command_prints_a_table_and_creates_nothing(
    tmp_path: Path, origins: str, status: int
) -> None:
    """What may hurt is no error."""
    (tmp_path / "template.yaml").symlink_to(ROOT / "template.yaml")
    folders = ["layers/shared", "functions/migrate", "functions/authorizer"]
    path = os.pathsep.join(str(ROOT / name) for name in [".", *folders])
    done = subprocess.run(
        [sys.executable, "-m", "local.doctor"],
        cwd=tmp_path,
        env={"CORS_ORIGINS": origins, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (status, "")
    assert "DATABASE_URL is not given" in done.stdout
    assert [each.name for each in tmp_path.iterdir()] == ["template.yaml"]
