"""The page at `/` of `make run`, in a real browser: what it shows and what it survives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

import pytest
import requests
from selenium.common.exceptions import (
    ElementNotInteractableException,
    StaleElementReferenceException,
)
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.contract.browser import chromium, log
from tests.contract.client import Client
from tests.running import Running, running

SECRET = "a-secret-that-only-these-tests-know-0123456789"
PAGE_SIZE = 20


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


class Page:
    """The page, in the words of somebody who uses it."""

    def __init__(self, chrome: Chrome, url: str, user: str) -> None:
        self._chrome = chrome
        # The page replaces a task after each response, and shows a button only when it has a use.
        not_yet = [StaleElementReferenceException, ElementNotInteractableException]
        self._wait = WebDriverWait(chrome, 30, ignored_exceptions=not_yet)
        # A tab keeps who is signed in, and a page that is still at work would store it again.
        chrome.switch_to.new_window("tab")
        chrome.get(url + "/")
        self.type('[name="user"]', user)
        self.press("Sign in")
        self._wait.until(lambda _: self._shown('[name="title"]'), "not signed in")

    def type(self, selector: str, text: str) -> None:
        """Replace the contents of a field."""
        field = cast("WebElement", self._wait.until(lambda _: self._shown(selector)))
        field.clear()
        field.send_keys(text)

    def press(self, text: str, *, of: str = "") -> None:
        """Press a button of the page, or of the task with this title."""
        inside = f"//li[.//*[contains(text(), '{of}')]]" if of else ""
        self._click(f"{inside}//button[.='{text}']")

    def add(self, title: str) -> None:
        """Add a task, and do not wait for it."""
        self.type('[name="title"]', title)
        self.press("Add")

    def shows(self, *titles: str, completed: bool = False) -> None:
        """Wait until exactly these titles are in the list, or are crossed out in it."""
        selector = "li.completed .title" if completed else "#tasks .title"
        self._wait.until(
            lambda _: [each.text for each in self._all(selector)] == list(titles),
            f"not shown: {titles}",
        )

    def says(self, text: str) -> None:
        """Wait until the page says a text somewhere."""
        self._wait.until(
            lambda d: text in d.find_element(By.TAG_NAME, "body").text, f"{text} did not appear"
        )

    def check(self, title: str) -> None:
        """Complete or reopen a task."""
        self._click(f"//li[.//*[.='{title}']]//input[@type='checkbox']")

    def edit(self, title: str, new: str) -> None:
        """Open a task for editing and type a new title."""
        self.press("Edit", of=title)
        self.type('[aria-label="New title"]', new)

    def be_offline(self, is_offline: bool) -> None:
        """Disconnect this tab from the network, or connect it again."""
        unlimited = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        conditions = {"offline": is_offline, **unlimited}
        self._chrome.execute_cdp_cmd("Network.enable", {})
        self._chrome.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    def _click(self, path: str) -> None:
        """Click once on an element, as soon as it is there."""

        def clicked(driver: Chrome) -> bool:
            driver.find_element(By.XPATH, path).click()
            return True

        self._wait.until(clicked, f"nothing to click: {path}")

    def _shown(self, selector: str) -> WebElement | None:
        return next((e for e in self._all(selector) if e.is_displayed()), None)

    def _all(self, selector: str) -> list[WebElement]:
        return self._chrome.find_elements(By.CSS_SELECTOR, selector)


@pytest.fixture
def client(api: Running) -> Client:
    """Return a client that uses the same account without the page."""
    return Client(api.url, SECRET)


@pytest.fixture
def page(chrome: Chrome, api: Running, client: Client) -> Page:
    """Return the page with a new user signed in."""
    return Page(chrome, api.url, client.user)


def test_a_task_is_added_completed_renamed_and_deleted(
    page: Page, client: Client, chrome: Chrome
) -> None:
    page.add("Water the plants")
    page.shows("Water the plants")
    page.check("Water the plants")
    page.shows("Water the plants", completed=True)
    page.edit("Water the plants", "Water the ferns")
    page.press("Save")
    page.shows("Water the ferns")
    (task,) = client.send("GET", client.path()).json()
    assert (task["title"], task["completed"]) == ("Water the ferns", True)
    page.press("Delete", of="Water the ferns")
    page.shows()
    assert client.send("GET", client.path()).json() == []
    assert log(chrome, "browser") == []


def test_a_conflict_is_shown_and_the_person_decides(page: Page, client: Client) -> None:
    page.add("Mine")
    page.shows("Mine")
    (task,) = client.send("GET", client.path()).json()
    page.edit("Mine", "Mine, changed")
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


def test_more_tasks_than_a_page_has_are_shown_on_demand(
    chrome: Chrome, api: Running, client: Client
) -> None:
    titles = [f"task {number:02}" for number in range(PAGE_SIZE + 1)]
    for title in titles:
        client.send("POST", client.path(), json={"title": title})
    page = Page(chrome, api.url, client.user)
    page.shows(*titles[:PAGE_SIZE])
    page.press("Show more")
    page.shows(*titles)


def test_a_refusal_is_shown_as_a_sentence_and_text_never_as_html(page: Page) -> None:
    page.add("   ")
    page.says("title: String should have at least 1 character")
    page.add("<b>bold</b>")
    page.shows("<b>bold</b>")


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
