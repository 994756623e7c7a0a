"""Environments that freeze, are restored, fork and end; settings and secrets."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import snapshot_restore_py  # type: ignore[import-untyped]

from bench.proxy import Proxy
from bench.servers import PASSWORD, Postgres, until
from neon import ConfigurationError, Database, Effect, Statement
from neon._address import _secret_url
from tests.aws import SecretsManager
from tests.neon.conftest import through
from tests.running import python

READ = Effect.READ
ONE = Statement("SELECT 1 AS one")
Connect = Callable[..., Database]


@pytest.fixture
def in_lambda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set what tells code that it runs in Lambda; remove its signal handler after the test."""
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


# -- INIT and SnapStart --------------------------------------------------------------------------


@pytest.mark.usefixtures("in_lambda")
def test_warm_leaves_failures_to_the_first_request(
    connect: Connect, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    database = connect(through(proxy), timeout=0.5)
    proxy.refuse(*["endpoint is disabled"] * 100)
    database.warm()
    proxy.refusals.clear()
    assert "not connected ahead of the first request" in caplog.text
    assert PASSWORD not in caplog.text
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]


@pytest.mark.usefixtures("in_lambda")
@pytest.mark.parametrize("early", [True, False])
def test_warm_opens_the_connection_that_the_first_request_uses(
    connect: Connect, proxy: Proxy, early: bool
) -> None:
    database = connect(through(proxy))
    for _ in range(2 if early else 0):
        database.start_warming()
    database.warm()
    assert (proxy.accepted, database.telemetry.connects) == (1, 1)
    assert "neon" not in {thread.name for thread in threading.enumerate()}
    before = proxy.round_trips
    database.run(ONE, effect=READ)
    assert proxy.round_trips - before == 1
    database.close()
    database.warm()
    assert database.telemetry.connects == 2


@pytest.mark.parametrize("environment", [{}, {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}])
def test_nothing_is_warmed_outside_of_lambda_or_in_a_snapshot(
    connect: Connect, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")
        monkeypatch.setenv(name, value)
    database = connect(through(proxy))
    database.start_warming()
    assert "neon" not in {thread.name for thread in threading.enumerate()}
    if not environment:
        database.warm()
    assert proxy.accepted == 0


@pytest.mark.usefixtures("in_lambda")
def test_nothing_is_open_in_a_snapshot_and_it_reconnects_after_the_restore(
    connect: Connect, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: list[tuple[Callable[..., object], tuple[object, ...], dict[str, object]]] = []
    after: list[tuple[Callable[..., object], tuple[object, ...], dict[str, object]]] = []
    monkeypatch.setattr(snapshot_restore_py, "_before_snapshot_registry", before)
    monkeypatch.setattr(snapshot_restore_py, "_after_restore_registry", after)
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    database = connect(through(proxy))
    database.warm()
    assert proxy.accepted == 0
    database.run(ONE, effect=READ)  # INIT code may do that
    for function, arguments, named in before:
        function(*arguments, **named)
    assert database._connection is None
    until(lambda: all(not each.running for each in proxy.connections))
    for function, arguments, named in after:
        function(*arguments, **named)
    assert (len(before), len(after), proxy.accepted) == (1, 1, 2)
    trips = proxy.round_trips
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]
    assert proxy.round_trips - trips == 1


# -- age -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clock", "limit", "seconds"), [("monotonic", "max_idle", 241), ("time", "max_lifetime", 3601)]
)
@pytest.mark.usefixtures("table")
def test_a_connection_past_its_limit_is_replaced_without_an_error(
    connect: Connect,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    clock: str,
    limit: str,
    seconds: float,
) -> None:
    """Both clocks count, because the monotonic one may stand still while Lambda is frozen."""
    database = connect(through(proxy), **({"max_idle": 10**9} if limit == "max_lifetime" else {}))
    database.run(ONE, effect=READ)
    real = getattr(time, clock)
    monkeypatch.setattr(f"neon._connection.time.{clock}", lambda: real() + seconds)
    database.run(Statement("INSERT INTO hits VALUES ('a')"), effect=Effect.ONCE)
    assert (database.telemetry.expired, proxy.accepted) == (1, 2)


# -- fork and end --------------------------------------------------------------------------------

_FORKING = """
import os, sys
from neon import Database, Effect, Statement
database = Database(sys.argv[1])
pid = Statement("SELECT pg_backend_pid() AS pid")
mine = database.run(pid, effect=Effect.READ)
child = os.fork()
if child == 0:
    theirs = database.run(pid, effect=Effect.READ)
    database.close()
    os._exit(0 if theirs != mine else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert database.run(pid, effect=Effect.READ) == mine
print(database.telemetry.connects)
"""

_ENDING = """
import os, sys
from neon import Database, Effect, Statement
database = Database(sys.argv[1])
database.warm()
print(len(database.run(Statement("SELECT 1"), effect=Effect.READ)), flush=True)
if sys.argv[2] == "exit":
    sys.exit(0)
sys.stdin.readline()
"""


def test_a_forked_child_opens_its_own_and_leaves_the_parents_alone(postgres: Postgres) -> None:
    with python(_FORKING, postgres.url) as process:
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (0, "1\n", "")


@pytest.mark.parametrize("way", ["exit", "sigterm"])
def test_the_connection_is_closed_in_order_at_the_end(proxy: Proxy, way: str) -> None:
    with python(_ENDING, through(proxy), way, AWS_LAMBDA_RUNTIME_API="127.0.0.1:9001") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        if way == "sigterm":
            process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    until(lambda: proxy.last_words == [b"X\0\0\0\x04"])


# -- settings and secrets ------------------------------------------------------------------------


def test_a_database_url_that_is_none_is_misconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://u@h/db")
    monkeypatch.delenv("DATABASE_SECRET", raising=False)
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        Database.from_environment()


@pytest.mark.parametrize(
    "stored",
    ["postgresql://u:p@h/db\n", json.dumps({"url": "postgresql://u:p@h/db", "port": 5432})],
)
def test_secrets_manager_holds_the_url_plain_or_as_json(
    secrets_manager: SecretsManager, stored: str
) -> None:
    secrets_manager.create("prod/tasks", stored)
    assert _secret_url("prod/tasks", 5) == "postgresql://u:p@h/db"


@pytest.mark.parametrize("stored", ["hunter2", '{"url": 1}'])
def test_a_secret_without_a_url_is_misconfigured_and_not_shown(
    secrets_manager: SecretsManager, stored: str
) -> None:
    secrets_manager.create("prod/tasks", stored)
    with pytest.raises(ConfigurationError, match="prod/tasks") as caught:
        _secret_url("prod/tasks", 5)
    assert stored not in str(caught.value)
    assert caught.value.__cause__ is None
