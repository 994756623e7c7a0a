"""Write the OpenAPI document, or check it: `python -m local.specification [--check]`."""

from __future__ import annotations

import json
import sys

from local.specification.endpoints import ROOT, endpoints

DOCUMENT = ROOT / "functions" / "docs" / "openapi.json"


def main() -> int:
    """Write the document, or with --check say whether the committed one is what is served."""
    described = endpoints()  # first: it makes the layer importable
    from local.specification.document import document

    text = json.dumps(document(described), indent=2, ensure_ascii=False) + "\n"
    if "--check" in sys.argv[1:]:
        if DOCUMENT.read_text() == text:
            return 0
        print("functions/docs/openapi.json is out of date: run `make openapi`", file=sys.stderr)
        return 1
    changed = DOCUMENT.read_text() != text
    DOCUMENT.write_text(text)
    names = ", ".join(each.endpoint.operation for each in described if each.endpoint.operation)
    print(f"{'wrote' if changed else 'unchanged:'} {DOCUMENT.relative_to(ROOT)} with {names}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
