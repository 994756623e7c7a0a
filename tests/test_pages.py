"""The pages: links lead somewhere, and what the API has is in README and in the contract."""

import json
import re
from pathlib import Path

from observability import VERSION
from tests.routes import ROUTES
from tests.running import ROOT

README, CONTRACT = ROOT / "README.md", ROOT / "docs" / "api.md"
PAGES = [README, *ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "bench" / "README.md"]
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def _links(page: Path) -> set[tuple[Path, str]]:
    """Return the files that a page links to, each with the section that it names."""
    found = _LINK.findall(_prose(page))
    return {((page.parent / file).resolve() if file else page, part) for file, part in found}


def _prose(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


def _sections(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def test_every_link_of_a_page_leads_to_a_file_and_a_section_that_exist() -> None:
    broken = [
        f"{page.name}: {file.name}#{part}"
        for page in PAGES
        for file, part in _links(page)
        if not file.exists() or (part and part not in _sections(file))
    ]
    assert not broken


def test_the_first_page_leads_to_every_page_in_two_clicks() -> None:
    one = {file for file, _ in _links(README)}
    two = {file for page in one if page.suffix == ".md" for file, _ in _links(page)}
    assert set(PAGES) <= one | two | {README}


def test_the_newest_release_of_the_changelog_is_the_version() -> None:
    releases = re.findall(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert releases[0] == VERSION


def test_readme_and_the_contract_have_every_route() -> None:
    for page in (README, CONTRACT):
        text = page.read_text()
        assert not [route.key for route in ROUTES if f"`{route.key}`" not in text], page.name


def test_the_contract_has_every_parameter() -> None:
    specification = json.loads((ROOT / "functions" / "docs" / "openapi.json").read_text())
    names = {
        each["name"]
        for path in specification["paths"].values()
        for operation in path.values()
        for each in operation.get("parameters", [])
        if each["in"] != "path"
    }
    text = CONTRACT.read_text()
    assert not [name for name in names if f"`{name}`" not in text]
