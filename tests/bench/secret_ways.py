"""What each way to a secret adds to a cold start: `python -m tests.bench.secret_ways [RUNS]`.

Real `awslambdaric` processes fetch a secret in INIT from a stand-in for Secrets Manager on this
machine, over TLS as in AWS and without the network between. The ways take turns.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from local.environment import Environment
from local.template import Function
from tests.https import serving
from tests.neon.servers import Authority
from tests.running import ROOT

WAYS = {
    "none (the secret is not fetched)": "",
    "signed request, standard library": """
from secrets_manager import get_secret
assert get_secret("task-api/dev/jwt") == "hush"
""",
    "AWS's extension, asked by urllib": """
import json, os, urllib.request
address = os.environ["EXTENSION"] + "/secretsmanager/get?secretId=task-api%2Fdev%2Fjwt"
headers = {"X-Aws-Parameters-Secrets-Token": os.environ["AWS_SESSION_TOKEN"]}
with urllib.request.urlopen(urllib.request.Request(address, headers=headers)) as answer:
    assert json.load(answer)["SecretString"] == "hush"
""",
    "boto3": """
import boto3
client = boto3.client("secretsmanager")
assert client.get_secret_value(SecretId="task-api/dev/jwt")["SecretString"] == "hush"
""",
    "Powertools Parameters (boto3)": """
from aws_lambda_powertools.utilities import parameters
assert parameters.get_secret("task-api/dev/jwt") == "hush"
""",
}
_SYSTEM_ROOTS = Path("/etc/ssl/certs/ca-certificates.crt")


def main() -> None:
    """Measure and print the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    with tempfile.TemporaryDirectory() as folder:
        table = asyncio.run(_measure(Path(folder), runs))
    base = statistics.median(table["none (the secret is not fetched)"])
    print(f"Python {sys.version.split()[0]}, median of {runs} cold starts each\n")
    print("| way | INIT, ms | added, ms | ratio |\n|---|---|---|---|")
    for way, times in table.items():
        middle = statistics.median(times)
        print(f"| {way} | {middle:.0f} | {middle - base:.0f} | {middle / base:.2f} |")


async def _measure(folder: Path, runs: int) -> dict[str, list[float]]:
    authority = Authority(folder / "authority")
    roots = folder / "roots.pem"  # as many as Lambda's bundle has, and ours
    roots.write_bytes(_SYSTEM_ROOTS.read_bytes() + authority.roots.read_bytes())
    answer = json.dumps({"Name": "x", "SecretString": "hush"}).encode()
    with (
        serving(lambda _: (200, answer), authority.issue("localhost")) as aws,
        serving(lambda _: (200, answer)) as extension,
    ):
        settings = {
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws.url,
            "AWS_CA_BUNDLE": str(roots),
            "SSL_CERT_FILE": str(roots),
            "EXTENSION": extension.url.replace("localhost", "127.0.0.1"),
        }
        functions = {way: _function(folder, way, settings) for way in WAYS}
        table: dict[str, list[float]] = {way: [] for way in WAYS}
        for each in range(runs + 1):  # the first one compiles byte code
            for way, function in functions.items():
                milliseconds = await _init(function)
                if each:
                    table[way].append(milliseconds)
    return table


def _function(folder: Path, way: str, settings: dict[str, str]) -> Function:
    code = folder / str(list(WAYS).index(way))
    code.mkdir()
    source = f"{WAYS[way]}\ndef handler(event, context):\n    return event\n"
    (code / "app.py").write_text(source)
    return Function(
        name="Measured",
        code=code,
        handler="app.handler",
        runtime="python3.13",
        timeout=30,
        memory=512,
        environment=settings,
        layers=(),
        log_format="JSON",
        parameters=frozenset(),
    )


async def _init(function: Function) -> float:
    """Milliseconds from the process' start until it asks for its first invocation."""
    ready = asyncio.Event()
    packages = next(Path(each) for each in sys.path if each.endswith("site-packages"))
    lines: list[str] = []
    started = time.perf_counter()
    environment = Environment(
        function,
        [function.code, ROOT / "layers" / "shared", packages],
        fingerprint=None,
        write_byte_code=True,
        on_ready=lambda _: ready.set(),
        on_exit=lambda _environment, _failure: ready.set(),
        on_line=lambda _, line: lines.append(line),
    )
    await ready.wait()
    milliseconds = (time.perf_counter() - started) * 1000
    environment.end()
    await environment.ended()
    if lines:
        raise RuntimeError("\n".join(lines))
    return milliseconds


if __name__ == "__main__":
    main()
