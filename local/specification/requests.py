"""The example requests of an endpoint: `requests` in the `examples.json` of its folder.

The specification shows them, `make run` prints the first one as a `curl` command, and the tests
send the first one to every endpoint.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import urlencode


@dataclass(frozen=True)
class ExampleRequest:
    """One request, apart from its route and its token; a `body` of None is no body."""

    query: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None

    @property
    def query_string(self) -> str:
        """Return the query, percent-encoded.

        >>> ExampleRequest({"since": "2026-11-21T09:30:00+01:00"}).query_string
        'since=2026-11-21T09%3A30%3A00%2B01%3A00'
        """
        return urlencode(self.query)

    def curl(self, method: str, url: str, token: str) -> str:
        """Return a command that sends this request.

        >>> ExampleRequest(body={"title": "Tea"}).curl("POST", "http://localhost/api/al", "a.b.c")
        'curl -X POST -H "Authorization: Bearer a.b.c" --json \\'{"title": "Tea"}\\' http://localhost/api/al'
        """
        headers = [f'-H "Authorization: Bearer {token}"']
        headers += [f"-H {quote(f'{name}: {value}')}" for name, value in self.headers.items()]
        body = [] if self.body is None else [f"--json {quote(json.dumps(self.body))}"]
        url = quote(f"{url}?{self.query_string}" if self.query else url)
        return " ".join(
            ["curl", *([] if method == "GET" else [f"-X {method}"]), *headers, *body, url]
        )


def examples_of(folder: Path) -> dict[str, Any]:
    """Return the content of `examples.json`, {} for a function without one."""
    path = folder / "examples.json"
    return json.loads(path.read_text()) if path.exists() else {}


def requests_of(folder: Path) -> dict[str, ExampleRequest]:
    """Return the example requests by name. Raise TypeError for a member that no request has."""
    named = examples_of(folder).get("requests", {})
    return {name: ExampleRequest(**request) for name, request in named.items()}


def first_request(folder: Path) -> ExampleRequest:
    """Return the request that has to succeed: the first example, or one that says nothing."""
    return next(iter(requests_of(folder).values()), ExampleRequest())
