"""The Docker commands that `sam local` needs."""

from __future__ import annotations

import shutil
import subprocess
from ipaddress import IPv4Interface, IPv4Network, ip_network

from local.errors import LocalError

_ANSWER_SECONDS = 20.0
# Docker Desktop's containers are in another machine, which forwards to loopback.
DESKTOP = IPv4Interface("127.0.0.1/8")


def check() -> None:
    """Raise LocalError when Docker's command or its daemon is missing."""
    if not shutil.which("docker"):
        raise LocalError(
            "`sam local` needs Docker: install it (Debian: apt-get install docker.io)."
        )
    if not answers():
        raise LocalError("No Docker daemon answers: start Docker, or name one in DOCKER_HOST.")


def answers() -> bool:
    """Tell whether the daemon is there."""
    try:
        return _run("version", timeout=_ANSWER_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def succeeds(*arguments: str) -> bool:
    """Run a `docker` command and tell whether it worked."""
    return _run(*arguments).returncode == 0


def ask(*arguments: str) -> str:
    """Run a `docker` command and return its output. Raise LocalError when it fails."""
    result = _run(*arguments)
    if result.returncode:
        said = (result.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise LocalError(f"docker {arguments[0]} failed: {said}")
    return result.stdout.strip()


def bridge() -> IPv4Interface:
    """Return this machine's address on Docker's default network, with that network."""
    if "Desktop" in ask("info", "-f", "{{.OperatingSystem}}"):
        return DESKTOP
    template = "{{range .IPAM.Config}}{{.Gateway}} {{.Subnet}}\n{{end}}"
    for line in ask("network", "inspect", "bridge", "-f", template).splitlines():
        gateway, _, subnet = line.strip().rpartition(" ")
        network = ip_network(subnet)
        if isinstance(network, IPv4Network):
            return IPv4Interface((gateway or network[1], network.prefixlen))
    raise LocalError("Docker's default network has no IPv4 address for this machine.")


def _run(*arguments: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    command = ["docker", *arguments]  # wherever the user's PATH has it
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
