"""AWS for the tests: moto's server, reached over HTTP as AWS is, by boto3 and by our own code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import httpx
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
}


@dataclass(frozen=True)
class SecretsManager:
    """Secrets Manager as an operator uses it, and how often it was asked for a value."""

    endpoint: str

    def create(self, name: str, text: str) -> None:
        """A new secret."""
        self.client.create_secret(Name=name, SecretString=text)

    def change(self, name: str, text: str) -> None:
        """A new current version of a secret."""
        self.client.put_secret_value(SecretId=name, SecretString=text)

    def text(self, name: str) -> str:
        """The current version of a secret."""
        return str(self.client.get_secret_value(SecretId=name)["SecretString"])

    @property
    def client(self) -> Any:
        """boto3's client."""
        return boto3.client("secretsmanager", endpoint_url=self.endpoint, region_name=REGION)


@contextmanager
def moto_server() -> Iterator[str]:
    """A moto server on a free port; gives its URL."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://127.0.0.1:{port}" if host else ""
    finally:
        server.stop()


def reset(endpoint: str) -> None:
    """Forget everything that is in it."""
    httpx.post(f"{endpoint}/moto-api/reset", trust_env=False).raise_for_status()


def settings(endpoint: str) -> Mapping[str, str]:
    """The environment that has everybody talk to the server instead of AWS."""
    return CREDENTIALS | {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
