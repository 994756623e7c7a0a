"""The page under /docs: our own assets, a policy of hashes, and no way to the database."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.functions.handlers import Context, handler, recorded
from tests.running import ROOT

ASSETS = ROOT / "functions" / "docs" / "assets"


def get(path: str = "/docs", **headers: str) -> dict[str, Any]:
    event = recorded("docs") | {"routeKey": f"GET {path}", "rawPath": path, "headers": headers}
    answer: dict[str, Any] = handler("docs")(event, Context())
    return answer


def html() -> str:
    return base64.b64decode(get()["body"]).decode()


class Inline(HTMLParser):
    """Collects the texts of a page's scripts and styles, as a browser reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[tuple[str, str]] = []
        self.attributes: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [name for name, _ in attrs]
        self._inside = tag if tag in ("script", "style") else ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts.append((self._inside, data))
            self._inside = ""


def test_the_assets_are_the_vendored_version_unchanged() -> None:
    listed = [line.split() for line in (ASSETS / "SHA256SUMS").read_text().splitlines()]
    expected = {name: checksum for checksum, name in listed}
    assert expected == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in ASSETS.iterdir()
        if path.name not in ("SHA256SUMS", "README.md")
    }
    assert {"LICENSE", "NOTICE"} <= expected.keys()


def test_the_readme_names_the_version_that_the_page_has() -> None:
    (version,) = re.findall(r"^# Swagger UI (\S+)$", (ASSETS / "README.md").read_text(), re.M)
    assert f'"{version}"' in (ASSETS / "swagger-ui-bundle.js").read_text()


def test_the_policy_has_the_hash_of_each_script_and_style_and_nothing_unsafe() -> None:
    policy = get()["headers"]["Content-Security-Policy"]
    directives = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    page = Inline()
    page.feed(html())
    for element, directive in (("script", "script-src"), ("style", "style-src")):
        texts = [text for name, text in page.texts if name == element]
        assert texts
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()) for text in texts]
        assert directives[directive].split() == [f"'sha256-{each.decode()}'" for each in digests]
    assert "unsafe" not in policy
    assert directives["default-src"] == "'none'"
    assert not {name for name in page.attributes if name == "style" or name.startswith("on")}


def test_the_page_keeps_no_token() -> None:
    assert "persistAuthorization: false" in html()


def test_the_page_is_the_same_compressed_and_not() -> None:
    compressed = get(**{"accept-encoding": "gzip"})
    assert compressed["headers"]["Content-Encoding"] == "gzip"
    assert gzip.decompress(base64.b64decode(compressed["body"])).decode() == html()


@pytest.mark.parametrize("event", [{}, {"routeKey": "GET /other"}, {"routeKey": "POST /docs"}])
def test_another_route_is_404_as_a_problem(event: dict[str, Any]) -> None:
    answer = handler("docs")(recorded("docs") | {"routeKey": None} | event, Context())
    assert answer["statusCode"] == 404
    assert answer["headers"]["Content-Type"] == "application/problem+json"
    assert json.loads(answer["body"])["type"] == "/problems/not-found"
