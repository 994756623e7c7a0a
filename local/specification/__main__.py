"""Write the OpenAPI document, or check it: `python -m local.specification [--check]`."""

import json
import sys

from local.specification import ROOT
from local.specification.document import document

_DOCUMENT = ROOT / "functions" / "docs" / "openapi.json"

if __name__ == "__main__":
    text = json.dumps(document(), indent=2, ensure_ascii=False) + "\n"
    if "--check" not in sys.argv[1:]:
        _DOCUMENT.write_text(text)
    elif _DOCUMENT.read_text() != text:
        sys.exit("functions/docs/openapi.json is out of date: run `make openapi`")
