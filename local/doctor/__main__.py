"""`make doctor`: run all checks side by side, print the table, exit with 1 if something is broken.

Every value comes in the environment, as for the other targets; TOKEN has a token, ENV a deployed
environment.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from threading import Thread

from deploy.template import functions, parse
from local.doctor import database, deployed, issuer, surroundings
from local.doctor.findings import COLOURS, Finding, Findings, State
from local.errors import SENTENCES
from local.settings import Settings
from local.terminal import coloured, printable

_SECONDS = 9.0
_CONCURRENCY = 10
_KEPT_SECRET = Path(".local", "jwt_secret")  # what `make run` signs tokens with

Check = Callable[[], Findings]


def main() -> None:
    """Print the table."""
    logging.disable(logging.CRITICAL)
    findings = diagnose()
    for line in table(findings):
        print(line)
    is_broken = any(each.state is State.BROKEN for each in findings)
    sys.stdout.flush()
    os._exit(is_broken)  # a check that hangs would keep the process


def diagnose() -> list[Finding]:
    """Run every check that has something to look at, within ten seconds in total."""
    given = {name: value for name, value in os.environ.items() if value}
    settings = Settings(Path.cwd(), 0, _CONCURRENCY, given.get("DATABASE_URL"), given)
    # Before the PG variables are gone, as they are in every command.
    here = (surroundings.variables, surroundings.parameters, surroundings.origins)
    found = [each for check in here for each in check(settings)]
    for name in [each for each in os.environ if each.startswith("PG")]:
        del os.environ[name]
    return found + _side_by_side(_elsewhere(settings))


def _elsewhere(settings: Settings) -> dict[str, list[Check]]:
    """Return the checks that wait for others, by area."""
    return {**_databases(settings), **_issuers(settings), **_deployed(settings)}


def _databases(settings: Settings) -> dict[str, list[Check]]:
    url, owner = settings.database_url, settings.environ.get("OWNER_DATABASE_URL")
    if not url:
        return {"database": [partial(_unchecked, "database", "DATABASE_URL")]}
    use = database.Use(serves=True, migrates=not owner)
    checks: dict[str, list[Check]] = {
        "database": [partial(database.check, "database", url, use, _environments(settings))]
    }
    if owner:
        use = database.Use(serves=False, migrates=True)
        checks["owner"] = [partial(database.check, "owner", owner, use, 0)]
    return checks


def _environments(settings: Settings) -> int:
    """Return how many environments of `make run` may each hold a connection."""
    found = functions(parse(settings.template)).values()
    variables = (each.get("Environment", {}).get("Variables", {}) for each in found)
    return settings.concurrency * sum("DATABASE_URL" in each for each in variables)


def _issuers(settings: Settings) -> dict[str, list[Check]]:
    environ = dict(settings.environ)
    if not environ.keys() & set(issuer.SOURCES) and _KEPT_SECRET.exists():
        environ["JWT_SECRET"] = _KEPT_SECRET.read_text().strip()
    if not environ.keys() & set(issuer.SOURCES):
        return {"issuer": [partial(_unchecked, "issuer", " or ".join(issuer.SOURCES))]}
    trusted, checks = issuer.issuers(environ)
    text = environ.get("TOKEN")
    if not text or not trusted:
        return {"issuer": checks, "token": [partial(_unchecked, "token", "TOKEN")]}
    return {"issuer": checks, "token": [partial(issuer.token, text, trusted)]}


def _deployed(settings: Settings) -> dict[str, list[Check]]:
    name = settings.environ.get("ENV")
    return {
        name or "ENV": [
            partial(deployed.check, name) if name else partial(_unchecked, "deployed", "ENV")
        ]
    }


def _unchecked(area: str, variable: str) -> Findings:
    yield Finding(area, "", State.UNCHECKED, f"{variable} is not given")


def _side_by_side(areas: Mapping[str, list[Check]]) -> list[Finding]:
    """Run each check in a thread of its own, and say which do not end in time."""
    end = time.monotonic() + _SECONDS
    running = []
    for area, checks in areas.items():
        for check in checks:
            lines: list[Finding] = []
            thread = Thread(target=_collect, args=[area, check, lines], daemon=True)
            thread.start()
            running.append((area, thread, lines))
    found: list[Finding] = []
    for area, thread, lines in running:
        thread.join(max(0.0, end - time.monotonic()))
        found += lines
        if thread.is_alive():
            found.append(Finding(area, "time", State.BROKEN, "It does not answer in time."))
    return found


def _collect(area: str, check: Check, lines: list[Finding]) -> None:
    try:
        lines.extend(check())
    except Exception as error:
        # Its text may hold a value; its type says enough.
        text = f"The check itself failed ({type(error).__name__})."
        lines.append(Finding(area, "check", State.BROKEN, text))


def table(findings: list[Finding]) -> list[str]:
    """Return the lines of the table, in the order of the checks."""
    widths = [max(len(str(row[column])) for row in findings) for column in (0, 1)]
    state_width = max(len(each.value) for each in State)
    return [
        f"{each.area:<{widths[0]}}  {each.name:<{widths[1]}}  "
        f"{coloured(f'{each.state.value:<{state_width}}', COLOURS[each.state], sys.stdout)}  "
        f"{printable(each.text)}"
        for each in findings
    ]


if __name__ == "__main__":
    try:
        main()
    except SENTENCES as error:
        sys.exit(str(error))
