"""What the figures were taken on, without anything that tells whose machine it is."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import Any

from bench.contenders import lambda_python, run, runtime_client
from tests.neon import servers


def describe() -> dict[str, Any]:
    """Return the processor, the memory and the versions of what takes part."""
    client = next(runtime_client().glob("awslambdaric-*.dist-info")).name
    return {
        "processor": _found(r"model name\s*:\s*(.+)", "/proc/cpuinfo") or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(int(_found(r"MemTotal:\s*(\d+)", "/proc/meminfo")) / 1e6),
        "system": platform.system(),
        "python": run([lambda_python(), "--version"]).split()[-1],
        "awslambdaric": client.split("-")[1].removesuffix(".dist"),
        "postgres": run([servers.BINARIES / "postgres", "--version"]).split()[-1],
        "pgbouncer": ".".join(map(str, servers.pgbouncer_version())) or None,
    }


def _found(pattern: str, path: str) -> str:
    found = re.search(pattern, Path(path).read_text())
    return found[1].strip() if found else ""
