"""Opening a connection: verified TLS, addresses, refusals, and one deadline for all of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bench.proxy import Fault, Proxy
from bench.servers import (
    PASSWORD,
    QUOTED,
    USER,
    Authority,
    PgBouncer,
    Postgres,
    pgbouncer_version,
)
from neon import (
    ConfigurationError,
    Database,
    DatabaseError,
    Effect,
    Statement,
    UnavailableError,
    _address,
    deadline,
    direct_connection,
)
from tests.neon.conftest import HOST, through, verified
from tests.neon.direct_tls import direct_tls

READ = Effect.READ
ONE = Statement("SELECT 1 AS one")
Connect = Callable[..., Database]
Addresses = Callable[..., list[str]]
DEAD = "127.9.9.9"


# -- TLS -----------------------------------------------------------------------------------------


def test_a_connect_over_tls_costs_six_round_trips_and_a_unit_of_work_one(
    connect: Connect, new_pooler: Callable[..., PgBouncer], authority: Authority
) -> None:
    pooler = new_pooler(certificate=authority.issue("localhost"))
    with Proxy(pooler.port, latency=0.02) as proxy:
        database = connect(_url("localhost", proxy.port, verified(authority)))
        database.run(ONE, effect=READ)
        assert proxy.round_trips - 1 == 6
        database.run(ONE, effect=READ, settings={"app.user_id": "alice"})
        assert proxy.round_trips - 1 == 7


def test_a_neon_host_gets_direct_tls_and_a_remote_one_is_verified_in_full(
    connect: Connect,
    new_pooler: Callable[..., PgBouncer],
    authority: Authority,
    addresses: Addresses,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_address, "_SHIPPED_ROOTS", str(authority.roots))
    plain, asked = new_pooler(), addresses("127.0.0.1")
    certificate = authority.issue(HOST)
    with (
        direct_tls(plain.port, certificate.chain, certificate.key) as port,
        Proxy(port, latency=0.02) as proxy,
    ):
        # Neon's console shows `require`, which verifies nothing.
        url = _url(HOST, proxy.port, "?sslmode=require&channel_binding=prefer")
        assert connect(url).run(ONE, effect=READ) == [[{"one": 1}]]
        assert proxy.round_trips - 1 == 5
        assert proxy.accepted == 1
    assert asked == [HOST]


def test_a_server_that_knows_no_direct_tls_is_asked_the_old_way(
    connect: Connect,
    new_pooler: Callable[..., PgBouncer],
    authority: Authority,
    addresses: Addresses,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if pgbouncer_version() >= (1, 25):
        pytest.skip("this PgBouncer knows direct TLS: PGBOUNCER can name an older one")
    monkeypatch.setattr(_address, "_SHIPPED_ROOTS", str(authority.roots))
    addresses("127.0.0.1")
    pooler = new_pooler(certificate=authority.issue(HOST))
    with Proxy(pooler.port) as proxy:
        database = connect(_url(HOST, proxy.port, "?channel_binding=prefer"))
        assert database.run(ONE, effect=READ) == [[{"one": 1}]]
        assert proxy.accepted == 2
        database.close()
        assert database.run(ONE, effect=READ) == [[{"one": 1}]]
        assert proxy.accepted == 3, "it has to try first what worked before"


def test_the_systems_roots_are_the_second_try(
    connect: Connect,
    new_pooler: Callable[..., PgBouncer],
    authority: Authority,
    addresses: Addresses,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.roots))
    addresses("127.0.0.1")
    pooler = new_pooler(certificate=authority.issue("db.example.org"))
    with Proxy(pooler.port) as proxy:
        database = connect(_url("db.example.org", proxy.port))
        assert database.run(ONE, effect=READ) == [[{"one": 1}]]
        database.close()
        database.run(ONE, effect=READ)
        assert proxy.accepted == 3, "it has to try first what worked before"


@pytest.mark.parametrize(
    ("trusted", "host", "said"),
    [
        ("other", "db.example.org", "certificate verify failed"),
        ("tests", "elsewhere.example.org", "does not match host name"),
    ],
)
def test_a_certificate_that_proves_nothing_is_refused_at_once(
    connect: Connect,
    new_pooler: Callable[..., PgBouncer],
    authority: Authority,
    addresses: Addresses,
    tmp_path: Path,
    trusted: str,
    host: str,
    said: str,
) -> None:
    addresses("127.0.0.1", "127.0.0.2")
    roots = authority if trusted == "tests" else Authority(tmp_path / "other", "Others")
    pooler = new_pooler(certificate=authority.issue(host))
    with Proxy(pooler.port) as proxy:
        parameters = f"?sslrootcert={roots.roots}"
        with pytest.raises(ConfigurationError, match=said) as caught:
            connect(_url("db.example.org", proxy.port, parameters)).run(ONE, effect=READ)
        assert proxy.accepted == 1
    assert PASSWORD not in str(caught.value)


def test_a_server_without_tls_gets_no_password_from_afar(
    connect: Connect, postgres: Postgres, addresses: Addresses
) -> None:
    addresses("127.0.0.1")
    with pytest.raises(ConfigurationError, match="does not support SSL"):
        connect(_url("db.example.org", postgres.port, "?sslmode=prefer")).run(ONE, effect=READ)


def test_a_neon_host_has_to_bind_the_login_to_its_tls_channel(
    connect: Connect,
    new_pooler: Callable[..., PgBouncer],
    authority: Authority,
    addresses: Addresses,
) -> None:
    """PgBouncer cannot bind a login to its channel, Neon's proxy can, and that tells them apart."""
    addresses("127.0.0.1")
    pooler = new_pooler(certificate=authority.issue(HOST))
    parameters = f"?sslnegotiation=postgres&sslrootcert={authority.roots}"
    with pytest.raises(ConfigurationError, match="channel binding"):
        connect(_url(HOST, pooler.port, parameters)).run(ONE, effect=READ)


