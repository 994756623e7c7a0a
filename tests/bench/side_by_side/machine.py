"""What the figures were taken on; nothing that would tell whose machine it is."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

from tests.bench.side_by_side.processes import Runtime
from tests.neon import servers


def describe(runtime: Runtime) -> dict[str, Any]:
    """Processor, memory and the versions of what takes part."""
    client = next(runtime.client.glob("awslambdaric-*.dist-info")).name
    return {
        "processor": _found(r"model name\s*:\s*(.+)", "/proc/cpuinfo") or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(int(_found(r"MemTotal:\s*(\d+)", "/proc/meminfo")) / 1e6),
        "system": platform.system(),
        "python": _version([runtime.python, "--version"]),
        "awslambdaric": client.split("-")[1].removesuffix(".dist"),
        "postgres": _version([str(servers.BINARIES / "postgres"), "--version"]),
        "pgbouncer": ".".join(map(str, servers.pgbouncer_version())) or None,
    }


def _found(pattern: str, path: str) -> str:
    found = re.search(pattern, Path(path).read_text())
    return found[1].strip() if found else ""


def _version(command: list[str]) -> str:
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return said.split()[-1]
