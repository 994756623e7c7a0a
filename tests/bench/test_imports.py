"""What each function imports, and nothing that it does not use: the larger part of a cold start.

The budget is the set of modules, beyond those of the runtime; a new one has to be put here by
somebody who has seen what it costs (docs/performance.md says how).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.peers import Contender, build
from tests.bench.test_peers import CONTENDERS, python, runtime
from tests.running import ROOT
from tests.test_template import FUNCTIONS

__all__ = ["python", "runtime"]

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
    f"tasks.{name}" for name in ("cold_start", "database", "models", "paging", "writes")
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


@pytest.fixture(scope="module")
def ours() -> Contender:
    """What `sam build` makes."""
    (contender,) = build(ROOT, CONTENDERS, print, ("ours",))
    return contender


def _imported(
    function: str, ours: Contender, python: Path, runtime: Path, *before: str
) -> set[str]:
    """What importing the handler adds to the modules of a new process of the runtime."""
    folder = next(iter(ours.functions.values())).with_name(function)
    path = ":".join(map(str, (folder, *ours.path, runtime)))
    result = subprocess.run(
        [python, "-S", "-B", "-c", _IMPORTED, *before],
        cwd=folder,
        env={"PYTHONPATH": path, "JWT_SECRET": "x" * 32, "API_URL": "https://localhost"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return {name for name in json.loads(result.stdout) if not name.startswith(_NO_MODULES)}


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_imports_what_it_needs_and_nothing_else(
    function: str, ours: Contender, python: Path, runtime: Path
) -> None:
    modules = _imported(function, ours, python, runtime) - {"app"}
    top = {name.partition(".")[0] for name in modules}
    own = {name.partition(".")[0] for name in OURS[function]}
    assert {name for name in modules if name.partition(".")[0] in own} == OURS[function]
    assert top - own - sys.stdlib_module_names == PACKAGES[function]


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_adds_little_of_the_standard_library(
    function: str, ours: Contender, python: Path, runtime: Path
) -> None:
    modules = _imported(function, ours, python, runtime, "psycopg")
    standard = {name for name in modules if name.partition(".")[0] in sys.stdlib_module_names}
    assert standard <= STANDARD[function]
