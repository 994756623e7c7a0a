"""Contract part 3: a write with a key happens once, and If-Match guards against lost updates."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from local.specification.requests import ExampleRequest, requests_of
from tests.contract.client import Client, first_error, problem
from tests.functions.handlers import modules, taking
from tests.routes import TASK_ROUTES, Route, fitting_request
from tests.running import ROOT

Send = Callable[..., httpx.Response]


def _key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


KEYED = taking("Idempotency-Key")
GUARDED = [route for route in taking("If-Match") if route.method != "GET"]

keyed = pytest.mark.parametrize("route", KEYED, ids=lambda route: route.key)
guarded = pytest.mark.parametrize("route", GUARDED, ids=lambda route: route.key)


def _url(client: Client, route: Route, task_id: object) -> str:
    url: str = modules(route.folder)["app"].handler.url(user_id=client.user, task_id=task_id)
    return url


def _sender(client: Client, route: Route, task_id: object, example: ExampleRequest) -> Send:
    """Return a function that sends the example with further headers."""
    path = f"{_url(client, route, task_id)}?{example.query_string}"
    body = {} if example.body is None else {"json": example.body}
    return lambda headers: client.send(
        route.method, path, headers={**example.headers, **headers}, **body
    )


# --- Idempotency-Key ---


@keyed
def test_a_write_with_a_key_happens_once_and_its_answer_is_replayed(
    client: Client, route: Route
) -> None:
    write = _sender(client, route, client.create()["id"], fitting_request(route.folder))
    key = _key()
    first = write(headers=key)
    client.create()  # which no replay may touch
    after_first = client.send("GET", client.path()).json()
    again = [write(headers=key) for _ in range(3)]
    assert first.status_code in (200, 201)
    assert "idempotency-replayed" not in first.headers
    for replay in again:
        assert (replay.status_code, replay.content) == (first.status_code, first.content)
        assert replay.headers["idempotency-replayed"] == "true"
        for name in ("content-type", "etag", "location"):
            assert replay.headers.get(name) == first.headers.get(name)
    assert client.send("GET", client.path()).json() == after_first


@pytest.mark.parametrize(
    ("status", "tag"), [(404, "*"), (412, '"0"')], ids=["missing", "changed by somebody"]
)
def test_a_refusal_is_the_same_again_for_its_key(client: Client, status: int, tag: str) -> None:
    task_id = client.create()["id"] if status == 412 else uuid.uuid4()
    headers = _key() | {"If-Match": tag}
    first, again = (client.send("DELETE", client.path(task_id), headers=headers) for _ in range(2))
    assert problem(first, status) == problem(again, status)
    assert len(client.titles()) == (status == 412)


@keyed
def test_a_key_with_another_body_is_422_and_does_nothing(client: Client, route: Route) -> None:
    examples = requests_of(ROOT / "functions" / route.folder).values()
    task_id, key = client.create()["id"], _key()
    for number, example in enumerate(examples):
        response = _sender(client, route, task_id, example)(key)
        if number == 0:
            assert response.status_code in (200, 201)
            before = client.send("GET", client.path()).json()
        else:
            assert first_error(response) == (
                "idempotency_key_reused",
                ["header", "idempotency-key"],
            )
            assert client.send("GET", client.path()).json() == before


def test_the_same_body_in_another_spelling_replays_the_task_as_it_was_then(client: Client) -> None:
    key = _key() | {"Content-Type": "application/json"}
    first = client.send("POST", client.path(), content=b'{"title":"x"}', headers=key)
    client.send("PUT", first.headers["location"], json={"title": "now"})
    again = client.send("POST", client.path(), content=b'{ "title" : "\\u0078" }', headers=key)
    assert again.json() == first.json()
    assert client.titles() == ["now"]


def test_an_invalid_request_leaves_its_key_unused(client: Client) -> None:
    key = _key()
    assert client.send("POST", client.path(), json={}, headers=key).status_code == 422
    assert client.send("POST", client.path(), json={"title": "x"}, headers=key).status_code == 201


def test_a_keys_scope_is_the_user_the_method_and_the_path(client: Client) -> None:
    key, other = _key(), client.other()
    one, two = client.create()["id"], client.create()["id"]
    answers = [
        client.send("POST", client.path(), json={"title": "x"}, headers=key),
        other.send("POST", other.path(), json={"title": "x"}, headers=key),
        client.send("PUT", client.path(one), json={"title": "x"}, headers=key),
        client.send("PUT", client.path(two), json={"title": "x"}, headers=key),
        client.send("PATCH", client.path(one, "complete"), headers=key),
        client.send("DELETE", client.path(one), headers=key),
    ]
    assert all("idempotency-replayed" not in answer.headers for answer in answers)
    assert [answer.status_code for answer in answers] == [201, 201, 200, 200, 200, 200]


def test_every_operation_has_keys_of_its_own(client: Client) -> None:
    key, task_id = _key(), client.create()["id"]
    for route in sorted(KEYED, key=lambda each: each.method == "DELETE"):
        answer = _sender(client, route, task_id, fitting_request(route.folder))(headers=key)
        assert "idempotency-replayed" not in answer.headers, f"{route.key} shares its scope"
        assert answer.status_code in (200, 201), f"{route.key} shares its scope"


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é", "a\tb"])
def test_a_key_that_is_no_visible_ascii_of_up_to_255_characters_is_422(
    client: Client, key: str
) -> None:
    response = client.send(
        "POST",
        client.path(),
        json={"title": "x"},
        headers={"Idempotency-Key": key.encode()},
    )
    assert first_error(response)[1] == ["header", "idempotency-key"]
    assert client.titles() == []


def test_the_longest_key_is_a_key(client: Client) -> None:
    key = {"Idempotency-Key": "~" * 255}
    for _ in range(2):
        client.send("POST", client.path(), json={"title": "x"}, headers=key)
    assert client.titles() == ["x"]


def test_many_at_once_with_one_key_do_it_once(client: Client) -> None:
    path, key = client.path(client.create()["id"], "complete"), _key()

    def toggle(_: int) -> httpx.Response:
        return client.send("PATCH", path, headers=key)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(toggle, range(20)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    done = [a for a in answers if a.status_code == 200 and "idempotency-replayed" not in a.headers]
    assert len(done) == 1
    assert all("retry-after" in a.headers for a in answers if a.status_code == 409)
    assert client.send("GET", client.path()).json()[0]["completed"] is True


def test_a_key_whose_first_request_is_still_running_is_409(client: Client, database: str) -> None:
    task_id = client.create()["id"]
    path, key = client.path(task_id, "complete"), _key()
    with psycopg.connect(database) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (task_id,))
        first = pool.submit(client.send, "PATCH", path, headers=key)
        _wait_for_a_blocked_session(database)
        second = client.send("PATCH", path, headers=key)
        holder.rollback()
        assert first.result().status_code == 200
    assert isinstance(problem(second, 409), str)
    assert int(second.headers["retry-after"]) >= 1
    third = client.send("PATCH", path, headers=key)
    assert third.headers["idempotency-replayed"] == "true"


def test_a_task_that_is_deleted_while_a_write_with_a_key_waits_for_it_is_404(
    client: Client, database: str
) -> None:
    task_id = client.create()["id"]
    path, key = client.path(task_id), _key()
    with psycopg.connect(database) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute("DELETE FROM tasks WHERE id = %s", (task_id,))
        waiting = pool.submit(client.send, "PUT", path, json={"title": "y"}, headers=key)
        _wait_for_a_blocked_session(database)
        holder.commit()
        assert problem(waiting.result(), 404) == "Task not found"
    assert problem(client.send("PUT", path, json={"title": "y"}, headers=key), 404)


def _expire(database: str, client: Client, age: str) -> None:
    """Make the user's keys as old as `age`."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "UPDATE idempotency_keys SET created_at = now() - %s::interval WHERE user_id = %s",
            (age, client.user),
        )


