"""The walks of CONTRIBUTING.md: their blocks are applied to a copy of the checkout and tested."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.contract.client import Client
from tests.running import ROOT, running
from tests.sam import runtime_python, sam

pytestmark = pytest.mark.campaign

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
SECRET = "a-secret-that-only-these-tests-know-0123456789"
QUIET = ("-q", "-p", "no:cacheprovider")
FENCE = re.compile(
    r"(?:^`(?P<path>[\w/.]+)`(?:, (?P<place>[^\n]+))?\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$",
    re.M | re.S,
)


class Walk(NamedTuple):
    """One walk of the page: its section, and the checkout in which it is done."""

    section: str
    folder: Path

    def do(self) -> None:
        """Write and edit the files as the section says, and generate the specification."""
        for block in FENCE.finditer(self.section):
            if block["path"]:
                path = self.folder / block["path"].replace("NNNN", self._next_migration())
                path.parent.mkdir(exist_ok=True)
                added, place = block["text"], block["place"]
                path.write_text(_with(path.read_text(), place, added) if place else added)
        self.python("-m", "ruff", "check", "--quiet", "--fix", "layers", "functions", "tests")
        self.python("-m", "local.specification")

    def python(self, *arguments: str) -> str:
        """Run Python in the checkout, and return what it prints. Fail the test if it fails."""
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def changed(self) -> list[str]:
        """Return the files that changed, as git names them."""
        listed = _git(self.folder, "status", "--porcelain", "--untracked-files=all").splitlines()
        return sorted(line[3:] for line in listed)

    def listed(self) -> list[str]:
        """Return the files that the section's table promises."""
        names = re.findall(r"^\| `([\w/]+\.\w+)` \|", self.section, re.M)
        return sorted(name.replace("NNNN", self._next_migration(before=1)) for name in names)

    def _next_migration(self, *, before: int = 0) -> str:
        migrations = self.folder / "functions" / "migrate" / "migrations"
        return f"{max(int(path.name[:4]) for path in migrations.glob('*.sql')) + 1 - before:04}"


def _with(text: str, place: str, added: str) -> str:
    """Return the text with a block at its place; an anchor begins exactly one line."""
    if place == "at the end":
        return f"{text}\n\n{added}"
    lines = text.splitlines(keepends=True)
    anchor = place.removeprefix("above ").strip("`")
    fitting = [number for number, line in enumerate(lines) if line.lstrip().startswith(anchor)]
    if place == "among the imports":
        fitting = [
            number
            for number, line in enumerate(lines)
            if re.match("import |from (?!__future__)", line)
        ][:1]
    assert len(fitting) == 1, f"CONTRIBUTING.md names a place that is not there once: {place}"
    return "".join([*lines[: fitting[0]], added, *lines[fitting[0] :]])


def _git(folder: Path, *arguments: str) -> str:
    options = ("-c", "user.name=Newcomer", "-c", "user.email=newcomer@example.com")
    command = ["git", *options, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def _walk(title: str, folder: Path) -> Walk:
    """Do what a section of the page says in a copy of the files that git has or would add."""
    _, _, rest = PAGE.partition(f"\n## {title}\n")
    section, _, _ = rest.partition("\n## ")
    for name in _git(ROOT, "ls-files", "-co", "--exclude-standard").splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for name in (".venv", ".venv-sam"):
        (folder / name).symlink_to(ROOT / name)
    _git(folder, "init", "--quiet")
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "As it was")
    walk = Walk(section, folder)
    walk.do()
    return walk


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """Return a checkout after the first walk."""
    return _walk("Walk 1: a new endpoint", tmp_path_factory.mktemp("endpoint"))


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """Return a checkout after the second walk."""
    return _walk("Walk 2: a new member of a task", tmp_path_factory.mktemp("member"))


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """Return a checkout after the third walk."""
    title = "Walk 3: a setting, a sort, and a write of many tasks"
    return _walk(title, tmp_path_factory.mktemp("setting"))


# --- the first walk ------------------------------------------------------------------------------


def test_a_new_endpoint_is_the_eight_files_that_the_page_lists(endpoint: Walk) -> None:
    assert endpoint.changed() == endpoint.listed()
    assert len(endpoint.changed()) <= 8


def test_a_new_endpoint_is_served(endpoint: Walk) -> None:
    with running({"JWT_SECRET": SECRET}, endpoint.folder) as api:
        client = Client(api.url, SECRET)
        client.create()
        answer = client.send("GET", f"/api/{client.user}/summary")
        assert (answer.status_code, answer.json()) == (200, {"pending": 1, "completed": 0})
        described = client.send("GET", "/openapi.json", headers={"Authorization": None}).json()
        assert "/api/{user_id}/summary" in described["paths"]


def test_a_new_endpoint_is_built(endpoint: Walk) -> None:
    runtime_python()
    result = sam("build", "SummarizeTasks", cwd=endpoint.folder)
    assert result.returncode == 0, result.stdout + result.stderr
    built = endpoint.folder / ".aws-sam" / "build" / "SummarizeTasks"
    assert (built / "app.py").is_file()


def test_a_new_endpoint_passes_the_tests_that_walk_the_routes_and_the_stack(endpoint: Walk) -> None:
    """All but the thousand odd requests, which take longer than the rest together."""
    tests = (
        "tests/functions",
        "tests/identity",
        "tests/contract/test_writes.py",
        "tests/test_architecture.py",
    )
    passed = endpoint.python("-m", "pytest", *QUIET, "-k", "summar and not every_event", *tests)
    assert re.search(r"^([6-9]|\d{2,}) passed", passed, re.M), passed
    endpoint.python("-m", "pytest", *QUIET, "tests/deploy/test_resources.py")


# --- the second walk -----------------------------------------------------------------------------


def test_a_new_member_is_the_files_that_the_page_lists(member: Walk) -> None:
    assert member.changed() == member.listed()
    assert len(member.changed()) <= 8


def test_a_new_member_passes_its_own_test_and_those_of_tasks(member: Walk) -> None:
    member.python("-m", "pytest", *QUIET, "tests/functions/test_priority.py", "tests/tasks")


def test_a_new_member_is_served_and_its_specification_has_examples_of_it(member: Walk) -> None:
    member.python("-m", "pytest", *QUIET, "tests/contract/test_documentation.py")


# --- the third walk ------------------------------------------------------------------------------


def test_a_setting_a_sort_and_a_write_are_the_files_that_the_page_lists(setting: Walk) -> None:
    assert setting.changed() == setting.listed()


def test_a_setting_a_sort_and_a_write_pass_their_tests_and_those_of_pages(setting: Walk) -> None:
    setting.python("-m", "pytest", *QUIET, "tests/tasks", "tests/test_settings.py")
