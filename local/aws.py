"""CloudFormation, as far as functions need it that recorded events are played to.

A server on this machine takes what custom resources respond, and knows one stack, which says where
the API is. Its certificate is one that only these functions trust.
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
_STACK = """
<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/">
  <DescribeStacksResult><Stacks><member>
    <StackName>local</StackName>
    <StackStatus>UPDATE_COMPLETE</StackStatus>
    <CreationTime>2026-01-01T00:00:00Z</CreationTime>
    <Outputs><member>
      <OutputKey>ApiUrl</OutputKey><OutputValue>{address}</OutputValue>
    </member></Outputs>
  </member></Stacks></DescribeStacksResult>
</DescribeStacksResponse>
"""


@dataclass(frozen=True, slots=True)
class StandIn:
    """Where it listens, how functions find and trust it, and the responses so far."""

    url: str
    variables: Mapping[str, str]
    received: Sequence[Any]


@contextlib.asynccontextmanager
async def aws_stand_in(address: str) -> AsyncIterator[StandIn]:
    """Answer until the end of the block; `address` is the stack's API."""
    received: list[Any] = []

    async def accept(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if request.method == "POST":  # DescribeStacks is all that functions ask for
            return web.Response(text=_STACK.format(address=address), content_type="text/xml")
        received.append(json.loads(body))
        return web.Response()

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
            yield StandIn(url, {**trust, "AWS_ENDPOINT_URL_CLOUDFORMATION": url}, received)
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
