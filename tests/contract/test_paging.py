"""Contract part 3: the list by pages, filtered, sorted and searched."""

import base64
import random
import re
import string
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import httpx
import pytest

from tests.contract.client import Client, first_error
from tests.running import ROOT

_NEXT = re.compile(r'<(?P<path>[^>]+)>; rel="next"')


def _pages(client: Client, query: str) -> Iterator[list[dict[str, Any]]]:
    path: str | None = f"{client.path()}?{query}"
    while path:
        response = client.send("GET", path)
        assert response.status_code == 200, response.text
        yield response.json()
        link = _NEXT.fullmatch(response.headers.get("link", ""))
        path = link["path"] if link else None


def _all(client: Client, query: str) -> list[dict[str, Any]]:
    return [task for page in _pages(client, query) for task in page]


@pytest.fixture(scope="module")
def filled(api: Client) -> Client:
    """Return a user with 23 tasks: some completed, some changed later, some with equal titles.

    All tests share them, so none may change them.
    """
    client = api.other()
    tasks = [
        client.create(title=f"Task {number % 5}", description=f"number {number}")
        for number in range(23)
    ]
    for task in random.Random(5).sample(tasks, 8):  # noqa: S311
        client.send("PATCH", client.path(task["id"], "complete"))
    return client


@pytest.mark.parametrize("limit", [1, 4, 22, 23, 24, 1000])
@pytest.mark.parametrize("order", ["created", "-created", "updated", "-updated", "title", "-title"])
def test_the_pages_together_are_the_whole_list_in_order(
    filled: Client, order: str, limit: int
) -> None:
    response = filled.send("GET", filled.path())
    everything = response.json()
    assert isinstance(everything, list)
    assert "link" not in response.headers
    keys = {
        "created": lambda task: task["id"],
        "updated": lambda task: (task["updated_at"], task["id"]),
        "title": lambda task: (task["title"].lower(), task["id"]),
    }
    expected = sorted(everything, key=keys[order.removeprefix("-")], reverse=order.startswith("-"))
    pages = list(_pages(filled, f"sort={order}&limit={limit}"))
    assert [task for page in pages for task in page] == expected
    assert all(len(page) == limit for page in pages[:-1])
    assert len(pages) == -(-23 // limit)


@pytest.mark.parametrize("limit", [3, 1000])
def test_status_shows_what_is_pending_or_completed(filled: Client, limit: int) -> None:
    everything = _all(filled, "")
    for status, wanted in (("pending", False), ("completed", True)):
        tasks = _all(filled, f"status={status}&limit={limit}")
        assert tasks == [task for task in everything if task["completed"] is wanted]
    assert _all(filled, f"status=all&limit={limit}") == everything


@pytest.mark.parametrize("text", ["mILk", "100%", "a_b", "back\\slash", "a&b=c", "é"])
def test_q_is_text_and_no_pattern_in_titles_and_descriptions_in_any_case(
    client: Client, text: str
) -> None:
    client.create(title=f"has {text.upper()} in it")
    client.create(title="has it below", description=f"{text.lower()} in it")
    client.create(title="has nothing of it: axb 100x")
    found = _all(client, f"q={quote(text, safe='')}&limit=1")
    assert [task["title"] for task in found] == [f"has {text.upper()} in it", "has it below"]


SENSELESS = {
    "limit": f" 0 1001 -1 ten 1.5 1_0 %2B10 %2010 %D9%A1 {'9' * 5000}".split(" "),
    "status": ["done"],
    "sort": ["name", "%2Bcreated"],
    "cursor": ["", "abc", "%00", "%F0%9F%8D%B5"],
    "q": ["%00", "x" * 101],
}


@pytest.mark.parametrize("name", SENSELESS)
def test_a_parameter_that_makes_no_sense_is_422(client: Client, name: str) -> None:
    for value in SENSELESS[name]:
        response = client.send("GET", f"{client.path()}?{name}={value}")
        assert first_error(response)[1] == ["query", name], value


def _cursor(client: Client, query: str) -> str:
    link = client.send("GET", f"{client.path()}?{query}").headers["link"]
    return re.search(r"cursor=([^&>]+)", link)[1]  # type: ignore[index]


def _assert_refused(client: Client, query: str, cursor: str) -> None:
    response = client.send("GET", f"{client.path()}?{query}&cursor={cursor}")
    assert first_error(response) == ("cursor_invalid", ["query", "cursor"]), cursor


def test_a_cursor_is_bound_to_its_user_and_to_what_was_asked_for(filled: Client) -> None:
    cursor = _cursor(filled, "limit=2&status=pending&sort=-title&q=task")
    good = "limit=5&status=pending&sort=-title&q=task"
    assert filled.send("GET", f"{filled.path()}?{good}&cursor={cursor}").status_code == 200
    _assert_refused(filled, "limit=5", cursor)
    _assert_refused(filled.other(), good, cursor)


def test_a_cursor_that_was_altered_or_written_in_another_way_is_422(filled: Client) -> None:
    query = "limit=2&sort=title"
    cursor = _cursor(filled, query)
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    for position in range(len(raw)):
        raw[position] ^= 1
        _assert_refused(filled, query, base64.urlsafe_b64encode(raw).decode().rstrip("="))
        raw[position] ^= 1
    alphabet = f"{string.ascii_letters}{string.digits}-_".replace(cursor[-1], "")
    for other in (
        *(cursor[:-1] + last for last in alphabet),
        *(cursor[:-4], cursor + "AAAA", cursor[4:], "A" * 4096),
        *(cursor + "=", cursor + "==", f" {cursor}", cursor.replace("-", "%2B")),
    ):
        if other != cursor:
            response = filled.send("GET", f"{filled.path()}?{query}&cursor={other}")
            assert first_error(response)[1] == ["query", "cursor"], other


@pytest.mark.parametrize("character", ["🍵", '"'])
@pytest.mark.parametrize("order", ["title", "-title"])
def test_the_longest_titles_can_be_paged_through(
    client: Client, character: str, order: str
) -> None:
    created = [client.create(title=character * 500)["id"] for _ in range(3)]
    seen = [task["id"] for task in _all(client, f"limit=1&sort={order}")]
    assert sorted(seen) == sorted(created)


@pytest.mark.parametrize("order", ["created", "-created"])
def test_rows_that_stay_are_seen_once_while_others_come_and_go(client: Client, order: str) -> None:
    kept = [client.create(title=f"kept {number}") for number in range(20)]
    doomed = [client.create(title=f"doomed {number}") for number in range(10)]
    seen: list[str] = []
    for page in _pages(client, f"limit=3&sort={order}"):
        seen += [task["id"] for task in page]
        client.create(title="inserted in between")
        client.send("PUT", client.path(random.choice(kept)["id"]), json={})  # noqa: S311
        if doomed:
            client.send("DELETE", client.path(doomed.pop()["id"]))
        if len(seen) > 200:
            break  # new rows would make an ascending list endless
    assert [seen.count(task["id"]) for task in kept] == [1] * len(kept)


def test_a_page_is_cut_before_it_is_too_large_to_be_answered(client: Client) -> None:
    description = '\x01🍵"\\' * 1250

    def create(_: int) -> httpx.Response:
        body = {"title": "large", "description": description}
        return client.send("POST", client.path(), json=body)

    with ThreadPoolExecutor(8) as pool:
        assert {r.status_code for r in pool.map(create, range(260))} == {201}
    pages = list(_pages(client, ""))
    assert len(pages) > 1
    assert sum(map(len, pages)) == 260
    assert len({task["id"] for page in pages for task in page}) == 260
    tag = client.send("GET", client.path()).headers["etag"]
    seen = client.send("GET", client.path(), headers={"If-None-Match": tag})
    assert (seen.status_code, seen.headers["etag"]) == (304, tag)


def test_the_link_keeps_what_was_asked_for(filled: Client) -> None:
    response = filled.send("GET", f"{filled.path()}?limit=2&sort=-title&status=pending&q=task%20")
    path, asked = _linked(response)
    assert path == filled.path()
    assert asked.pop("cursor")
    assert asked == {"limit": "2", "sort": "-title", "status": "pending", "q": "task "}


def test_the_link_keeps_no_parameter_that_the_api_does_not_know(filled: Client) -> None:
    junk = "&".join(f"junk{number}={'x' * 100}" for number in range(50))
    _, asked = _linked(filled.send("GET", f"{filled.path()}?limit=2&{junk}"))
    assert asked.keys() == {"limit", "cursor"}


def _linked(response: httpx.Response) -> tuple[str, dict[str, str]]:
    """Return the path of the next page, and the parameters of its query."""
    url = urlsplit(_NEXT.fullmatch(response.headers["link"])["path"])  # type: ignore[index]
    return url.path, dict(parse_qsl(url.query))


def test_the_loop_of_the_first_page_reads_all_pages(filled: Client) -> None:
    (loop,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert "/api/alice/tasks?limit=100" in loop
    token = {"Authorization": f"Bearer {filled.token()}"}
    with httpx.Client(base_url=filled.base_url, headers=token, trust_env=False) as client:
        found: dict[str, Any] = {"client": client}
        exec(loop.replace("/api/alice/tasks?limit=100", f"{filled.path()}?limit=4"), found)  # noqa: S102
    assert found["tasks"] == filled.send("GET", filled.path()).json()
