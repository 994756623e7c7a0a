"""Identity costs the handlers only the standard library."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.identity.harness import ROUTES
from tests.running import ROOT

_SCRIPT = """
import importlib, json, sys
loaded = {}
for folder in sys.argv[1:]:
    sys.path.insert(0, folder)
    importlib.import_module("app")
    sys.path.pop(0)
    sys.modules.pop("app")
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def imported(*functions: str) -> set[str]:
    """Return the top-level names of a process that has imported these functions."""
    folders = [str(ROOT / "functions" / function) for function in functions]
    result = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *folders],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "layers" / "shared"),
            "JWT_SECRET": "a-secret-of-the-tests-with-32-bytes",
        },
        check=True,
        capture_output=True,
        text=True,
    )
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_no_handler_imports_a_library_for_cryptography_or_tokens() -> None:
    modules = imported(*ROUTES, "health", "docs")
    assert {"web", "tasks", "neon"} <= modules
    assert not modules & {"cryptography", "jwt", "cffi", "_cffi_backend", "nacl", "jose"}


def test_the_authorizer_imports_neither_models_nor_the_database_driver() -> None:
    modules = imported("authorizer")
    assert {"jwt", "cryptography", "observability"} <= modules
    assert not modules & {"web", "tasks", "neon", "psycopg", "pydantic", "secrets_manager"}
    assert not modules & {"boto3", "requests", "asyncio", "urllib3"}


def test_the_libraries_are_locked_for_the_authorizer_and_not_for_the_layer() -> None:
    requirements = ROOT / "requirements"
    for name in ("pyjwt", "cryptography"):
        assert f"\n{name}==" in (requirements / "authorizer.txt").read_text()
        assert f"\n{name}==" not in (requirements / "layer.txt").read_text()
