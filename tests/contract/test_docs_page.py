"""Contract part 1: /docs in a real browser asks no other host, and its buttons work."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome

from tests.contract.browser import SwaggerUI, chromium, log, requested
from tests.contract.client import Client

# Not requests to a host: what the page or the browser contains itself.
_INSIDE = {"data", "blob", "about", "chrome", "devtools"}


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Run one browser for this file, because it starts slowly."""
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(chrome: Chrome, client: Client) -> SwaggerUI:
    """Return the page, freshly loaded and without the token of an earlier test."""
    everything = {"origin": client.base_url, "storageTypes": "all"}
    chrome.execute_cdp_cmd("Storage.clearDataForOrigin", everything)
    requested(chrome)
    log(chrome, "browser")
    return SwaggerUI(chrome, f"{client.base_url}/docs")


def _assert_asks_its_own_host_only(chrome: Chrome, client: Client) -> None:
    """Check the requests of the page and its browser's log, with violations of its policy."""
    urls = [url for url in requested(chrome) if urlsplit(url).scheme not in _INSIDE]
    assert {urlsplit(url)[:2] for url in urls} == {urlsplit(client.base_url)[:2]}
    assert log(chrome, "browser") == []


def test_the_page_shows_every_operation_and_asks_no_other_host(
    chrome: Chrome, page: SwaggerUI, client: Client
) -> None:
    paths = client.send("GET", "/openapi.json").json()["paths"]
    assert len(page.operations()) == sum(map(len, paths.values()))
    _assert_asks_its_own_host_only(chrome, client)


def test_a_token_does_not_outlive_the_page(chrome: Chrome, page: SwaggerUI, client: Client) -> None:
    page.authorize(client.token())
    stored = "return JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])"
    assert chrome.execute_script(stored) == '[{},{},""]'


def test_trying_it_without_a_token_is_401(page: SwaggerUI, client: Client) -> None:
    status, body = page.try_out("listTasks", user_id=client.user)
    assert (status, body) == (401, {"message": "Unauthorized"})


def test_with_a_token_trying_it_creates_a_task_and_lists_it(
    chrome: Chrome, page: SwaggerUI, client: Client
) -> None:
    page.authorize(client.token())
    new = {"title": "Water the plants", "description": "The ferns twice"}
    created, task = page.try_out("createTask", user_id=client.user, body=new)
    assert (created, task["title"], task["completed"]) == (201, new["title"], False)
    page.close("createTask")
    assert page.try_out("listTasks", user_id=client.user) == (200, [task])
    assert client.send("GET", client.path()).json() == [task]
    _assert_asks_its_own_host_only(chrome, client)


@pytest.mark.campaign
def test_on_a_phone_an_open_operation_is_no_wider_than_the_screen(
    chrome: Chrome, page: SwaggerUI
) -> None:
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        page.open_all()
        assert chrome.execute_script("return document.documentElement.scrollWidth") == 390
    finally:
        chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