def test_many_at_once_with_one_expired_key_do_it_once(client: Client, database: str) -> None:
    key = _key()

    def write(_: int) -> httpx.Response:
        return client.send("POST", client.path(), json={"title": "x"}, headers=key)

    write(0)
    _expire(database, client, "25 hours")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(write, range(40)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len(client.titles()) == 2


def test_a_key_is_forgotten_after_24_hours(client: Client, database: str) -> None:
    key = _key()
    client.send("POST", client.path(), json={"title": "x"}, headers=key)
    _expire(database, client, "24 hours 1 second")
    again = client.send("POST", client.path(), json={"title": "y"}, headers=key)
    assert "idempotency-replayed" not in again.headers
    assert client.titles() == ["x", "y"]
    third = client.send("POST", client.path(), json={"title": "y"}, headers=key)
    assert third.headers["idempotency-replayed"] == "true"


def test_a_write_whose_connection_is_lost_says_that_its_outcome_is_unknown(
    client: Client, database: str
) -> None:
    task_id = client.create()["id"]
    with psycopg.connect(database) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (task_id,))
        write = pool.submit(client.send, "PATCH", client.path(task_id, "complete"))
        pid = _wait_for_a_blocked_session(database)
        holder.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        response = write.result()
    assert "Idempotency-Key" in problem(response, 503)
    assert response.json()["type"].endswith("/outcome-unknown")
    assert int(response.headers["retry-after"]) >= 1


# --- ETag, If-Match, If-None-Match ---


