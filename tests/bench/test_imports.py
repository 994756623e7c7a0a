"""What each function imports, and nothing that it does not use: the larger part of a cold start.

The budget is the set of modules, beyond those of the runtime; a new one has to be put here by
somebody who has seen what it costs (docs/performance.md says how).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.bench.peers import Contender, build
from tests.bench.side_by_side.processes import CONTENDERS, Runtime
from tests.running import ROOT
from tests.test_template import FUNCTIONS

_NEON = {"neon"} | {
    f"neon._{name}"
    for name in (
        *("address", "connect", "connection", "database", "deadline", "errors", "lifecycle"),
        *("refusal", "secret", "statement", "telemetry", "transaction"),
    )
}
_WEB = {"web"} | {
    f"web.{name}"
    for name in (
        *("answers", "arguments", "body", "identity", "messages", "parameters", "problems"),
        *("record", "resolver", "versions"),
    )
}
_TASKS = {"tasks"} | {
    f"tasks.{name}"
    for name in (*("cursors", "database", "errors", "idempotency", "models", "paging", "settings"),)
}
_SERVED = _NEON | _TASKS | _WEB
_WITH_STORE = _SERVED | {"tasks.ids", "tasks.store"}
OURS = {
    "Authorizer": {"fetch", "keys", "rotation", "settings", "strict_json", "tokens"},
    "Docs": _SERVED,
    "Health": _SERVED,
    "Migrate": _NEON | {"custom_resource", "runner"},
    "Smoke": {"api", "identity", "report", "visit"},
} | dict.fromkeys(
    ("CreateTask", "DeleteTask", "GetTask", "ListTasks", "ToggleTask", "UpdateTask"), _WITH_STORE
)

_POSTGRES = {"psycopg", "psycopg_binary"}
_PYDANTIC = {
    *("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"),
}
PACKAGES = dict.fromkeys(FUNCTIONS, _POSTGRES | _PYDANTIC) | {
    "Authorizer": {"_cffi_backend", "cryptography", "jwt"},
    "Migrate": _POSTGRES,
    "Smoke": set[str](),
}

_HASHES = {"_blake2", "_hashlib", "hashlib", "hmac"}
_UUID = {"_uuid", "uuid"}
_HTTP = {"http", "http.client"}
_URLLIB = {"urllib.error", "urllib.request", "urllib.response"}
# Of the standard library, beyond what psycopg imports and what the runtime has imported already.
STANDARD = dict.fromkeys(FUNCTIONS, _HASHES | _UUID | {"fractions", "gc", "secrets"}) | {
    "Authorizer": _HASHES | _HTTP | _URLLIB | {"calendar"},
    "Migrate": _HASHES | _HTTP,
    "Smoke": _HASHES | _HTTP | _UUID,
}
STANDARD["Docs"] = STANDARD["Docs"] | {"gzip"}

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
_COLLECTED = """
import gc, json, tasks
while_importing = gc.isenabled()
import app
print(json.dumps([while_importing, gc.isenabled(), gc.get_freeze_count()]))
"""

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def ours() -> Contender:
    """What `sam build` makes."""
    (contender,) = build(ROOT, CONTENDERS, print, ("ours",))
    return contender


@pytest.fixture(scope="module")
def run(ours: Contender, runtime: Runtime) -> Run:
    """Runs a program in a new process that has what Lambda gives a function."""

    def run(function: str, program: str, *arguments: str, **variables: str) -> Any:
        folder = next(iter(ours.functions.values())).with_name(function)
        path = ":".join(map(str, (folder, *ours.path, runtime.client)))
        settings = {"JWT_SECRET": "x" * 32, "API_URL": "https://localhost"}
        result = subprocess.run(
            [runtime.python, "-S", "-B", "-c", program, *arguments],
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
    """What importing the handler adds to the modules of the runtime."""
    names = run(function, _IMPORTED, *before)
    return {name for name in names if not name.startswith(_NO_MODULES)}


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_imports_what_it_needs_and_nothing_else(run: Run, function: str) -> None:
    modules = _imported(run, function) - {"app"}
    top = {name.partition(".")[0] for name in modules}
    own = {name.partition(".")[0] for name in OURS[function]}
    assert {name for name in modules if name.partition(".")[0] in own} == OURS[function]
    assert top - own - sys.stdlib_module_names == PACKAGES[function]


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_adds_little_of_the_standard_library(run: Run, function: str) -> None:
    modules = _imported(run, function, "psycopg")
    standard = {name for name in modules if name.partition(".")[0] in sys.stdlib_module_names}
    assert standard <= STANDARD[function]


@pytest.mark.parametrize("function", sorted(f for f in OURS if "tasks" in OURS[f]))
def test_nothing_is_collected_in_init_and_what_it_left_is_not_looked_at_again(
    run: Run, function: str
) -> None:
    in_init, afterwards, frozen = run(function, _COLLECTED, **_IN_LAMBDA)
    assert (in_init, afterwards) == (False, True)
    assert frozen > 10_000
    elsewhere = run(function, _COLLECTED)
    assert elsewhere == [True, True, 0]


@pytest.mark.parametrize("function", sorted(f for f in OURS if "tasks.store" in OURS[f]))
def test_a_function_that_was_told_of_no_database_does_not_start(run: Run, function: str) -> None:
    with pytest.raises(AssertionError, match="DATABASE_URL has to be a postgresql:// connection"):
        run(function, _COLLECTED, **(_IN_LAMBDA | {"DATABASE_URL": ""}))
