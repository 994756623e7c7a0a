"""One signed request fetches one secret, and no error shows it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

import http_client
import secrets_manager as module
from secrets_manager import SecretRefusedError, SecretUnavailableError, get_secret
from tests.aws import CREDENTIALS, SecretsManager, settings
from tests.https import Server, serving

BODY = b'{"SecretId": "prod/tasks"}'


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Return a Secrets Manager that does what the test says."""
    with serving(lambda _: (500, b"{}")) as server:
        for name, value in settings(server.url).items():
            monkeypatch.setenv(name, value)
        yield server


def _respond(server: Server, *responses: tuple[int, bytes]) -> None:
    left = list(responses)
    server.answer = lambda _: left.pop(0)


def _held(text: str) -> tuple[int, bytes]:
    return 200, json.dumps({"SecretString": text}).encode()


def test_a_secret_is_read_by_its_name_by_its_arn_and_by_its_stage(
    secrets_manager: SecretsManager,
) -> None:
    secrets_manager.create("task-api/dev/jwt", "first")
    with pytest.raises(SecretRefusedError, match="ResourceNotFoundException"):
        get_secret("task-api/dev/jwt", stage="AWSPREVIOUS")
    secrets_manager.change("task-api/dev/jwt", "ä secret")
    arn = secrets_manager.client.describe_secret(SecretId="task-api/dev/jwt")["ARN"]
    assert get_secret("task-api/dev/jwt") == get_secret(arn) == "ä secret"
    assert get_secret("task-api/dev/jwt", stage="AWSPREVIOUS") == "first"


@pytest.mark.parametrize("token", ["", "session/token+=="])
def test_the_signature_is_the_one_that_botocore_makes(token: str) -> None:
    credentials = module._Credentials("AKID", "s/cr+t", token)
    ours = module._signed("host.example:8443", BODY, "eu-west-3", credentials)
    request = AWSRequest("POST", "https://host.example:8443/", data=BODY)
    for name in ("content-type", "x-amz-target", "Host"):
        request.headers[name] = ours[name]
    request.context["timestamp"] = ours["x-amz-date"]
    request.headers["X-Amz-Date"] = ours["x-amz-date"]
    if token:
        request.headers["X-Amz-Security-Token"] = token
    auth = SigV4Auth(BotocoreCredentials("AKID", "s/cr+t", token), "secretsmanager", "eu-west-3")
    text = auth.string_to_sign(request, auth.canonical_request(request))
    assert ours["authorization"].endswith(f"Signature={auth.signature(text, request)}")


def test_a_failure_that_may_pass_is_tried_again(server: Server) -> None:
    throttled = (400, b'{"__type": "ThrottlingException"}')
    _respond(server, (500, b"{}"), throttled, _held("third"))
    assert get_secret("name") == "third"


def test_a_refusal_is_final(server: Server) -> None:
    _respond(server, (400, b'{"__type": "com.amazonaws#AccessDeniedException", "Message": "x"}'))
    with pytest.raises(SecretRefusedError, match=r"name cannot be read \(AccessDeniedException\)$"):
        get_secret("name")


def test_an_answer_that_is_no_json_object_is_unavailable_and_not_shown(server: Server) -> None:
    _respond(server, *[(200, b'["hunter2"]')] * 3)
    with pytest.raises(SecretUnavailableError) as caught:
        get_secret("name")
    assert "hunter2" not in str(caught.value)
    assert server.asked.qsize() == 3


@pytest.mark.usefixtures("server")
def test_the_timeout_holds_for_all_tries_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers, and only the wait for a response takes time."""
    timeouts: list[float] = []

    def request(*_: object, timeout: float, **__: object) -> None:
        timeouts.append(timeout)
        raise http_client.TimedOutError

    monkeypatch.setattr(time, "monotonic", lambda: sum(timeouts))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(http_client, "request", request)
    with pytest.raises(SecretUnavailableError, match="TimedOutError"):
        get_secret("name", timeout=5.0)
    assert timeouts == [2.0, 2.0, 1.0]


def test_after_a_snapshot_the_credentials_come_from_lambdas_endpoint(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "let me in")
    given = {"AccessKeyId": "restored", "SecretAccessKey": "key", "Token": "token"}
    _respond(server, (200, json.dumps(given).encode()), _held("text"))
    assert get_secret("name") == "text"
    asked, signed = server.asked.get(), server.asked.get()
    assert (asked.path, asked.headers["authorization"]) == ("/credentials", "let me in")
    assert "Credential=restored/" in signed.headers["authorization"]


def test_the_endpoint_is_the_regions_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"):
        monkeypatch.delenv(name, raising=False)
    assert module._endpoint("eu-central-1") == "https://secretsmanager.eu-central-1.amazonaws.com"
