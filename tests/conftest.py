"""What all tests share: a real Postgres, a stand-in for AWS, and skips that CI does not allow."""

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from uuid import uuid4

import psycopg
import pytest
from hypothesis import settings

from local.postgres import Postgres
from tests import aws
from tests.aws import SecretsManager

# The tests' databases belong to a superuser. The tests of the guard change this setting.
os.environ.setdefault("ALLOW_OWNER_LOGIN", "true")

REQUIRE_ALL = os.environ.get("REQUIRE_ALL") == "1"

# On a developer's machine every run tries other examples. CI always tries the same ones, so that it
# fails only because of a change.
settings.register_profile("ci", derandomize=True, print_blob=True)
if REQUIRE_ALL:
    settings.load_profile("ci")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Run one embedded Postgres in each process; each test makes its own databases in it."""
    with Postgres(tmp_path_factory.mktemp("postgres") / "data") as server:
        yield server


@pytest.fixture(scope="session")
def new_database(postgres: Postgres) -> Callable[[], str]:
    """Return a function that makes an empty database and returns its connection string."""

    def create() -> str:
        name = f"test_{uuid4().hex}"
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return postgres.url_for("postgres", name)

    return create


@pytest.fixture(scope="session")
def aws_server() -> Iterator[str]:
    """Return the URL of the stand-in for AWS, which runs until the last test has ended."""
    with aws.moto_server() as endpoint:
        yield endpoint


@pytest.fixture
def aws_endpoint(aws_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Empty the stand-in, and lead every AWS client of this process to it."""
    aws.reset(aws_server)
    for name, value in aws.settings(aws_server).items():
        monkeypatch.setenv(name, value)
    return aws_server


@pytest.fixture
def secrets_manager(aws_endpoint: str) -> SecretsManager:
    """Return an empty Secrets Manager, where this process looks for it."""
    return SecretsManager(aws_endpoint)


def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than there are cores: tests also wait for servers and timers."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure if REQUIRE_ALL=1, because what it needs can be installed."""
    report = yield
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although REQUIRE_ALL=1 is set: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one table of the tests that did not run on this machine, and what they need."""
    needs = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if needs:
        terminalreporter.section("not run on this machine")
        for reason, count in needs.most_common():
            terminalreporter.line(f"{count:>4} {'test' if count == 1 else 'tests'}  {reason}")


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return str(text).removeprefix("Skipped: ")
