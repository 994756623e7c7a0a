"""The functions in this process, joined as the gateway does: authorizer first, then handler."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from tests.functions.handlers import Context, as_sent, handler
from tests.routes import TASK_ROUTES, fitting_request
from tests.running import ROOT

# As in the template. Powertools reads them when the functions are imported.
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "task-api")
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "TaskApi")

SECRET = "a-secret-of-the-tests-with-more-than-32-bytes"

ROUTES = {route.folder: route for route in TASK_ROUTES}


@contextmanager
def load(environment: Mapping[str, str]) -> Iterator[dict[str, ModuleType]]:
    """Yield the authorizer's modules by name, imported afresh with these settings, as in Lambda."""
    folder = ROOT / "functions" / "authorizer"
    names = {path.stem for path in folder.glob("*.py")}
    others = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    with mock.patch.object(sys, "path", [str(folder), *sys.path]):
        try:
            yield _imported(names, environment)
        finally:
            for name in names:
                sys.modules.pop(name, None)
            sys.modules.update(others)


def _imported(names: set[str], environment: Mapping[str, str]) -> dict[str, ModuleType]:
    with mock.patch.dict(os.environ):
        for name in [each for each in os.environ if each.startswith("JWT_")]:
            del os.environ[name]
        os.environ.update(environment)
        return {name: importlib.import_module(name) for name in sorted(names)}


def authorizer(environment: Mapping[str, str]) -> Any:
    """Return the authorizer's handler with these settings."""
    with load(environment) as modules:
        return modules["app"].handler


def use_database(monkeypatch: pytest.MonkeyPatch, database: Callable[[], Any]) -> None:
    """Make the tasks use this database."""
    monkeypatch.setattr(sys.modules["tasks.database"], "database", database)


@dataclass
class Answer:
    """The response that the client gets."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


@dataclass
class Gateway:
    """Enough of an HTTP API: ask the authorizer, call the handler."""

    authorizer: Any
    handlers: dict[str, Any] = field(
        default_factory=lambda: {name: handler(name) for name in ROUTES}
    )

    def call(
        self,
        function: str,
        authorization: str | None = None,
        *,
        user_id: str = "alice",
        task_id: str = "019a9f3c-5b1e-7c64-8f0a-3f1d2b7c9e55",
        body: str | None = None,
    ) -> Answer:
        """Send one request."""
        event = event_of(function, user_id, task_id, body)
        if authorization is not None:
            event["headers"]["authorization"] = authorization
            question = {**event, "type": "REQUEST", "identitySource": [authorization]}
            verdict = self.authorizer(question, Context())
            assert verdict["isAuthorized"] is True
            context = json.loads(json.dumps(verdict["context"]))
            event["requestContext"]["authorizer"] = {"lambda": context}
        return self.answer(function, event)

    def answer(self, function: str, event: dict[str, Any]) -> Answer:
        """Return the handler's response to an event, which is passed on unchanged."""
        answer = self.handlers[function](event, Context())
        return Answer(answer["statusCode"], answer.get("headers", {}), answer.get("body", ""))


def event_of(function: str, user_id: str, task_id: str, body: str | None) -> dict[str, Any]:
    """Return an event that no authorizer has seen."""
    event = as_sent(ROUTES[function], user_id, task_id)
    del event["requestContext"]["authorizer"]
    return event | {"body": body}


def fitting_body(function: str) -> str | None:
    """Return a body that the route accepts."""
    body = fitting_request(function).body
    return None if body is None else json.dumps(body)
