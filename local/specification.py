"""The OpenAPI document, generated from the handlers: `python -m local.specification [--check]`.

Importing every function registers every route on the one resolver; its schema is what is served.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "functions" / "docs" / "openapi.json"
_ROUTED = (
    "list_tasks",
    "create_task",
    "get_task",
    "update_task",
    "delete_task",
    "toggle_task",
    "health",
)


def generate() -> dict[str, Any]:
    """The document as plain data."""
    sys.path.insert(0, str(ROOT / "layers" / "shared"))
    from web import api
    from web.specification import document

    for name in _ROUTED:
        _import(name)
    return document(api)


def _import(function: str) -> None:
    path = ROOT / "functions" / function / "app.py"
    spec = importlib.util.spec_from_file_location(f"functions.{function}.app", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def main() -> int:
    """Write the document, or with --check say whether the committed one is what is served."""
    text = json.dumps(generate(), indent=2, ensure_ascii=False) + "\n"
    if "--check" in sys.argv[1:]:
        if DOCUMENT.read_text() == text:
            return 0
        print("functions/docs/openapi.json is out of date: run `make openapi`", file=sys.stderr)
        return 1
    DOCUMENT.write_text(text)
    print(f"wrote {DOCUMENT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
