"""One signed request fetches one secret, and no error shows it."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

import http_client
import secrets_manager as module
from secrets_manager import SecretRefusedError, SecretUnavailableError, get_secret
from tests.aws import SecretsManager
from tests.running import python

BODY = b'{"SecretId": "prod/tasks"}'


class Stub(http.server.ThreadingHTTPServer):
    """A server that gives one response of its list to each request, and records the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Stub

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.rfile.read(int(headers.get("content-length", 0)))
        self.server.asked.append((self.path, headers))
        status, body = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815 - the standard library's name

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """Return a Secrets Manager that does what the test says."""
    with Stub() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", server.url)
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            monkeypatch.setenv(name, name.lower())
        monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", raising=False)
        yield server
        server.shutdown()
        thread.join()


def _held(text: str) -> tuple[int, bytes]:
    return 200, json.dumps({"SecretString": text}).encode()


def test_a_secret_is_read_by_its_name_and_by_its_arn(secrets_manager: SecretsManager) -> None:
    secrets_manager.create("task-api/dev/jwt", "ä secret")
    arn = secrets_manager.client.describe_secret(SecretId="task-api/dev/jwt")["ARN"]
    assert get_secret("task-api/dev/jwt") == get_secret(arn) == "ä secret"


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


def test_a_failure_that_may_pass_is_tried_again(stub: Stub) -> None:
    throttled = (400, b'{"__type": "ThrottlingException"}')
    stub.answers = [(500, b"{}"), throttled, _held("third")]
    assert get_secret("name") == "third"


def test_what_stays_unavailable_is_said_after_three_tries(stub: Stub) -> None:
    stub.answers = [(503, b'{"__type": "InternalServiceError"}')] * 3
    with pytest.raises(
        SecretUnavailableError, match=r"name cannot be read now \(InternalServiceError"
    ):
        get_secret("name")
    assert len(stub.asked) == 3


def test_a_refusal_is_final(stub: Stub) -> None:
    stub.answers = [(400, b'{"__type": "com.amazonaws#AccessDeniedException", "Message": "x"}')]
    with pytest.raises(SecretRefusedError, match=r"name cannot be read \(AccessDeniedException\)$"):
        get_secret("name")


@pytest.mark.parametrize("answer", [b"hunter2", b'["hunter2"]'])
def test_an_answer_that_is_no_json_object_is_unavailable_and_not_shown(
    stub: Stub, answer: bytes
) -> None:
    stub.answers = [(200, answer)] * 3
    with pytest.raises(SecretUnavailableError) as caught:
        get_secret("name")
    assert "hunter2" not in str(caught.value)


def test_the_version_before_the_current_one_is_read_by_its_stage(
    secrets_manager: SecretsManager,
) -> None:
    secrets_manager.create("name", "first")
    with pytest.raises(SecretRefusedError, match="ResourceNotFoundException"):
        get_secret("name", stage="AWSPREVIOUS")
    secrets_manager.change("name", "second")
    assert get_secret("name", stage="AWSPREVIOUS") == "first"
    assert get_secret("name") == "second"


@pytest.mark.usefixtures("stub")
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
    timeouts.clear()
    with pytest.raises(SecretUnavailableError):
        get_secret("name", timeout=1.5)
    assert timeouts == [1.5]


def test_a_missing_region_is_named(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stub
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(SecretRefusedError, match="AWS_REGION"):
        get_secret("name")


def test_after_a_snapshot_the_credentials_come_from_lambdas_endpoint(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{stub.url}/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "let me in")
    given = {"AccessKeyId": "restored", "SecretAccessKey": "key", "Token": "token"}
    stub.answers = [(200, json.dumps(given).encode()), _held("text")]
    assert get_secret("name") == "text"
    (path, asked), (_, signed_with) = stub.asked
    assert (path, asked["authorization"]) == ("/credentials", "let me in")
    assert "Credential=restored/" in signed_with["authorization"]


def test_the_endpoint_is_the_regions_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"):
        monkeypatch.delenv(name, raising=False)
    assert module._endpoint("eu-central-1") == "https://secretsmanager.eu-central-1.amazonaws.com"
    assert module._endpoint("cn-north-1") == "https://secretsmanager.cn-north-1.amazonaws.com.cn"


def test_nothing_but_the_standard_library_is_imported() -> None:
    source = """
import sys
before = set(sys.modules)
import secrets_manager
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new - sys.stdlib_module_names - {"http_client", "secrets_manager"}))
"""
    with python(source) as process:
        assert process.communicate(timeout=30) == ("[]\n", "")
