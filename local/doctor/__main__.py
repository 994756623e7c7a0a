"""`make doctor`: run all checks, print the table, exit with 1 if something is broken.

Every value comes in the environment, as for the other targets.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from local.doctor import database, deployed, issuer, surroundings
from local.doctor.findings import BROKEN, FINE, HURTS, UNCHECKED, Finding, Findings
from local.errors import SENTENCES, sentence
from local.settings import Settings
from local.terminal import DIM, GREEN, RED, YELLOW, coloured, shortened

_COLOURS = {FINE: GREEN, HURTS: YELLOW, BROKEN: RED, UNCHECKED: DIM}


def main() -> None:
    """Print the table, and exit."""
    logging.disable(logging.CRITICAL)  # the functions' lines, in JSON
    findings = diagnose()
    print("\n".join(table(findings)), flush=True)
    sys.exit(int(any(each.state is BROKEN for each in findings)))


def diagnose() -> list[Finding]:
    """Run every check that has something to look at."""
    given = {name: value for name, value in os.environ.items() if value}
    for name in [each for each in os.environ if each.startswith("PG")]:
        del os.environ[name]  # as every command does
    settings = Settings(Path.cwd(), 0, 0, given.get("DATABASE_URL"), given)
    return [
        *surroundings.check(settings),
        *_guarded("database", _databases(given)),
        *_guarded("issuer", _issuers(given)),
        *_guarded("deployed", _deployed(given)),
    ]


def _databases(given: Mapping[str, str]) -> Findings:
    url, owner = given.get("DATABASE_URL"), given.get("OWNER_DATABASE_URL")
    if url:
        yield from database.check("database", url, serves=True, migrates=not owner)
    else:
        yield _unchecked("database", "DATABASE_URL")
    if owner:
        yield from database.check("owner", owner, migrates=True)


def _issuers(given: Mapping[str, str]) -> Findings:
    if not given.keys() & set(issuer.SOURCES):
        yield _unchecked("issuer", " or ".join(issuer.SOURCES))
        return
    trusted, line = issuer.read(given)
    yield line
    for each in trusted:
        if each.jwks_url:
            yield issuer.check(each)
    if trusted and "TOKEN" in given:
        yield issuer.check_token(given["TOKEN"].strip(), trusted)
    else:
        yield _unchecked("token", "TOKEN")


def _deployed(given: Mapping[str, str]) -> Findings:
    if name := given.get("ENV"):
        yield from deployed.check(name)
    else:
        yield _unchecked("deployed", "ENV")


def _unchecked(area: str, what: str) -> Finding:
    return Finding(area, "", UNCHECKED, f"{what} is not given")


def _guarded(area: str, findings: Findings) -> Findings:
    try:
        yield from findings
    except Exception as error:
        # Its text may hold a value; its type says enough.
        text = f"The check itself failed ({type(error).__name__})."
        yield Finding(area, "check", BROKEN, text)


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
