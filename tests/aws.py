"""A stand-in for AWS: moto's server, which boto3 and our own code reach over HTTP."""

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
    """Secrets Manager as an operator uses it."""

    endpoint: str

    def create(self, name: str, text: str) -> None:
        """Create a secret."""
        self.client.create_secret(Name=name, SecretString=text)

    def change(self, name: str, text: str) -> None:
        """Give a secret a new current version."""
        self.client.put_secret_value(SecretId=name, SecretString=text)

    def text(self, name: str) -> str:
        """Return the current version of a secret."""
        return str(self.client.get_secret_value(SecretId=name)["SecretString"])

    @property
    def client(self) -> Any:
        """Return boto3's client."""
        return boto3.client("secretsmanager", endpoint_url=self.endpoint, region_name=REGION)


@contextmanager
def moto_server() -> Iterator[str]:
    """Run a moto server on a free port, and yield its URL."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://127.0.0.1:{port}" if host else ""
    finally:
        server.stop()


def reset(endpoint: str) -> None:
    """Delete everything that the server holds."""
    httpx.post(f"{endpoint}/moto-api/reset", trust_env=False).raise_for_status()


def settings(endpoint: str) -> Mapping[str, str]:
    """Return the environment in which every AWS client talks to the server."""
    return CREDENTIALS | {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
