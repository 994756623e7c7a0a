"""A Lambda authorizer with simple responses: when it is asked, and what its response does."""

from collections.abc import Callable

import pytest

from tests.contract.client import Client
from tests.local.toy import SECRET, Toy, message
from tests.running import running


@pytest.mark.parametrize(
    ("token", "answer"),
    [
        ("", (401, "Unauthorized")),
        ("no", (403, "Forbidden")),
        ("fail", (500, "Internal Server Error")),
        ("nonsense", (500, "Internal Server Error")),
    ],
)
def test_only_yes_lets_a_request_pass(toy: Toy, token: str, answer: tuple[int, str]) -> None:
    assert message(toy.get("/who", authorization=token)) == answer


def test_its_context_reaches_the_function(toy: Toy) -> None:
    context = toy.event("/who", authorization="me")["requestContext"]["authorizer"]["lambda"]
    assert context["type"] == "REQUEST"
    assert context["arn"].endswith("/$default/GET/who")
    assert context["body"] is False


def test_an_answer_is_remembered_for_each_identity_and_a_failure_is_not(toy: Toy) -> None:
    def calls(token: str) -> int:
        event = toy.event("/who", authorization=token)
        count: int = event["requestContext"]["authorizer"]["lambda"]["calls"]
        return count

    first = calls("first")
    assert calls("second") > first
    assert calls("first") == first
    assert toy.get("/who", authorization="fail once").status_code == 500
    assert toy.get("/who", authorization="fail once").status_code == 200


def test_the_previous_secret_and_the_only_users_reach_it(new_database: Callable[[], str]) -> None:
    secrets = {"JWT_SECRET": f"new {SECRET}", "JWT_PREVIOUS_SECRET": f"old {SECRET}"}
    with running({**secrets, "JWT_SUBJECTS": "alice", "DATABASE_URL": new_database()}) as api:

        def status(user: str, secret: str) -> int:
            client = Client(api.url, secret, user)
            return client.send("GET", client.path()).status_code

        assert "JWT_SECRET is set" in api.banner
        assert SECRET not in "".join(api.banner)
        assert status("alice", secrets["JWT_SECRET"]) == 200
        assert status("alice", secrets["JWT_PREVIOUS_SECRET"]) == 200
        assert status("alice", SECRET) == 401
        assert status("bob", secrets["JWT_SECRET"]) == 401
