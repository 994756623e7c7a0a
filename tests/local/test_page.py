"""The page at `/` of `make run`, in a real browser: what it shows and what it survives."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import psycopg
import pytest
import requests
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from bench.servers import until
from tests.contract.browser import chromium, log, requested
from tests.contract.client import Client
from tests.identity.conftest import execute
from tests.running import Running, free_port, running, start, stop, until_ready

SECRET = "a-secret-that-only-these-tests-know-0123456789"
_WAITING = """
SELECT count(*)::int FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture(scope="module")
def api(new_database: Callable[[], str]) -> Iterator[Running]:
    """Run the API as `make run` does."""
    with running({"JWT_SECRET": SECRET, "DATABASE_URL": new_database()}) as served:
        yield served


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Run one browser for this file, because it starts slowly."""
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def _batches(chrome: Chrome) -> int:
    """Return how many batches the browser has sent since the last call of `requested`."""
    return sum(url.endswith("/tasks/batch") for url in requested(chrome))


class Page:
    """The page in a tab of its own, with a user signed in."""

    def __init__(self, chrome: Chrome, url: str, user: str) -> None:
        self.chrome = chrome
        # The page replaces a task after each response, and shows a button only when it has a use.
        self._wait = WebDriverWait(chrome, 30, ignored_exceptions=[WebDriverException])
        chrome.switch_to.new_window("tab")
        chrome.get(url + "/")
        self.type("//input[@name='user']", user)
        self.press("Sign in")
        self._wait.until(lambda _: chrome.find_element(By.NAME, "title").is_displayed())

    def type(self, path: str, text: str) -> None:
        """Replace the contents of a field."""
        self._click(path)
        field = self.chrome.find_element(By.XPATH, path)
        field.clear()
        field.send_keys(text)

    def press(self, text: str) -> None:
        """Press the first button with this text, as soon as it is there."""
        self._click(f"//button[.='{text}']")

    def add(self, title: str) -> None:
        """Add a task, and do not wait for it."""
        self.type("//input[@name='title']", title)
        self.press("Add")

    def edit(self, title: str) -> None:
        """Open the only task for editing and type a new title."""
        self.press("Edit")
        self.type("//input[@aria-label='New title']", title)

    def complete(self) -> None:
        """Complete the only task."""
        self._click("//li//input[@type='checkbox']")

    def shows(self, *titles: str, where: str = "#tasks .title") -> None:
        """Wait until exactly these titles are in the list."""

        def shown(chrome: Chrome) -> bool:
            found = chrome.find_elements(By.CSS_SELECTOR, where)
            return [each.text for each in found] == list(titles)

        self._wait.until(shown, f"not shown: {titles}")

    def says(self, text: str) -> None:
        """Wait until the page says a text somewhere."""
        self._wait.until(
            lambda chrome: text in chrome.find_element(By.TAG_NAME, "body").text,
            f"{text} did not appear",
        )

    def be_offline(self, is_offline: bool) -> None:
        """Disconnect this tab from the network, or connect it again."""
        unlimited = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        conditions = {"offline": is_offline, **unlimited}
        self.chrome.execute_cdp_cmd("Network.enable", {})
        self.chrome.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    def _click(self, path: str) -> None:
        def clicked(chrome: Chrome) -> bool:
            chrome.find_element(By.XPATH, path).click()
            return True

        self._wait.until(clicked, f"nothing to click: {path}")


@pytest.fixture
def client(api: Running) -> Client:
    """Return a client that uses the same account without the page."""
    return Client(api.url, SECRET)


@pytest.fixture
def page(chrome: Chrome, api: Running, client: Client) -> Page:
    """Return the page with a new user signed in."""
    return Page(chrome, api.url, client.user)


def test_a_task_is_added_completed_renamed_and_deleted(page: Page, client: Client) -> None:
    page.add("<b>plants</b>")
    page.shows("<b>plants</b>")  # text is never read as HTML
    page.complete()
    page.shows("<b>plants</b>", where="li.completed .title")
    page.edit("Water the ferns")
    page.press("Save")
    page.shows("Water the ferns")
    (task,) = client.send("GET", client.path()).json()
    assert (task["title"], task["completed"]) == ("Water the ferns", True)
    page.press("Delete")
    page.shows()
    assert client.send("GET", client.path()).json() == []
    assert log(page.chrome, "browser") == []
    page.add("   ")
    page.says("title: String should have at least 1 character")


def test_a_conflict_is_shown_and_the_person_decides(page: Page, client: Client) -> None:
    page.add("Mine")
    page.shows("Mine")
    (task,) = client.send("GET", client.path()).json()
    page.edit("Mine, changed")
    client.send("PUT", client.path(task["id"]), json={"title": "Theirs"})
    page.press("Save")
    page.says("It now says “Theirs”")
    assert client.send("GET", client.path(task["id"])).json()["title"] == "Theirs"
    page.press("Keep mine")
    page.shows("Mine, changed")
    assert client.send("GET", client.path(task["id"])).json()["title"] == "Mine, changed"


def test_a_write_without_a_network_is_sent_once_when_it_is_back(page: Page, client: Client) -> None:
    page.shows()
    page.be_offline(True)
    page.add("Written on a train")
    page.says("1 not sent yet")
    page.be_offline(False)
    page.shows("Written on a train")
    assert len(client.send("GET", client.path()).json()) == 1


def test_changes_without_a_network_are_one_batch_when_it_is_back(
    page: Page, client: Client
) -> None:
    page.add("First")
    page.shows("First")
    requested(page.chrome)
    page.be_offline(True)
    page.complete()
    for title in ("Second", "Third"):
        page.add(title)
    page.says("3 not sent yet")
    page.be_offline(False)
    page.shows("First", "Second", "Third")
    tasks = client.send("GET", client.path()).json()
    assert [(each["title"], each["completed"]) for each in tasks] == [
        ("First", True),
        ("Second", False),
        ("Third", False),
    ]
    assert _batches(page.chrome) == 1


def test_all_that_is_shown_is_completed_and_cleared(page: Page, client: Client) -> None:
    for number in range(3):
        page.add(str(number))
        page.shows(*map(str, range(number + 1)))
    (first, *_) = client.send("GET", client.path()).json()
    requested(page.chrome)
    page.press("Complete all")
    page.shows("0", "1", "2", where="li.completed .title")
    assert all(each["completed"] for each in client.send("GET", client.path()).json())
    assert _batches(page.chrome) == 1
    client.send("DELETE", client.path(first["id"]))  # refuses the batch, and the rest goes again
    page.press("Clear completed")
    page.shows()
    assert client.titles() == []
    assert _batches(page.chrome) == 2
    assert log(page.chrome, "browser") != []  # the 404


def test_changes_are_done_once_though_the_server_is_killed_before_its_answer(
    chrome: Chrome, new_database: Callable[[], str]
) -> None:
    """The first batch waits in the database when the server dies; a second one waits behind it."""
    database = new_database()
    settings = {"JWT_SECRET": SECRET, "DATABASE_URL": database, "PORT": str(free_port())}
    process = start(settings)
    try:
        client = Client(until_ready(process).url, SECRET)
        task = client.create(title="First")
        page = Page(chrome, client.base_url, client.user)
        page.shows("First")
        with psycopg.connect(database) as holder:
            holder.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (task["id"],))
            page.complete()
            until(lambda: execute(database, _WAITING) == [(1,)])
            page.add("Second")
            os.killpg(process.pid, signal.SIGKILL)
        page.says("2 not sent yet")
        process.wait()
        process = start(settings)
        until_ready(process)
        page.shows("First", "Second")
        tasks = client.send("GET", client.path()).json()
        assert [(each["title"], each["completed"]) for each in tasks] == [
            ("First", True),
            ("Second", False),
        ]
    finally:
        stop(process)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "http://evil.example", "Host": "evil.example"},
    ],
    ids=["no origin", "a stranger's", "behind a foreign name"],
)
def test_only_the_page_itself_gets_a_token(api: Running, headers: dict[str, str]) -> None:
    response = requests.post(f"{api.url}/local/token", data="alice", headers=headers, timeout=30)
    assert response.status_code == 403
