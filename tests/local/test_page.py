"""The page at `/` of `make run`, in a real browser: what it shows and what it survives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

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
from tests.running import ROOT, Running, running

SECRET = "a-secret-that-only-these-tests-know-0123456789"
PAGE_SIZE = 20
ARTIFACTS = ROOT / "artifacts"


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

    def titles(self) -> list[str]:
        """Return the titles in the list."""
        return [each.text for each in self._all("#tasks .title")]

    def shows(self, *titles: str) -> None:
        """Wait until the list shows exactly these titles."""
        self._wait.until(lambda _: self.titles() == list(titles), f"not shown: {titles}")

    def says(self, text: str) -> None:
        """Wait until the page says a text somewhere."""
        self._wait.until(
            lambda d: text in d.find_element(By.TAG_NAME, "body").text, f"{text} did not appear"
        )

    def check(self, title: str) -> None:
        """Complete or reopen a task."""
        self._click(f"//li[.//*[.='{title}']]//input[@type='checkbox']")

    def completed(self) -> list[str]:
        """Return the titles that are crossed out."""
        return [each.text for each in self._all("li.completed .title")]

    def wait_completed(self, *titles: str) -> None:
        """Wait until exactly these are crossed out."""
        self._wait.until(lambda _: self.completed() == list(titles))

    def edit(self, title: str, new: str) -> None:
        """Open a task for editing and type a new title."""
        self.press("Edit", of=title)
        self.type('[aria-label="New title"]', new)

    @contextmanager
    def offline(self) -> Iterator[None]:
        """Disconnect the browser from the network, and always connect it again at the end."""
        self._chrome.execute_cdp_cmd("Network.enable", {})
        self._be_offline(True)
        try:
            yield
        finally:
            self._be_offline(False)

    def _be_offline(self, is_offline: bool) -> None:
        unlimited = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        conditions = {"offline": is_offline, **unlimited}
        self._chrome.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    def screenshot(self, path: Path) -> None:
        """Store a picture of the window."""
        path.parent.mkdir(exist_ok=True)
        assert self._chrome.save_screenshot(str(path))

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
    page.wait_completed("Water the plants")
    page.edit("Water the plants", "Water the ferns")
    page.press("Save")
    page.shows("Water the ferns")
    (task,) = client.send("GET", client.path()).json()
    assert (task["title"], task["completed"]) == ("Water the ferns", True)
    page.add("Feed the cat")
    page.shows("Water the ferns", "Feed the cat")
    page.screenshot(ARTIFACTS / "page.png")
    page.press("Delete", of="Water the ferns")
    page.shows("Feed the cat")
    assert [each["title"] for each in client.send("GET", client.path()).json()] == ["Feed the cat"]
    assert log(chrome, "browser") == []


def save_in_conflict(page: Page, client: Client) -> dict[str, Any]:
    """Save a change of a task that somebody else has changed; return the task as it was before."""
    page.add("Mine")
    page.shows("Mine")
    (task,) = client.send("GET", client.path()).json()
    page.edit("Mine", "Mine, changed")
    client.send("PUT", client.path(task["id"]), json={"title": "Theirs"})
    page.press("Save")
    return cast("dict[str, Any]", task)


def test_a_conflict_is_shown_and_the_person_decides(page: Page, client: Client) -> None:
    task = save_in_conflict(page, client)
    page.says("It now says “Theirs”")
    assert client.send("GET", client.path(task["id"])).json()["title"] == "Theirs"
    page.press("Keep mine")
    page.shows("Mine, changed")
    assert client.send("GET", client.path(task["id"])).json()["title"] == "Mine, changed"


def test_the_other_version_can_be_taken_instead(page: Page, client: Client) -> None:
    save_in_conflict(page, client)
    page.press("Take theirs")
    page.shows("Theirs")


def test_a_write_without_a_network_is_sent_once_when_it_is_back(page: Page, client: Client) -> None:
    page.shows()
    with page.offline():
        page.add("Written on a train")
        page.says("1 not sent yet")
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


def test_what_the_api_refuses_is_shown_as_a_sentence(page: Page) -> None:
    page.add("   ")
    page.says("title: String should have at least 1 character")


def test_text_is_never_read_as_html(page: Page) -> None:
    page.add("<b>bold</b>")
    page.shows("<b>bold</b>")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://evil.example", "Host": "evil.example"},
    ],
    ids=["no origin", "a stranger's", "an allowed one", "behind a foreign name"],
)
def test_only_the_page_itself_gets_a_token(api: Running, headers: dict[str, str]) -> None:
    response = requests.post(f"{api.url}/local/token", data="alice", headers=headers, timeout=30)
    assert response.status_code == 403


def test_a_name_that_no_user_can_have_is_refused(api: Running) -> None:
    response = requests.post(
        f"{api.url}/local/token", data=b"x" * 256, headers={"Origin": api.url}, timeout=30
    )
    assert (response.status_code, "255" in response.json()["message"]) == (422, True)