# -- refusals ------------------------------------------------------------------------------------


def test_a_permanent_refusal_is_tried_once_on_one_address(
    connect: Connect, proxy: Proxy, addresses: Addresses
) -> None:
    addresses("127.0.0.1", "127.0.0.1", "::1")
    proxy.refuse(*["The endpoint has been disabled. Enable it using Neon API and retry."] * 9)
    with pytest.raises(ConfigurationError, match="The endpoint has been disabled"):
        connect(_url("localhost", proxy.port)).run(ONE, effect=READ)
    assert proxy.accepted == 1


@pytest.mark.parametrize(
    ("text", "kind", "base"),
    [
        ("Couldn't connect to compute node", "transient", 0.1),
        ("no more connections allowed (max_client_conn)", "busy", 1.0),
    ],
)
def test_a_transient_refusal_is_tried_again(
    connect: Connect,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    kind: str,
    base: float,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("neon._connect.time.sleep", slept.append)
    proxy.refuse(text, text, text)
    database = connect(through(proxy), timeout=60)
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]
    assert proxy.accepted == 4
    assert all(0 < each <= base * 2**n for n, each in enumerate(slept, 1))
    assert database.telemetry.retries == {kind: 3}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("/postgres", "/hunter2"), "database does not exist"),
        (("/postgres", "/postgres?sslmode=hunter2"), "invalid sslmode value"),
        ((f"{USER}:", "hunter2:"), "password authentication failed for user"),
    ],
)
def test_no_refusal_repeats_a_part_of_the_connection_string(
    connect: Connect, postgres: Postgres, change: tuple[str, str], reason: str
) -> None:
    url = postgres.url.replace(*change)
    for attempt in (partial(connect(url).run, ONE, effect=READ), partial(direct_connection, url)):
        with pytest.raises(DatabaseError, match=reason) as caught:
            attempt()
        assert "hunter2" not in str(caught.value)


