"""The page under /docs: our own assets, a policy of hashes, and no way to the database."""

from __future__ import annotations

import base64
import hashlib
import re

from tests.functions.handlers import Context, handler, recorded
from tests.running import ROOT

ASSETS = ROOT / "functions" / "docs" / "assets"


def test_the_assets_are_the_vendored_version_unchanged() -> None:
    listed = [line.split() for line in (ASSETS / "SHA256SUMS").read_text().splitlines()]
    expected = {name: checksum for checksum, name in listed}
    assert expected == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in ASSETS.iterdir()
        if path.name not in ("SHA256SUMS", "README.md")
    }
    assert {"LICENSE", "NOTICE"} <= expected.keys()


def test_the_policy_has_the_hash_of_each_script_and_style_and_nothing_unsafe() -> None:
    answer = handler("docs")(recorded("docs") | {"headers": {}}, Context())
    policy = answer["headers"]["Content-Security-Policy"]
    directives = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    page = base64.b64decode(answer["body"]).decode()
    for element, directive in (("script", "script-src"), ("style", "style-src")):
        texts = re.findall(f"<{element}>(.+?)</{element}>", page, re.DOTALL)
        assert texts
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()) for text in texts]
        assert directives[directive].split() == [f"'sha256-{each.decode()}'" for each in digests]
    assert "unsafe" not in policy
    assert directives["default-src"] == "'none'"
