"""The six operations that every contender serves: their events and their responses.

bench/README.md states the contract. It is fixed: a change of the product changes nothing here.
"""

from __future__ import annotations

import json
from typing import Any

TASKS = "/api/{user_id}/tasks"
TASK = TASKS + "/{task_id}"
ROUTES = {
    "list_tasks": ("GET", TASKS),
    "create_task": ("POST", TASKS),
    "get_task": ("GET", TASK),
    "update_task": ("PUT", TASK),
    "delete_task": ("DELETE", TASK),
    "toggle_task": ("PATCH", TASK + "/complete"),
}
OPERATIONS = tuple(ROUTES)
"""The six operations."""
MEMBERS = ("id", "user_id", "title", "description", "completed", "created_at", "updated_at")
"""The members of a task that are compared; a contender may have more."""

_BODIES: dict[str, Any] = {
    "create_task": {"title": "Water the plants", "description": "The ferns twice"},
    "update_task": {"title": "Water all the plants", "completed": True},
}
_HOST = "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com"


class BenchError(Exception):
    """The benchmark cannot go on; `str()` is one sentence."""


def event(
    operation: str, user: str, task: str = "", *, body: object = None, **claims: str
) -> dict[str, Any]:
    """Make the event of a request as an HTTP API sends it, with the authorizer's claims in it."""
    method, resource = ROUTES[operation]
    path = resource.format(user_id=user, task_id=task)
    body = _BODIES.get(operation) if body is None else body
    text = "" if body is None else json.dumps(body)
    sent = {
        "version": "2.0",
        "routeKey": f"{method} {resource}",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "accept": "application/json",
            "authorization": "Bearer the.gateway.verified",
            "content-length": str(len(text)),
            "content-type": "application/json",
            "host": _HOST,
            "user-agent": "curl/8.11.0",
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "requestContext": {
            "apiId": "a1b2c3d4e5",
            "authorizer": {"lambda": {"sub": user, "exp": "4102444800"} | claims},
            "domainName": _HOST,
            "domainPrefix": "a1b2c3d4e5",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "curl/8.11.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": f"{method} {resource}",
            "stage": "$default",
            "time": "21/Nov/2026:09:30:00 +0000",
            "timeEpoch": 1795253400000,
        },
        "pathParameters": {"user_id": user}
        | ({"task_id": task} if "{task_id}" in resource else {}),
        "isBase64Encoded": False,
    }
    return sent | {"body": text} if text else sent


def check(answer: bytes, *, status: int = 200, tasks: int | None = None) -> None:
    """Raise BenchError unless the request was served; a list must have so many `tasks`."""
    document: Any = json.loads(answer)
    if document.get("statusCode") != status:
        raise BenchError(f"A contender answered {str(document)[:300]} instead of {status}.")
    if tasks is not None and len(json.loads(document["body"])) != tasks:
        raise BenchError(f"A contender answered {document['body'][:300]} instead of {tasks} tasks.")
