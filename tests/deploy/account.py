"""An AWS account: moto, and in front of it the three calls that moto does not know."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import boto3
import httpx
from samtranslator.yaml_helper import yaml_parse

_SETTINGS = "/2016-08-19/account-settings"
_PROTECTED = b"""<UpdateTerminationProtectionResponse>
<UpdateTerminationProtectionResult/></UpdateTerminationProtectionResponse>"""
_SECONDS = 120.0  # moto imports what it needs with the first request
_NOT_FORWARDED = {"host", "content-length", "connection", "accept-encoding"}


class Account(http.server.ThreadingHTTPServer):
    """Lambda and CloudFormation, in front of moto.

    `executions` is the quota, `unreserved` is what is left of it, and `protected` says for each
    stack whether it has termination protection. `report` is what every function returns, with an
    error when `is_failing`.
    `templates` are the templates that were deployed.
    """

    daemon_threads = True

    def __init__(self, moto: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.moto = moto
        self.executions = self.unreserved = 1000
        self.protected: dict[str, bool] = {}
        self.invoked: list[str] = []
        self.templates: list[dict[str, Any]] = []
        self.report: Any = {"outcome": "ok"}
        self.is_failing = False

    @property
    def settings(self) -> dict[str, str]:
        """Return the environment that leads boto3 and SAM CLI here."""
        url = f"http://127.0.0.1:{self.server_port}"
        return {"AWS_ENDPOINT_URL_LAMBDA": url, "AWS_ENDPOINT_URL_CLOUDFORMATION": url}


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Account

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        form = {
            name: values[0]
            for name, values in parse_qs(body.decode(), keep_blank_values=True).items()
        }
        if self.path == _SETTINGS:
            limit = {
                "ConcurrentExecutions": self.server.executions,
                "UnreservedConcurrentExecutions": self.server.unreserved,
            }
            self._send(200, json.dumps({"AccountLimit": limit}).encode())
        elif self.path.endswith("/invocations"):
            self.server.invoked.append(self.path.split("/")[3])
            error = {"X-Amz-Function-Error": "Unhandled"} if self.server.is_failing else {}
            self._send(200, json.dumps(self.server.report).encode(), **error)
        elif form.get("Action") == "UpdateTerminationProtection":
            value = form["EnableTerminationProtection"] == "true"
            self.server.protected[form["StackName"]] = value
            self._send(200, _PROTECTED)
        else:
            self._forward(self._with_template(form) if "TemplateURL" in form else body)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - http.server's names

    def _with_template(self, form: dict[str, str]) -> bytes:
        """Replace the template's address by the template, because moto would ask the real S3.

        moto does not know SAM, so it does not get the functions.
        """
        _, bucket, key = urlsplit(form.pop("TemplateURL")).path.split("/", 2)
        client = boto3.client("s3", endpoint_url=self.server.moto)
        template = client.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
        self.server.templates.append(yaml_parse(template))
        known = yaml_parse(template)
        known["Resources"] = {
            name: resource
            for name, resource in known["Resources"].items()
            if not resource["Type"].startswith("AWS::Serverless::")
        }
        return urlencode(form | {"TemplateBody": json.dumps(known)}).encode()

    def _forward(self, body: bytes) -> None:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _NOT_FORWARDED}
        url = f"{self.server.moto}{self.path}"
        with httpx.Client(trust_env=False, timeout=_SECONDS) as client:
            answer = client.request(self.command, url, headers=headers, content=body)
        self._send(answer.status_code, answer.content)

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def account_in_front_of(moto: str) -> Iterator[Account]:
    """Run an account on a free port of loopback, and yield it."""
    with Account(moto) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
