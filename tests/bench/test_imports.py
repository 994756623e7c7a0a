"""The imports of each function, which are the larger part of a cold start.

The budget is the set of packages beyond those of the runtime. Add one here after you have seen what
it costs (docs/performance.md says how).
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

# What extensions leave in sys.modules, and data of the interpreter.
_NO_MODULES = ("_cython", "cython_runtime", "_sysconfigdata", "_opcode_metadata", "_openssl")
_IMPORTED = """
import awslambdaric.bootstrap, json, sys
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
_DESCRIBED = """
import json, typing, app
from pydantic_core.core_schema import CoreConfig
class Own(typing.TypedDict): name: str
print(json.dumps([typing.is_typeddict(each) for each in (CoreConfig, Own)]))
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


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_imports_the_packages_that_it_needs_and_no_other(
    run: Run, function: str
) -> None:
    ours = {path.stem for path in (ROOT / "layers" / "shared").iterdir()}
    ours |= {path.stem for path in (ROOT / "functions").rglob("*.py")}
    imported = run(function, _IMPORTED)
    top = {name.partition(".")[0] for name in imported if not name.startswith(_NO_MODULES)}
    assert top - ours - sys.stdlib_module_names == PACKAGES[function]


def test_nothing_is_collected_in_init_and_what_it_left_is_not_looked_at_again(run: Run) -> None:
    in_init, afterwards, frozen = run("ListTasks", _COLLECTED, **_IN_LAMBDA)
    assert (in_init, afterwards) == (False, True)
    assert frozen > 10_000
    elsewhere = run("ListTasks", _COLLECTED)
    assert elsewhere == [True, True, 0]
    with pytest.raises(AssertionError, match="DATABASE_URL has to be a postgresql:// connection"):
        run("ListTasks", _COLLECTED, **(_IN_LAMBDA | {"DATABASE_URL": ""}))


def test_the_connection_begins_before_pydantic_and_the_models_are_imported(run: Run) -> None:
    begun = set(run("ListTasks", _BEGUN, **_IN_LAMBDA))
    assert not {name.partition(".")[0] for name in begun} & (_PYDANTIC | _POWERTOOLS)


def test_pydantic_core_does_without_its_typed_dicts_in_lambda_and_nothing_else_does(
    run: Run,
) -> None:
    assert run("ListTasks", _DESCRIBED, **_IN_LAMBDA) == [False, True]
    assert run("ListTasks", _DESCRIBED) == [True, True]
