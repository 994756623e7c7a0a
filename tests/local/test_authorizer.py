"""A Lambda authorizer with simple responses: who is asked, when, and what becomes of the answer."""

import pytest

from tests.local.toy import Toy, message


def test_without_an_identity_the_authorizer_is_not_asked(toy: Toy) -> None:
    assert message(toy.get("/who")) == (401, "Unauthorized")
    assert message(toy.get("/who", authorization="")) == (401, "Unauthorized")


def test_its_context_reaches_the_function(toy: Toy) -> None:
    context = toy.event("/who", authorization="me")["requestContext"]["authorizer"]["lambda"]
    assert context["type"] == "REQUEST"
    assert context["arn"].endswith("/$default/GET/who")
    assert context["body"] is False


def test_no_is_403(toy: Toy) -> None:
    assert message(toy.get("/who", authorization="no")) == (403, "Forbidden")


@pytest.mark.parametrize("token", ["fail", "nonsense"])
def test_a_failing_authorizer_is_500(toy: Toy, token: str) -> None:
    assert message(toy.get("/who", authorization=token)) == (500, "Internal Server Error")


def test_a_failure_is_not_remembered(toy: Toy) -> None:
    assert toy.get("/who", authorization="fail once").status_code == 500
    assert toy.get("/who", authorization="fail once").status_code == 200


def test_an_answer_is_remembered_for_each_identity(toy: Toy) -> None:
    def calls(token: str) -> int:
        event = toy.event("/who", authorization=token)
        count: int = event["requestContext"]["authorizer"]["lambda"]["calls"]
        return count

    first = calls("first")
    assert calls("second") > first
    assert calls("first") == first
