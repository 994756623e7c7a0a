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
from bench.servers import PASSWORD, QUOTED, Postgres, until
from neon import ConfigurationError, Database, Effect, Statement, UnavailableError, _lifecycle
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
@pytest.mark.parametrize("text", ["Couldn't connect to compute node", "endpoint is disabled"])
def test_warm_leaves_failures_to_the_first_request(
    connect: Connect, proxy: Proxy, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    database = connect(through(proxy), timeout=0.5)
    proxy.refuse(*[text] * 100)
    database.warm()
    proxy.refusals.clear()
    assert "not connected ahead of the first request" in caplog.text
    assert PASSWORD not in caplog.text
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]


@pytest.mark.usefixtures("in_lambda")
def test_a_unit_of_work_waits_for_the_connection_that_is_being_opened(
    connect: Connect, proxy: Proxy
) -> None:
    proxy.latency = 0.05
    database = connect(through(proxy))
    database.start_warming()
    until(lambda: proxy.accepted == 1)
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]
    assert (proxy.accepted, database.telemetry.connects) == (1, 1)


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


@pytest.mark.parametrize("clock", ["monotonic", "time"])
@pytest.mark.parametrize(("limit", "seconds"), [("max_idle", 241), ("max_lifetime", 3601)])
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


def test_lives_are_jittered_below_their_maximum(connect: Connect, postgres: Postgres) -> None:
    lives = set()
    for _ in range(5):
        database = connect(postgres.url, max_lifetime=1000)
        database.run(ONE, effect=READ)
        assert database._connection is not None
        lives.add(database._connection._max_lifetime)
    assert len(lives) == 5
    assert all(900 <= each <= 1000 for each in lives)


def test_a_waiting_notification_is_not_taken_for_death(
    connect: Connect, postgres: Postgres
) -> None:
    database = connect(postgres.url)
    database.run(Statement("LISTEN news"), effect=READ)
    connection = database._connection
    assert connection is not None
    postgres.admin("NOTIFY news, 'hello'")
    until(lambda: connection._poll.poll(0))
    assert connection.unusable() is None
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]
    assert database.telemetry.connects == 1


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


@pytest.mark.usefixtures("in_lambda")
def test_a_handler_for_sigterm_that_is_there_already_stays() -> None:
    def mine(*_: object) -> None: ...

    signal.signal(signal.SIGTERM, mine)
    _lifecycle.exit_on_sigterm()
    assert signal.getsignal(signal.SIGTERM) is mine


def test_in_another_thread_no_handler_is_set() -> None:
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=_lifecycle.exit_on_sigterm)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


# -- settings and secrets ------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["", "mysql://u@h/db", "host=localhost"])
def test_a_database_url_that_is_none_is_misconfigured(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.delenv("DATABASE_SECRET", raising=False)
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        Database.from_environment()


def test_database_url_is_the_plain_parameter(
    monkeypatch: pytest.MonkeyPatch, postgres: Postgres
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres.url)
    database = Database.from_environment()
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]
    database.close()


def test_a_secret_is_fetched_when_first_needed_and_again_when_the_password_was_refused(
    monkeypatch: pytest.MonkeyPatch, proxy: Proxy, postgres: Postgres
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_SECRET", "prod/tasks")
    answers, asked = [through(proxy).replace(QUOTED, "old"), through(proxy)], []

    def fetch(name: str, *, timeout: float) -> str:
        assert 0 < timeout <= 10
        asked.append(name)
        return answers[len(asked) - 1]

    monkeypatch.setattr("secrets_manager.get_secret", fetch)
    database = Database.from_environment()
    assert asked == []
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]
    postgres.terminate()
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]
    assert asked == ["prod/tasks"] * 2
    assert proxy.accepted == 3
    database.close()


def test_a_secret_that_is_still_the_refused_one_is_not_tried_again(
    connect: Connect, proxy: Proxy
) -> None:
    wrong = through(proxy).replace(QUOTED, "old")
    with pytest.raises(ConfigurationError, match="password"):
        connect(lambda _: wrong).run(ONE, effect=READ)
    assert proxy.accepted == 1


@pytest.mark.parametrize(
    "stored",
    [
        "postgresql://u:p@h/db",
        '"postgresql://u:p@h/db"\n',
        json.dumps({"DATABASE_URL": "postgresql://u:p@h/db"}),
        json.dumps({"url": "postgresql://u:p@h/db", "port": 5432}),
    ],
)
def test_secrets_manager_holds_the_url_plain_or_as_json(
    secrets_manager: SecretsManager, stored: str
) -> None:
    secrets_manager.create("prod/tasks", stored)
    assert _secret_url("prod/tasks", 5) == "postgresql://u:p@h/db"


@pytest.mark.parametrize("stored", ["hunter2", "{}", "[]", '{"url": 1}', '"mysql://x"'])
def test_a_secret_without_a_url_is_misconfigured_and_not_shown(
    secrets_manager: SecretsManager, stored: str
) -> None:
    secrets_manager.create("prod/tasks", stored)
    with pytest.raises(ConfigurationError, match="prod/tasks") as caught:
        _secret_url("prod/tasks", 5)
    assert stored not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.usefixtures("secrets_manager")
def test_a_secret_that_is_not_there_is_misconfigured() -> None:
    with pytest.raises(ConfigurationError, match="ResourceNotFoundException"):
        _secret_url("prod/tasks", 5)


def test_secrets_manager_out_of_reach_is_unavailable(
    secrets_manager: SecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert secrets_manager
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    with pytest.raises(UnavailableError, match="cannot be read now"):
        _secret_url("prod/tasks", 5)


def test_boto3_is_not_imported_where_no_secret_is_used(postgres: Postgres) -> None:
    source = "import sys, neon; neon.Database(sys.argv[1]); print('boto3' in sys.modules)"
    with python(source, postgres.url) as process:
        output, errors = process.communicate(timeout=30)
    assert (output, errors) == ("False\n", "")
