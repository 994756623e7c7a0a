"""A small API for the tests of `make run`; its requests say what it does."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.running import ROOT, Running, running, start

SECRET = "a-secret-that-only-these-tests-know-0123456789"

TEMPLATE = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  CorsOrigins: {Type: CommaDelimitedList, Default: "http://one.test,http://two.test"}
  Greeting: {Type: String, Default: hello, AllowedValues: [hello, welcome]}
Globals:
  Function:
    Runtime: python3.13
    Handler: app.handler
    Timeout: 20
    MemorySize: 256
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      CorsConfiguration:
        AllowOrigins: !Ref CorsOrigins
        AllowMethods: [GET, POST]
        AllowHeaders: [authorization]
        ExposeHeaders: [etag]
        MaxAge: 60
      Auth:
        Authorizers:
          Caller:
            FunctionArn: !GetAtt Guard.Arn
            AuthorizerPayloadFormatVersion: "2.0"
            EnableSimpleResponses: true
            Identity: {Headers: [Authorization], ReauthorizeEvery: 300}
  Layer:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layers/shared}
  Echo:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/echo
      Events:
        One: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: ANY, Path: "/echo/{name}"}}
        Fixed: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: GET, Path: /echo/fixed}}
        Who:
          Type: HttpApi
          Properties: {ApiId: !Ref Api, Method: GET, Path: /who, Auth: {Authorizer: Caller}}
  Work:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/worker
      Layers: [!Ref Layer]
      Environment: {Variables: {GREETING: !Sub "${Greeting}, you"}}
      Events:
        Work: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: POST, Path: /work}}
  Short:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/worker
      Timeout: 1
      Events:
        Short: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: POST, Path: /short}}
  Broken:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/broken
      Events:
        Broken: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: GET, Path: /broken}}
  Guard:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/guard
"""

FILES = {
    "template.yaml": TEMPLATE,
    "layers/shared/greeting.py": 'WORD = "from the layer"\n',
    "functions/echo/app.py": """
import json

def handler(event, context):
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json", "access-control-allow-origin": "mine"},
        "body": json.dumps(event),
    }
""",
    # The body says what to do: Python with `event` and `context` that may set `answer`.
    "functions/worker/app.py": """
import base64, json, os, socket, sys

def gate(port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.recv(1)

def handler(event, context):
    code = event["body"]
    if event["isBase64Encoded"]:
        code = base64.b64decode(code).decode()
    names = {**globals(), "event": event, "context": context, "answer": "done"}
    exec(code, names)
    return names["answer"]
""",
    "functions/broken/app.py": "import a_module_that_nobody_deployed\n",
    "functions/guard/app.py": """
calls = []

def handler(event, context):
    (token,) = event["identitySource"]
    calls.append(token)
    if token == "fail" or (token == "fail once" and calls.count(token) == 1):
        raise RuntimeError("no idea")
    if token == "nonsense":
        return {"sure": True}
    return {
        "isAuthorized": token != "no",
        "context": {"calls": len(calls), "type": event["type"], "arn": event["routeArn"],
                    "body": "body" in event},
    }
""",
}


def write(folder: Path, packages: Path) -> Path:
    """Write the toy API; `packages` is shared by all toys, so that they install only once."""
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    requirements = folder / "requirements"
    requirements.mkdir()
    (requirements / "runtime.txt").symlink_to(ROOT / "requirements/runtime.txt")
    # PyJWT is an example of a dependency of the layer; it is small.
    (requirements / "layer.txt").symlink_to(ROOT / "requirements/authorizer.txt")
    (folder / ".local").mkdir()
    packages.mkdir(exist_ok=True)
    (folder / ".local/packages").symlink_to(packages)
    return folder


def add_database(folder: Path) -> None:
    """Let the toy have an embedded database, which none of its functions use."""
    template = folder / "template.yaml"
    parameter = "Parameters:\n  DatabaseUrl: {Type: String}"
    template.write_text(template.read_text().replace("Parameters:", parameter, 1))


def write_product(folder: Path, packages: Path, *, events: bool = False) -> Path:
    """Return a checkout whose sources are the product's own, with data of its own."""
    folder.mkdir(exist_ok=True)
    for name in ("template.yaml", "functions", "layers", "requirements", *["events"] * events):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".local").mkdir()
    (folder / ".local/packages").symlink_to(packages)
    return folder


@dataclass(frozen=True)
class Toy:
    """A running toy API."""

    folder: Path
    running: Running

    @property
    def url(self) -> str:
        return self.running.url

    @property
    def port(self) -> str:
        return self.url.rpartition(":")[2]

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(self.url + path, headers=headers, timeout=30)

    def event(self, path: str, **headers: str) -> dict[str, Any]:
        """Return the event that a request becomes."""
        event: dict[str, Any] = self.get(path, **headers).json()
        return event

    def work(self, code: str, path: str = "/work") -> httpx.Response:
        """Run some Python in a function."""
        headers = {"content-type": "text/plain"}
        return httpx.post(self.url + path, content=code, headers=headers, timeout=30)

    def raw(self, request: bytes) -> bytes:
        """Send these bytes unchanged, and return everything that comes back."""
        with socket.create_connection(("127.0.0.1", int(self.port)), timeout=10) as connection:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@contextmanager
def served(folder: Path, **settings: str) -> Iterator[Toy]:
    """Run the toy API that is in `folder`."""
    with running(environment(settings), cwd=folder) as api:
        yield Toy(folder, api)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings with all that the local API needs to run in another folder.

    The installer finds its index by them, and Python its libraries.
    """
    needed = re.compile(r"(UV|PIP|SSL)_.*|(https?|all|no)_proxy|LD_LIBRARY_PATH", re.IGNORECASE)
    reach = {name: value for name, value in os.environ.items() if needed.fullmatch(name)}
    return {**reach, "PYTHONPATH": str(ROOT), **settings}


def refused(folder: Path, **settings: str) -> str:
    """Return what an API that cannot start says: one sentence, with exit status 1."""
    process = start(environment(settings), cwd=folder, stdin=subprocess.DEVNULL)
    output, _ = process.communicate()
    assert process.returncode == 1, output
    assert "Traceback" not in output
    return output.splitlines()[-1]


def command(
    folder: Path, *arguments: str, stdin: str = "", **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m ...` in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        input=stdin,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **environment(settings)},
        capture_output=True,
        text=True,
        check=False,
    )


class Gate:
    """A gate that holds functions in the middle of their work, where code calls `gate(port)`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(20)
        self.code = f"gate({self._listener.getsockname()[1]})"
        self._held: list[socket.socket] = []

    def wait_for(self, count: int) -> None:
        """Return once this many functions are held."""
        while len(self._held) < count:
            self._held.append(self._listener.accept()[0])

    def open(self) -> None:
        """Let all held functions go on."""
        for connection in self._held:
            connection.close()
        self._held.clear()

    def close(self) -> None:
        self.open()
        self._listener.close()


def message(response: httpx.Response) -> tuple[int, Any]:
    """Return status and body of one of the gateway's own responses."""
    assert response.headers["content-type"] == "application/json"
    return response.status_code, json.loads(response.content)["message"]