def test_every_task_answer_has_a_strong_etag_that_moves_with_the_task(client: Client) -> None:
    created = client.send("POST", client.path(), json={"title": "x"})
    path = created.headers["location"]
    read = client.send("GET", path)
    updated = client.send("PUT", path, json={})
    toggled = client.send("PATCH", path + "/complete")
    tags = [answer.headers["etag"] for answer in (created, updated, toggled)]
    assert read.headers["etag"] == created.headers["etag"]
    assert len(set(tags)) == 3
    assert all(tag.startswith('"') and tag.endswith('"') for tag in tags)


@guarded
def test_if_match_lets_only_the_current_version_be_changed(client: Client, route: Route) -> None:
    created = client.send("POST", client.path(), json={"title": "x"})
    path, old = created.headers["location"], created.headers["etag"]
    star = client.send("PUT", path, json={"title": "y"}, headers={"If-Match": "*"})
    assert star.status_code == 200
    current = star.headers["etag"]
    write = _sender(client, route, created.json()["id"], fitting_request(route.folder))
    before = client.send("GET", path).json()
    padded, beyond_all_time = f'"0{current[1:]}', f'"{"f" * 16}"'
    for stale in (
        *(old, f"W/{current}", '"nonsense"', "nonsense", f'{old}, "x"'),
        *(padded, beyond_all_time, current.strip('"')),
        *({current.upper()} - {current}),  # a tag without a letter is the same in capitals
    ):
        assert isinstance(problem(write({"If-Match": stale}), 412), str)
    assert client.send("GET", path).json() == before
    assert write({"If-Match": f"{old}, {current}"}).status_code == 200


# Whoever adds a route that reads or changes a task has to honour both.
CONDITIONAL = [
    route
    for route in TASK_ROUTES
    if route.method != "POST" and ("{task_id}" in route.path or route.path.endswith("/tasks"))
]


@pytest.mark.parametrize("route", CONDITIONAL, ids=lambda route: route.key)
def test_every_route_with_a_version_honours_both_conditions_in_order(
    client: Client, route: Route
) -> None:
    """RFC 9110, 13.2.2: If-Match first, then If-None-Match, which on a read is 304."""
    task = client.create()
    send = _sender(client, route, task["id"], fitting_request(route.folder))
    is_read = route.method == "GET"
    current = send(headers={}) if is_read else client.send("GET", client.path(task["id"]))
    tag = current.headers["etag"]
    known = 304 if is_read else 412
    for if_match, if_none_match, status in (
        ('"other"', tag, 412),
        (tag, tag, known),
        (tag, f'"other", W/{tag}', known),
        ("*", tag, known),
        (None, tag, known),
        (None, "*", known),
        (tag, "*", known),
        (None, f'"{"f" * 16}"', 200),
    ):
        headers = {"If-Match": if_match, "If-None-Match": if_none_match}
        answer = send(headers=headers)
        assert answer.status_code == status, headers
        if status == 304:
            assert (answer.content, answer.headers["etag"]) == (b"", tag)


@pytest.mark.parametrize(
    "route",
    [route for route in CONDITIONAL if "{task_id}" in route.path],
    ids=lambda route: route.key,
)
def test_a_condition_on_a_task_that_is_not_there_is_404(client: Client, route: Route) -> None:
    send = _sender(client, route, uuid.uuid4(), fitting_request(route.folder))
    for name in ("If-Match", "If-None-Match"):
        for tag in ("*", '"1"'):
            assert problem(send(headers={name: tag}), 404) == "Task not found"


def test_of_eight_writers_with_one_etag_exactly_one_wins(client: Client) -> None:
    created = client.send("POST", client.path(), json={"title": "x"})
    path, tag = created.headers["location"], {"If-Match": created.headers["etag"]}

    def write(number: int) -> httpx.Response:
        return client.send("PUT", path, json={"title": f"writer {number}"}, headers=tag)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(write, range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    (winner,) = [answer for answer in answers if answer.status_code == 200]
    assert client.send("GET", path).json() == winner.json()


def test_a_list_that_the_client_has_already_is_304(client: Client) -> None:
    def read(**headers: str) -> httpx.Response:
        return client.send("GET", client.path(), headers=headers)

    empty = read().headers["etag"]
    assert read(**{"If-None-Match": empty}).status_code == 304
    task = client.create()
    tag = read(**{"If-None-Match": empty}).headers["etag"]
    assert tag != empty
    assert read(**{"If-None-Match": tag}).status_code == 304
    client.send("PATCH", client.path(task["id"], "complete"))
    assert read(**{"If-None-Match": tag}).status_code == 200


def _wait_for_a_blocked_session(database: str) -> int:
    """Return the id of the first session that waits for a lock."""
    with psycopg.connect(database, autocommit=True) as connection:
        for _ in range(10_000):
            row = connection.execute(
                "SELECT pid FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).fetchone()
            if row:
                return int(row[0])
    raise AssertionError("no session waits for a lock")
