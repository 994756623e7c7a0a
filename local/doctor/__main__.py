"""`make doctor`: run all checks side by side, print the table, exit with 1 if something is broken.

Every value comes in the environment, as for the other targets.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Thread

from deploy.template import functions
from local.doctor import database, deployed, issuer, surroundings
from local.doctor.findings import BROKEN, FINE, HURTS, UNCHECKED, Finding, Findings
from local.errors import SENTENCES, sentence
from local.settings import Settings
from local.terminal import DIM, GREEN, RED, YELLOW, coloured, shortened

_SECONDS = 8.0
_CONCURRENCY = 10  # as CONCURRENCY of `make run`
_KEPT_SECRET = Path(".local", "jwt_secret")  # what `make run` signs tokens with
_COLOURS = {FINE: GREEN, HURTS: YELLOW, BROKEN: RED, UNCHECKED: DIM}

Check = Callable[[], Findings]


def main() -> None:
    """Print the table, and exit."""
    logging.disable(logging.CRITICAL)  # the functions' lines, in JSON
    findings = diagnose()
    print("\n".join(table(findings)), flush=True)
    os._exit(any(each.state is BROKEN for each in findings))  # also past a check that hangs


def diagnose() -> list[Finding]:
    """Run every check that has something to look at, within ten seconds in total."""
    given = {name: value for name, value in os.environ.items() if value}
    settings = Settings(Path.cwd(), 0, _CONCURRENCY, given.get("DATABASE_URL"), given)
    found = list(surroundings.check(settings))
    for name in [each for each in os.environ if each.startswith("PG")]:
        del os.environ[name]  # as every command does
    checks = [*_databases(given), *_issuers(given), *_deployed(given)]
    return found + _side_by_side(checks)


def _databases(given: dict[str, str]) -> Iterator[tuple[str, Check]]:
    url, owner = given.get("DATABASE_URL"), given.get("OWNER_DATABASE_URL")
    if not url:
        yield _unchecked("database", "DATABASE_URL")
    else:
        found = functions(surroundings.template()).values()
        variables = (each.get("Environment", {}).get("Variables", {}) for each in found)
        environments = _CONCURRENCY * sum("DATABASE_URL" in each for each in variables)
        look = partial(database.check, "database", url, serves=True, migrates=not owner)
        yield "database", partial(look, environments=environments)
    if owner:
        yield "owner", partial(database.check, "owner", owner, migrates=True)


def _issuers(given: dict[str, str]) -> Iterator[tuple[str, Check]]:
    if not given.keys() & set(issuer.SOURCES):
        if not _KEPT_SECRET.exists():
            yield _unchecked("issuer", " or ".join(issuer.SOURCES))
            yield _unchecked("token", "TOKEN, or an issuer,")
            return
        given = {**given, "JWT_SECRET": _KEPT_SECRET.read_text().strip()}
    trusted, line = issuer.read(given)
    yield "issuer", lambda: iter([line])
    for each in trusted:
        if each.jwks_url:
            yield "issuer", partial(issuer.check, each)
    if trusted and "TOKEN" in given:
        yield "token", partial(issuer.check_token, given["TOKEN"], trusted)
    else:
        yield _unchecked("token", "TOKEN")


def _deployed(given: dict[str, str]) -> Iterator[tuple[str, Check]]:
    if name := given.get("ENV"):
        yield name, partial(deployed.check, name)
    else:
        yield _unchecked("deployed", "ENV")


def _unchecked(area: str, what: str) -> tuple[str, Check]:
    return area, lambda: iter([Finding(area, "", UNCHECKED, f"{what} is not given")])


def _side_by_side(checks: list[tuple[str, Check]]) -> list[Finding]:
    """Run each check in a thread of its own, and say which do not end in time."""
    end, running = time.monotonic() + _SECONDS, []
    for area, check in checks:
        lines: list[Finding] = []
        thread = Thread(target=_collect, args=[area, check, lines], daemon=True)
        thread.start()
        running.append((area, thread, lines))
    found: list[Finding] = []
    for area, thread, lines in running:
        thread.join(max(0.0, end - time.monotonic()))
        found += lines
        if thread.is_alive():
            found.append(Finding(area, "time", BROKEN, "It does not answer in time."))
    return found


def _collect(area: str, check: Check, lines: list[Finding]) -> None:
    try:
        lines.extend(check())
    except Exception as error:
        # Its text may hold a value; its type says enough.
        text = f"The check itself failed ({type(error).__name__})."
        lines.append(Finding(area, "check", BROKEN, text))


def table(findings: list[Finding]) -> list[str]:
    """Return the lines of the table, in the order of the checks."""
    areas = max(len(each.area) for each in findings)
    names = max(len(each.name) for each in findings)
    return [
        f"{shortened(each.area):<{areas}}  {each.name:<{names}}  "
        f"{coloured(f'{each.state.value:<11}', _COLOURS[each.state], sys.stdout)}  "
        f"{shortened(each.text)}"
        for each in findings
    ]


if __name__ == "__main__":
    try:
        main()
    except SENTENCES as error:
        sys.exit(sentence(error))
