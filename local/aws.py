"""What AWS's services answer to functions that recorded events are played to.

A custom resource's response goes to CloudFormation, a verdict about a rollout to CodeDeploy. Here a
server on this machine takes both, with a certificate that only these functions trust.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class StandIn:
    """Where it listens, how functions find and trust it, and what it has received so far."""

    url: str
    variables: Mapping[str, str]
    received: Sequence[Any]


@contextlib.asynccontextmanager
async def aws_stand_in() -> AsyncIterator[StandIn]:
    """Answer every request with an empty success until the end of the block."""
    received: list[Any] = []

    async def accept(request: web.BaseRequest) -> web.StreamResponse:
        received.append(json.loads(await request.read() or b"{}"))
        return web.json_response({})

    with tempfile.TemporaryDirectory() as folder:
        roots, context = Path(folder) / "roots.pem", _certificate(Path(folder))
        roots.write_bytes(_known_roots() + (Path(folder) / "certificate.pem").read_bytes())
        runner = web.ServerRunner(web.Server(accept), access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, _HOST, 0, ssl_context=context)
            await site.start()
            url = f"https://{_HOST}:{runner.addresses[0][1]}"
            trust = {"SSL_CERT_FILE": str(roots), "AWS_CA_BUNDLE": str(roots)}
            yield StandIn(url, {**trust, "AWS_ENDPOINT_URL_CODEDEPLOY": url}, received)
        finally:
            await runner.cleanup()


def _known_roots() -> bytes:
    """Return the system's roots: the database may be elsewhere, and has to be trusted, too."""
    known = ssl.get_default_verify_paths().cafile
    return Path(known).read_bytes() if known else b""


def _certificate(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stands in for AWS")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(_HOST))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *plain))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context
