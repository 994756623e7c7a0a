"""What needs no server: connection strings, error texts, placeholders, and the package itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import Mock

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.adapt import Transformer
from psycopg.conninfo import conninfo_to_dict

import neon
from neon import ConfigurationError, Statement, direct_connection, format_url, parse_conninfo
from neon._address import Target, Transport
from neon._refusal import Refusal, classify
from neon._statement import bind
from tests.neon.conftest import HOST

PREFIX = (
    'connection to server at "ep-quota-disabled.aws.neon.tech" (203.0.113.9), port 5432 failed: '
)
PACKAGE = Path(neon.__file__).parent


# -- connection strings --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pooled", "direct"),
    [
        (
            f"postgres://u:p%40-pooler@{HOST}:5432/db-pooler?user=a-pooler",
            f"postgres://u:p%40-pooler@{HOST.replace('-pooler', '')}:5432/db-pooler?user=a-pooler",
        ),
        ("postgresql://u@my-pooler.example.com/d", "postgresql://u@my-pooler.example.com/d"),
        (f"postgresql://u:a#b?c@{HOST}/d", f"postgresql://u:a#b?c@{HOST.replace('-pooler', '')}/d"),
    ],
)
def test_a_migration_goes_to_the_direct_host_of_a_pooled_one_and_verifies_it(
    pooled: str, direct: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = Mock()
    monkeypatch.setattr(psycopg, "connect", connect)
    direct_connection(pooled)
    given, found = conninfo_to_dict(direct), conninfo_to_dict(connect.call_args.args[0])
    assert {name: found[name] for name in given} == given
    assert found["sslmode"] == "verify-full"


@given(
    st.dictionaries(
        st.sampled_from(["user", "password", "dbname", "application_name"]),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
    ),
    st.sampled_from([{}, {"host": "h"}, {"host": "::1", "port": "5"}, {"host": "/run/a b"}]),
)
def test_a_written_connection_string_is_read_as_the_same(
    texts: dict[str, str], server: dict[str, str]
) -> None:
    parameters = {**texts, **server}
    if "user" not in parameters:
        parameters.pop("password", None)
    assert parse_conninfo(format_url(parameters)) == parameters


def test_what_stands_around_a_connection_string_is_removed() -> None:
    expected = {"user": "u", "password": "p", "host": "h", "dbname": "db"}
    assert parse_conninfo(' "postgresql+psycopg2://u:p@h/db"\n') == expected


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql://u:hunter2@h/db?nonsense=hunter2", "cannot be read"),
        ("postgresql://u:hunter2@a,b/db", "one host"),
        ("postgresql://u:hunter2@a/db?hostaddr=1.2.3.4", "cannot hold hostaddr"),
        ("postgresql://h/db", "name a user"),
        ("postgresql://u:hunter2@h/db?sslmode=disable", "loopback and Unix sockets"),
        (f"postgresql://u:hunter2@{HOST}/db?options=-c%20search_path%3Dx", "options=-c"),
        ("postgresql://u:hunter2@Pw-rest@h/db", "percent-encode"),
        ("postgresql://u:hunter2@h/db?schema=public", "the parameter schema"),
    ],
)
def test_an_unsuitable_connection_string_is_refused_with_a_sentence(
    url: str, sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=sentence) as caught:
        Target(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("sslmode", ["", "?sslmode=require"])
def test_from_afar_tls_is_never_less_than_verify_full(sslmode: str) -> None:
    target = Target(f"postgresql://u@db.example.org/db{sslmode}")
    assert target.parameters["sslmode"] == "verify-full"
    assert all(each.roots for each in target.transports)
    assert {each.negotiation for each in target.transports} == {"postgres"}


@pytest.mark.parametrize(
    "host", ["localhost", "127.3.2.1", "[::1]", "", "%2Fvar%2Frun%2Fpostgresql"]
)
def test_only_loopback_and_unix_sockets_go_without_tls(host: str) -> None:
    target = Target(f"postgresql://u@{host}/db")
    assert (target.parameters["sslmode"], target.transports) == ("disable", (Transport(),))


@pytest.mark.parametrize("host", ["10.0.0.1", "127.0.0.1.nip.io", "db"])
def test_a_host_that_only_looks_local_is_verified(host: str) -> None:
    assert Target(f"postgresql://u@{host}/db").parameters["sslmode"] == "verify-full"


def test_the_shipped_roots_are_certificates() -> None:
    from cryptography import x509

    roots = x509.load_pem_x509_certificates((PACKAGE / "roots.pem").read_bytes())
    names = {str(root.subject.rfc4514_string()).split(",")[0] for root in roots}
    assert names == {"CN=ISRG Root X1", "CN=ISRG Root X2"}


# -- why a connect failed ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("ERROR:  Control plane request failed: endpoint is disabled", Refusal.PERMANENT),
        ("ERROR:  endpoint is temporarily unavailable. Check your quotas", Refusal.CONTROL_PLANE),
        ("ERROR:  Control plane request failed", Refusal.CONTROL_PLANE),
        ("ERROR:  password authentication failed for user 'too many clients'", Refusal.PASSWORD),
        ('FATAL:  database "x" does not exist', Refusal.PERMANENT),
        ("FATAL:  sorry, too many clients already", Refusal.BUSY),
        ("FATAL:  the database system is shutting down", Refusal.TRANSIENT),
        ("ERROR:  endpoint is idle", Refusal.TRANSIENT),
        ("FATAL:  MaxClientsInSessionMode: max clients reached - in Session mode", Refusal.BUSY),
        ("ERROR:  compute time quota exceeded. Upgrade your plan.", Refusal.PERMANENT),
        ("FATAL:  what is this", Refusal.UNKNOWN),
        ("Connection refused", Refusal.NETWORK),
        ("server closed the connection unexpectedly", Refusal.NETWORK),
        ("SSL error: certificate verify failed", Refusal.CERTIFICATE),
        ("server does not support SSL, but SSL was required", Refusal.PERMANENT),
    ],
)
def test_a_refusal_is_told_by_what_was_said_and_not_by_names(text: str, refusal: Refusal) -> None:
    assert classify(PREFIX + text) is refusal
    assert classify(text) is refusal


# -- placeholders --------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["%s", "%%", " ", "x", "'", "$"]), max_size=20))
def test_placeholders_are_numbered_as_psycopg_does(parts: list[str]) -> None:
    sql, params = "".join(parts), ["p"] * parts.count("%s")
    bound = bind(Statement(sql, params), Transformer())
    assert (bound.text, list(bound.values)) == _by_psycopg(sql, params)


def _by_psycopg(sql: str, params: Sequence[object] | dict[str, str]) -> tuple[bytes, list[object]]:
    from psycopg._queries import PostgresQuery

    query = PostgresQuery(Transformer())
    query.convert(sql.encode(), params)
    return query.query, list(query.params or ())


# -- the package ---------------------------------------------------------------------------------


def test_every_guarantee_names_a_test_that_exists() -> None:
    page = (PACKAGE.parents[2] / "docs" / "neon.md").read_text()
    guarantees = page.partition("## Guarantees")[2].partition("\n## ")[0]
    tests = "".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    for paragraph in guarantees.split("\n- ")[1:]:
        names = re.findall(r"`(test_\w+)`", paragraph)
        assert names, paragraph
        for name in names:
            assert f"def {name}(" in tests, name
