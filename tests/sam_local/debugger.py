"""A debugger like an editor's: it attaches, sets a breakpoint, waits for it, and goes on.

It attaches with a configuration of .vscode/launch.json.
https://microsoft.github.io/debug-adapter-protocol/specification
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.running import ROOT

_SECONDS = 60.0


class Debugger:
    """An attached client of the Debug Adapter Protocol."""

    def __init__(self, name: str) -> None:
        self._configuration = configuration(name)
        self._socket = _connected(**self._configuration["connect"])
        self._stream = self._socket.makefile("rwb")
        self._number = 0

    def __enter__(self) -> Debugger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()
        self._socket.close()

    def attach(self, file: Path, line: int) -> None:
        """Attach, and set a breakpoint."""
        self._send("initialize", {"adapterID": "test", "pathFormat": "path"})
        self._send("attach", self._configuration)
        self._until(event="initialized")
        place = {"source": {"path": str(file)}, "breakpoints": [{"line": line}]}
        self._send("setBreakpoints", place)
        self._send("configurationDone", {})
        self._until(command="configurationDone")

    def stopped_at(self) -> tuple[str, int]:
        """Wait for a breakpoint, and return the file's path and the line."""
        thread = self._until(event="stopped")["body"]["threadId"]
        self._send("stackTrace", {"threadId": thread})
        frame = self._until(command="stackTrace")["body"]["stackFrames"][0]
        self._thread = thread
        return frame["source"]["path"], frame["line"]

    def go_on(self) -> None:
        """Let the program go on."""
        self._send("continue", {"threadId": self._thread})
        self._until(command="continue")

    def _send(self, command: str, arguments: dict[str, Any]) -> None:
        self._number += 1
        request = {"seq": self._number, "type": "request", "command": command}
        body = json.dumps(request | {"arguments": arguments}).encode()
        self._stream.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self._stream.flush()

    def _until(self, **wanted: str) -> dict[str, Any]:
        """Read messages up to the wanted one: `event`, or the response to `command`."""
        while True:
            message = self._read()
            if all(message.get(name) == value for name, value in wanted.items()):
                assert message.get("success", True), message
                return message

    def _read(self) -> dict[str, Any]:
        length = 0
        while line := self._stream.readline().strip():
            length = int(line.rpartition(b":")[2])
        message: dict[str, Any] = json.loads(self._stream.read(length))
        return message


def configuration(name: str) -> dict[str, Any]:
    """Return VS Code's configuration with variables replaced and prompts at their defaults."""
    launch = json.loads((ROOT / ".vscode" / "launch.json").read_text())
    variables = {f"${{input:{each['id']}}}": each["default"] for each in launch["inputs"]}
    (found,) = (each for each in launch["configurations"] if each["name"] == name)
    text = json.dumps(found)
    for variable, value in {**variables, "${workspaceFolder}": str(ROOT)}.items():
        text = text.replace(variable, value)
    assert "${" not in text
    chosen: dict[str, Any] = json.loads(text)
    return chosen


def _connected(host: str, port: int) -> socket.socket:
    """Return a connection when something really listens: Docker accepts before its container."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        try:
            connection = socket.create_connection((host, port), timeout=_SECONDS)
        except OSError:
            time.sleep(0.2)
            continue
        if connection.recv(1, socket.MSG_PEEK):
            return connection
        connection.close()
        time.sleep(0.2)
    raise AssertionError(f"no debugger listens on port {port}")
