"""Debian's Chromium, headless, driven by Selenium, and Swagger UI as its users operate it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as expected
from selenium.webdriver.support.wait import WebDriverWait

_SECONDS = 30
_FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--window-size=1280,1000",
    # Requests that a browser makes on its own.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
)


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """Run a browser with a fresh profile and a log of its network. Skip without Chromium."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("Chromium is missing: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium's sandbox does not work as root
    chrome = Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


def requested(chrome: Chrome) -> list[str]:
    """Return the URL of every request since the last call, those of workers and frames too."""
    entries = [json.loads(message)["message"] for message in log(chrome, "performance")]
    return [
        entry["params"]["request"]["url"]
        for entry in entries
        if entry["method"] == "Network.requestWillBeSent"
    ]


def log(chrome: Chrome, kind: str) -> list[str]:
    """Return the messages of one of the browser's logs since the last call."""
    entries = chrome.get_log(kind)  # type: ignore[no-untyped-call]
    return [entry["message"] for entry in entries]


class SwaggerUI:
    """The page under /docs, in the words of somebody who tries the API there."""

    def __init__(self, chrome: Chrome, url: str) -> None:
        self._chrome = chrome
        self._wait = WebDriverWait(chrome, _SECONDS)
        chrome.get(url)
        self._find(".opblock")

    def operations(self) -> list[str]:
        """Return the ids of the operations that the page shows."""
        blocks = self._chrome.find_elements(By.CSS_SELECTOR, ".opblock")
        return [block.get_attribute("id") or "" for block in blocks]

    def authorize(self, token: str) -> None:
        """Press "Authorize", paste the token, and close the dialogue."""
        self._click(".auth-wrapper .authorize")
        self._find(".auth-container input").send_keys(token)
        self._click(".auth-btn-wrapper .authorize")
        self._click(".auth-btn-wrapper .btn-done")

    def try_out(self, operation: str, *, body: object = None, **parameters: str) -> tuple[int, Any]:
        """Open an operation, try it out and execute it; return the response's status and JSON."""
        block = f"#operations-tasks-{operation}"
        self._click(f"{block} .opblock-summary-control")
        self._click(f"{block} .try-out__btn")
        for name, value in parameters.items():
            self._type(f'{block} tr[data-param-name="{name}"] input', value)
        if body is not None:
            self._type(f"{block} .body-param__text", json.dumps(body, indent=2))
        self._click(f"{block} .execute")
        answer = f"{block} .live-responses-table .response"
        status = self._find(f"{answer} .response-col_status").text.split()[0]
        return int(status), json.loads(self._find(f"{answer} .response-col_description code").text)

    def open_all(self) -> None:
        """Open every operation."""
        for operation in self.operations():
            self._click(f"#{operation} .opblock-summary-control")
            self._find(f"#{operation} .opblock-body .responses-table")

    def close(self, operation: str) -> None:
        """Collapse an operation again."""
        self._click(f"#operations-tasks-{operation} .opblock-summary-control")

    def _find(self, selector: str) -> WebElement:
        there = expected.visibility_of_element_located((By.CSS_SELECTOR, selector))
        return self._wait.until(there, f"{selector} did not appear")

    def _click(self, selector: str) -> None:
        element = self._find(selector)
        self._chrome.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def _type(self, selector: str, text: str) -> None:
        field = self._find(selector)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)
