"""Random users do random things with random identities, and no one ever sees another's tasks."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import UUID, uuid4

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RULE_MARKER,
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

import neon
from tests.functions.handlers import taking
from tests.identity.conftest import execute
from tests.identity.harness import (
    SECRET,
    Answer,
    Gateway,
    authorizer,
    use_database,
)
from tests.identity.issuers import hs256, token

USERS = ["alice", "bob", "Alice", "andr\u00e9", "andre\u0301", "a@b.c", "%", "a" * 255]
IDENTITIES = ["own", "own", "own", "own", "another's", "expired", "forged", "none"]

users = st.sampled_from(USERS)
identities = st.sampled_from(IDENTITIES)


class Users(RuleBasedStateMachine):
    """The tasks that each user should have, compared with the database after every step.

    A rule has the name of the function that it calls.
    """

    urls: dict[str, str]
    gateway: Gateway

    known = Bundle("known")

    @initialize()
    def begin(self) -> None:
        execute(self.urls["superuser"], "TRUNCATE tasks")
        self.tasks: dict[str, dict[str, dict[str, Any]]] = {user: {} for user in USERS}

    @rule(target=known, user=users, identity=identities, title=st.sampled_from(["Tea", "Milk"]))
    def create_task(self, user: str, identity: str, title: str) -> Any:
        answer = self._call("create_task", user, identity, body=json.dumps({"title": title}))
        if answer is None:
            return multiple()
        assert answer.status == 201
        self._remember(user, answer.body)
        return answer.body["id"]

    @rule(user=users, identity=identities)
    def list_tasks(self, user: str, identity: str) -> None:
        answer = self._call("list_tasks", user, identity)
        if answer is not None:
            assert answer.status == 200
            assert answer.body == list(self.tasks[user].values())

    @rule(user=users, identity=identities, task_id=known)
    def get_task(self, user: str, identity: str, task_id: str) -> None:
        answer = self._call("get_task", user, identity, task_id)
        if answer is not None and self._found(user, task_id, answer):
            assert answer.body == self.tasks[user][task_id]

    @rule(user=users, identity=identities, task_id=known)
    def update_task(self, user: str, identity: str, task_id: str) -> None:
        body = json.dumps({"title": f"{user[:9]}'s", "user_id": "alice", "id": str(uuid4())})
        answer = self._call("update_task", user, identity, task_id, body)
        if answer is not None and self._found(user, task_id, answer):
            assert answer.body["title"] == f"{user[:9]}'s"
            self._remember(user, answer.body)

    @rule(user=users, identity=identities, task_id=known)
    def toggle_task(self, user: str, identity: str, task_id: str) -> None:
        answer = self._call("toggle_task", user, identity, task_id)
        if answer is not None and self._found(user, task_id, answer):
            assert answer.body["completed"] is not self.tasks[user][task_id]["completed"]
            self._remember(user, answer.body)

    @rule(user=users, identity=identities, task_id=known)
    def delete_task(self, user: str, identity: str, task_id: str) -> None:
        answer = self._call("delete_task", user, identity, task_id)
        if answer is not None and self._found(user, task_id, answer):
            del self.tasks[user][task_id]

    @rule(target=known, user=users, identity=identities, ids=st.lists(known, max_size=3))
    def batch_tasks(self, user: str, identity: str, ids: list[str]) -> Any:
        toggles = [{"op": "toggle", "id": each} for each in ids]
        body = {"operations": [{"op": "create", "task": {"title": "Bread"}}, *toggles]}
        answer = self._call("batch_tasks", user, identity, body=json.dumps(body))
        if answer is None:
            return multiple()
        foreign = [n for n, each in enumerate(ids, 1) if each not in self.tasks[user]]
        if foreign:
            assert (answer.status, answer.body["operation"]) == (404, foreign[0])
            return multiple()
        assert answer.status == 200
        for result in answer.body["results"]:
            self._remember(user, result["task"])
        return answer.body["results"][0]["task"]["id"]

    @invariant()
    def every_row_is_where_it_belongs(self) -> None:
        rows = execute(self.urls["superuser"], "SELECT user_id, id, title, completed FROM tasks")
        expected = [
            (user, UUID(task["id"]), task["title"], task["completed"])
            for user, tasks in self.tasks.items()
            for task in tasks.values()
        ]
        assert sorted(rows, key=repr) == sorted(expected, key=repr)

    def _call(
        self, function: str, user: str, identity: str, task_id: str = "", body: str | None = None
    ) -> Answer | None:
        """Return the response to the user's own request, or None after a refusal."""
        authorization = self._authorization(user, identity)
        answer = self.gateway.call(
            function, authorization, user_id=user, task_id=task_id, body=body
        )
        if identity == "own":
            return answer
        assert answer.status == (403 if identity == "another's" else 401)
        assert answer.body.keys() == {"type", "title", "status", "detail", "instance"}
        return None

    def _authorization(self, user: str, identity: str) -> str | None:
        if identity == "none":
            return None
        other = USERS[(USERS.index(user) + 1) % len(USERS)]
        end = int(time.time()) + (-1 if identity == "expired" else 600)
        claims = {"sub": other if identity == "another's" else user, "exp": end}
        secret = SECRET if identity != "forged" else SECRET[::-1]
        return f"Bearer {token({'alg': 'HS256'}, claims, hs256(secret.encode()))}"

    def _found(self, user: str, task_id: str, answer: Answer) -> bool:
        """Return whether the user has it. If not, the 404 is always the same, whoever has it."""
        if task_id in self.tasks[user]:
            assert answer.status == 200
            return True
        assert (answer.status, answer.body["detail"]) == (404, "Task not found")
        return False

    def _remember(self, user: str, task: dict[str, Any]) -> None:
        assert task["user_id"] == user
        self.tasks[user][task["id"]] = task


def test_every_endpoint_that_takes_an_idempotency_key_has_a_rule() -> None:
    rules = {name for name, each in vars(Users).items() if hasattr(each, RULE_MARKER)}
    assert {route.folder for route in taking("Idempotency-Key")} <= rules


def test_no_sequence_of_operations_lets_an_answer_or_a_row_cross_over(
    urls: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = neon.Database(urls["login"])
    use_database(monkeypatch, lambda: opened)
    Users.urls = urls
    Users.gateway = Gateway(authorizer({"JWT_SECRET": SECRET}))
    quiet = list(HealthCheck)
    plan = settings(
        max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=quiet
    )
    run_state_machine_as_test(Users, settings=plan)
    opened.close()
