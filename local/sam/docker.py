"""Docker, as far as `sam local` needs it: the daemon that runs here, reached by its own command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, ip_network
from pathlib import Path

from local.errors import LocalError

_ANSWER_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Bridge:
    """The network between containers and this machine.

    `gateway` is where containers reach this machine, `address` where it listens for them, and
    `clients` the addresses that they come from.
    """

    gateway: str
    address: str
    clients: IPv4Network


@dataclass(frozen=True, slots=True)
class Docker:
    """A Docker daemon; `environ` is what reaches it."""

    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def check(self) -> None:
        """Raise LocalError with what to do when Docker's command or its daemon is missing."""
        if not shutil.which("docker"):
            raise LocalError(
                "`sam local` needs Docker: install it (Debian: apt-get install docker.io)."
            )
        if not self.answers():
            raise LocalError("No Docker daemon answers: start Docker, or name one in DOCKER_HOST.")

    def answers(self) -> bool:
        """Tell whether the daemon is there."""
        try:
            return self._run("version", timeout=_ANSWER_SECONDS).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def ask(self, *arguments: str) -> str:
        """Run a `docker` command and return what it says; raises LocalError when it fails."""
        result = self._run(*arguments)
        if result.returncode:
            said = (result.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise LocalError(f"docker {arguments[0]} failed: {said}")
        return result.stdout.strip()

    def succeeds(self, *arguments: str) -> bool:
        """Run a `docker` command and tell whether it worked."""
        return self._run(*arguments).returncode == 0

    def bridge(self) -> Bridge:
        """Return how containers on the default network reach this machine."""
        if sys.platform != "linux" or "Desktop" in self.ask("info", "-f", "{{.OperatingSystem}}"):
            # Docker Desktop's containers are in another machine, which forwards to loopback.
            return Bridge("host-gateway", "127.0.0.1", IPv4Network("127.0.0.0/8"))
        template = "{{range .IPAM.Config}}{{.Gateway}} {{.Subnet}}\n{{end}}"
        for line in self.ask("network", "inspect", "bridge", "-f", template).splitlines():
            gateway, _, subnet = line.strip().rpartition(" ")
            network = ip_network(subnet)
            if isinstance(network, IPv4Network):
                address = gateway or str(network[1])
                return Bridge(address, address, network)
        raise LocalError("Docker's default network has no IPv4 address for this machine.")

    def remove_containers(self, folders: Iterable[Path]) -> None:
        """Remove all containers that mount one of these folders, whoever started them."""
        mounts = [f"--filter=volume={folder}" for folder in folders]
        found = self.ask("ps", "--all", "--quiet", "--no-trunc", *mounts).split() if mounts else []
        if found:
            self.ask("rm", "--force", "--volumes", *found)

    def _run(
        self, *arguments: str, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", *arguments],  # noqa: S607 - wherever the user's PATH has it
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