def test_what_may_be_permanent_is_tried_twice(connect: Connect, proxy: Proxy) -> None:
    proxy.refuse(*["a text that nobody has ever seen"] * 9)
    with pytest.raises(UnavailableError, match="tried 2 times in"):
        connect(through(proxy)).run(ONE, effect=READ)
    assert proxy.accepted == 2


def test_a_server_asleep_at_the_first_connect_is_waited_for(connect: Connect, proxy: Proxy) -> None:
    """As Neon's proxy does, the server accepts at once and answers when the database is up."""
    proxy.before_connecting = lambda: threading.Event().wait(0.5)
    database = connect(through(proxy))
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]
    assert proxy.accepted == 1
    assert database.telemetry.last_connect_ms >= 500


def test_a_connect_that_is_never_answered_ends_with_the_deadline(
    connect: Connect, proxy: Proxy
) -> None:
    proxy.arm(Fault.BLACK_HOLE)
    with deadline(0.5), pytest.raises(UnavailableError, match=r"tried 1 times.*in time"):
        connect(through(proxy)).run(ONE, effect=Effect.ONCE)


# -- addresses -----------------------------------------------------------------------------------


def test_the_next_address_is_tried_when_the_first_ones_are_dead(
    connect: Connect, postgres: Postgres, addresses: Addresses
) -> None:
    asked = addresses("::1", DEAD, "127.8.8.8", "127.0.0.1")
    database = connect(postgres.url.replace("127.0.0.1", "localhost"))
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]
    connector = database._connector
    assert connector._addresses == ["127.0.0.1", DEAD, "127.8.8.8", "::1"], (
        "it has to try the good address first"
    )
    postgres.terminate()
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]
    assert asked == ["localhost"], "it has to resolve the name only once"


def test_addresses_are_resolved_again_when_none_of_them_answers(
    connect: Connect, postgres: Postgres, addresses: Addresses
) -> None:
    database = connect(postgres.url.replace("127.0.0.1", "localhost"))
    addresses(DEAD)
    with deadline(0.3), pytest.raises(UnavailableError):
        database.run(ONE, effect=READ)
    addresses("127.0.0.1")
    assert database.run(ONE, effect=READ) == [[{"one": 1}]]


def test_a_known_address_that_shows_a_wrong_certificate_is_resolved_again(
    connect: Connect,
    new_pooler: Callable[..., PgBouncer],
    authority: Authority,
    addresses: Addresses,
) -> None:
    """The address belongs to somebody else until the name is resolved again."""
    name = "db.example.org"
    ours = new_pooler(certificate=authority.issue(name))
    theirs = new_pooler(certificate=authority.issue("elsewhere.example.org"))
    asked = addresses("127.0.0.1")
    with Proxy(ours.port) as proxy:
        targets = iter([ours.port, theirs.port, ours.port])
        proxy.before_connecting = lambda: setattr(proxy, "target", next(targets))
        database = connect(_url(name, proxy.port, f"?sslrootcert={authority.roots}"))
        database.run(ONE, effect=READ)
        proxy.cut_all()
        assert database.run(ONE, effect=READ) == [[{"one": 1}]]
    assert asked == [name, name]
    assert database.telemetry.retries["certificate"] == 1


def test_a_name_that_does_not_resolve_is_unavailable(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with deadline(0.3), pytest.raises(UnavailableError, match="cannot be resolved"):
        connect("postgresql://u@db.example.org/db").run(ONE, effect=READ)


def test_a_name_that_no_server_may_have_is_unavailable(connect: Connect) -> None:
    with deadline(0.3), pytest.raises(UnavailableError, match="cannot be resolved"):
        connect(f"postgresql://u@{'x' * 64}.example.org/db").run(ONE, effect=READ)


# -- set-up --------------------------------------------------------------------------------------


def _url(host: str, port: int, parameters: str = "") -> str:
    return f"postgresql://{USER}:{QUOTED}@{host}:{port}/postgres{parameters}"
