"""What a token costs: `PYTHONPATH=layers/shared python -m tests.bench.tokens [RUNS]`.

The authorizer's own verifier verifies one token of each algorithm, with its keys at hand, in turns;
the time of one verification is compared with that of HS256. Then processes are started in turns
that import nothing, the authorizer, and the handler that creates a task.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

from tests.functions.handlers import modules
from tests.identity.issuers import Jwks, Key, Signer, hs256, token
from tests.running import ROOT

_SECRET = "a-secret-of-the-benchmark-with-more-than-32-bytes"
_TOKENS_A_ROUND = 50
_STARTS = {"nothing": None, "authorizer": "authorizer", "create_task": "create_task"}


def main() -> None:
    """Measure and print two tables."""
    os.environ["JWT_SECRET"] = _SECRET  # the authorizer refuses to be imported without one
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    print(f"Python {sys.version.split()[0]}, medians of {runs} rounds in turns\n")
    _print("one token of", "microseconds", _verifications(runs))
    print()
    _print("a process that imports", "milliseconds", _starts(runs))


def _verifications(runs: int) -> dict[str, float]:
    with ExitStack() as stack:
        verify = {
            algorithm: _verifier(stack, algorithm)
            for algorithm in ("HS256", "EdDSA", "ES256", "RS256")
        }
        seconds = _in_turns(runs, {name: partial(_round, each) for name, each in verify.items()})
    return {name: each / _TOKENS_A_ROUND * 1e6 for name, each in seconds.items()}


def _verifier(stack: ExitStack, algorithm: str) -> Callable[[], object]:
    """A function that verifies one token of this algorithm, its key fetched already."""
    claims: dict[str, Any] = {
        "sub": "alice",
        "exp": time.time() + 3600,
        "iss": "https://i.example",
        "aud": "tasks",
    }
    settings, tokens = modules("authorizer")["settings"], modules("authorizer")["tokens"]
    if algorithm == "HS256":
        header: dict[str, Any] = {"alg": "HS256"}
        sign: Signer = hs256(_SECRET.encode())
        environment = {"JWT_SECRET": _SECRET}
    else:
        key = Key.new(algorithm, "one")
        server = stack.enter_context(Jwks([key.jwk]))
        header, sign = key.header, key.sign
        issuer = {"issuer": claims["iss"], "audience": "tasks", "algorithms": [algorithm]}
        environment = {"JWT_ISSUERS": json.dumps([{**issuer, "jwks_url": server.url}])}
    verifier = tokens.Verifier(settings.from_environment(environment))
    authorization = f"Bearer {token(header, claims, sign)}"
    verifier.verify(authorization)  # fetches the key
    return lambda: verifier.verify(authorization)


def _round(verify: Callable[[], object]) -> None:
    for _ in range(_TOKENS_A_ROUND):
        verify()


def _starts(runs: int) -> dict[str, float]:
    starts = {name: partial(_start, function) for name, function in _STARTS.items()}
    return {name: each * 1e3 for name, each in _in_turns(runs, starts).items()}


def _start(function: str | None) -> None:
    code = "import app" if function else "pass"
    folder = ROOT / "functions" / (function or "")
    environment = {
        "PYTHONPATH": str(ROOT / "layers" / "shared"),
        "JWT_SECRET": _SECRET,
        "POWERTOOLS_SERVICE_NAME": "task-api",
        "POWERTOOLS_METRICS_NAMESPACE": "TaskApi",
    }
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True)


def _in_turns(runs: int, work: Mapping[str, Callable[[], None]]) -> dict[str, float]:
    """The median seconds of each, measured in turns so that a busy moment meets all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(runs):
        for name, do in work.items():
            started = time.perf_counter()
            do()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) for name, each in seconds.items()}


def _print(what: str, unit: str, figures: dict[str, float]) -> None:
    first = next(iter(figures.values()))
    print(f"| {what} | {unit} | ratio |\n|---|---|---|")
    for name, figure in figures.items():
        print(f"| {name} | {figure:.0f} | {figure / first:.2f} |")


if __name__ == "__main__":
    main()
