"""Schemathesis, which checks an API against all that its specification promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.contract.client import Client
from tests.running import ROOT

ARTIFACTS = ROOT / "artifacts"
CONFIGURATION = ROOT / "tests" / "contract" / "schemathesis.toml"


class Schemathesis:
    """Runs that keep their files in `folder`; `stop` ends the current one."""

    def __init__(self, client: Client, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def ask(self, *options: str, report: str) -> int:
        """Run it with all checks and return how many requests it made. Fail on a broken promise."""
        user = self._client.other("schemathesis")
        environment = os.environ | {
            "SCHEMATHESIS_HOOKS": "tests.contract.schemathesis_hooks",
            "PYTHONPATH": str(ROOT),
            "TOKEN": user.token(exp=4102444800),
        }
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "schemathesis.cli"),
                *("--config-file", str(CONFIGURATION), "run", "--generation-database", "none"),
                *("--checks", "all", "--workers", "2", "--no-color", "--continue-on-failure"),
                # An HTTP API has no 405: for a method without a route it answers 404. A deletion
                # can be replayed, so schemathesis_hooks.py has its own version of that check.
                *("--exclude-checks", "unsupported_method,use_after_free"),
                *("--report", "junit", "--report-junit-path", str(ARTIFACTS / report)),
                *(*options, f"{self._client.base_url}/openapi.json"),
            ],
            cwd=self._folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        output, _ = self._process.communicate()
        assert self._process.returncode == 0, output
        generated = re.search(r"([\d,]+) generated", output)
        assert generated, output
        return int(generated[1].replace(",", ""))

    def ask_until(self, enough: int) -> int:
        """Run it with one seed after another, and return how many requests it made in all.

        The number of requests of one run depends on the responses.
        """
        made, seed = 0, 0
        while made < enough and seed < 8:
            seed += 1
            options = ("--seed", str(seed), "--max-examples", "1000")
            made += self.ask(*options, report=f"promises-{seed}.xml")
        return made

    def stop(self) -> None:
        """Stop the current run."""
        if self._process:
            self._process.kill()


@contextmanager
def asking(client: Client, folder: Path, enough: int) -> Iterator[Future[int]]:
    """Send requests in the background, and yield a future of their number."""
    schemathesis = Schemathesis(client, folder)
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(schemathesis.ask_until, enough)
        try:
            yield made
        finally:
            if not made.done():
                schemathesis.stop()
