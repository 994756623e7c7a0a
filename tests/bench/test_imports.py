"""The imports of each function, which are the larger part of a cold start.

The budget is the set of packages, and of the standard library's modules, beyond those of the
runtime. Add one here after you have seen what it costs (docs/performance.md says how).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from bench.contenders import ROOT, Contender, lambda_python, runtime_client
from tests.routes import FUNCTIONS

pytestmark = pytest.mark.campaign

_OTHERS = {"Authorizer", "Docs", "Migrate", "Smoke"}
SERVING = sorted(set(FUNCTIONS) - _OTHERS)

_POSTGRES = {"psycopg", "psycopg_binary"}
_PYDANTIC = {
    *("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"),
}
_POWERTOOLS = {"aws_lambda_powertools", "botocore", "jmespath", "typing_extensions"}
PACKAGES = dict.fromkeys(FUNCTIONS, _POSTGRES | _PYDANTIC | _POWERTOOLS) | {
    "Authorizer": {"_cffi_backend", "cryptography", "jwt"} | _POWERTOOLS,
    "Docs": _PYDANTIC | _POWERTOOLS,
    "Migrate": _POSTGRES | _POWERTOOLS,
    "Smoke": _POWERTOOLS,
}

_HASHES = {"_blake2", "_hashlib", "hashlib", "hmac"}
_UUID = {"_uuid", "uuid"}
_HTTP = {"http", "http.client"}
_URLLIB = {"urllib.error", "urllib.request", "urllib.response"}
# Of the standard library, beyond what psycopg imports and what the runtime has imported already.
STANDARD = dict.fromkeys(FUNCTIONS, _HASHES | _UUID | {"fractions", "gc", "gzip", "secrets"}) | {
    "Authorizer": _HASHES | _HTTP | _URLLIB | {"calendar", "gzip"},
    "Migrate": _HASHES | _HTTP | {"concurrent.futures.thread", "gzip"},
    "Smoke": _HASHES | _HTTP | _UUID | {"gzip"},
}

# What extensions leave in sys.modules, and data of the interpreter.
_NO_MODULES = ("_cython", "cython_runtime", "_sysconfigdata", "_opcode_metadata", "_openssl")
_IMPORTED = """
import awslambdaric.bootstrap, json, sys
if "psycopg" in sys.argv:
    import psycopg
before = set(sys.modules)
import app
print(json.dumps(sorted(set(sys.modules) - before)))
"""


# Nobody answers there, which is said in the log and left to the first request.
_IN_LAMBDA = {
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1",
    "DATABASE_URL": "postgresql://a@127.0.0.1:1/b",
}
# What is imported when the connection begins, in a thread.
_BEGUN = """
import json, sys, threading
begin, begun = threading.Thread.start, []
def start(thread):
    begun.append(sorted(sys.modules))
    begin(thread)
threading.Thread.start = start
import app
print(json.dumps(begun[0]))
"""
_COLLECTED = """
import gc, json, startup
while_importing = gc.isenabled()
import app
print(json.dumps([while_importing, gc.isenabled(), gc.get_freeze_count()]))
"""

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def run(built: dict[str, Contender]) -> Run:
    """Return a function that runs a program in a process set up as Lambda sets up ours."""
    ours = built["ours"]

    def run(function: str, program: str, *arguments: str, **variables: str) -> Any:
        folder = next(iter(ours.functions.values())).with_name(function)
        path = ":".join(map(str, (folder, *ours.path, runtime_client())))
        settings = {
            "JWT_SECRET": "a-secret-of-the-tests-with-32-bytes",
            "API_URL": "https://localhost",
        }
        result = subprocess.run(
            [lambda_python(), "-S", "-B", "-c", program, *arguments],
            cwd=folder,
            env={"PYTHONPATH": path, **settings, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return run


def _imported(run: Run, function: str, *before: str) -> set[str]:
    """Return the modules that importing the handler adds to those of the runtime."""
    names = run(function, _IMPORTED, *before)
    return {name for name in names if not name.startswith(_NO_MODULES)}


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_imports_the_packages_that_it_needs_and_no_other(
    run: Run, function: str
) -> None:
    ours = {path.stem for path in (ROOT / "layers" / "shared").iterdir()}
    ours |= {path.stem for path in (ROOT / "functions").rglob("*.py")}
    top = {name.partition(".")[0] for name in _imported(run, function)}
    assert top - ours - sys.stdlib_module_names == PACKAGES[function]


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_adds_little_of_the_standard_library(run: Run, function: str) -> None:
    modules = _imported(run, function, "psycopg")
    standard = {name for name in modules if name.partition(".")[0] in sys.stdlib_module_names}
    assert standard <= STANDARD[function]


@pytest.mark.parametrize("function", [*SERVING, "Docs"])
def test_nothing_is_collected_in_init_and_what_it_left_is_not_looked_at_again(
    run: Run, function: str
) -> None:
    in_init, afterwards, frozen = run(function, _COLLECTED, **_IN_LAMBDA)
    assert (in_init, afterwards) == (False, True)
    assert frozen > 10_000
    elsewhere = run(function, _COLLECTED)
    assert elsewhere == [True, True, 0]


@pytest.mark.parametrize("function", SERVING)
def test_the_connection_begins_before_pydantic_and_the_models_are_imported(
    run: Run, function: str
) -> None:
    begun = set(run(function, _BEGUN, **_IN_LAMBDA))
    assert not {name.partition(".")[0] for name in begun} & (_PYDANTIC | _POWERTOOLS)


@pytest.mark.parametrize("function", SERVING)
def test_a_function_that_was_told_of_no_database_does_not_start(run: Run, function: str) -> None:
    with pytest.raises(AssertionError, match="DATABASE_URL has to be a postgresql:// connection"):
        run(function, _COLLECTED, **(_IN_LAMBDA | {"DATABASE_URL": ""}))
