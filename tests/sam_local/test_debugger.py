"""VS Code can attach to a function, in `make run` and in `sam local`, as it is configured here.

The configurations name the port, so nothing else may use it during these tests.
"""

import json
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from local.sam.commands import Sam, api_options
from local.settings import read_settings
from tests.contract.client import Client
from tests.running import ROOT, free_port, running
from tests.sam_local.conftest import SECRET, wait_until_ready
from tests.sam_local.daemon import end
from tests.sam_local.debugger import Debugger, configuration

pytestmark = pytest.mark.campaign

DEBUG = "CreateTask"
APP = ROOT / "functions" / "create_task" / "app.py"
LINES = APP.read_text().splitlines()
LINE = next(n for n, line in enumerate(LINES, 1) if "return created(" in line)


def test_a_function_of_make_run_stops_at_a_breakpoint(new_database: Callable[[], str]) -> None:
    settings = {"DATABASE_URL": new_database(), "JWT_SECRET": SECRET, "DEBUG": DEBUG}
    with running(settings) as api, ThreadPoolExecutor() as pool:
        client = Client(api.url, SECRET)
        client.create()  # starts the function
        with Debugger("make run") as debugger:
            debugger.attach(APP, LINE)
            _stops_and_goes_on(debugger, pool.submit(client.create))


def test_a_function_of_sam_local_stops_at_a_breakpoint(sam: Sam, tmp_path: Path) -> None:
    port = free_port()
    given = {"PORT": str(port), "JWT_SECRET": SECRET, "DEBUG": DEBUG}
    with (tmp_path / "log").open("w") as log:
        options = api_options(read_settings(ROOT, given))
        process = sam.start("start-api", *options, stdout=log, stderr=log)
    try:
        wait_until_ready(process, tmp_path / "log")
        with ThreadPoolExecutor() as pool:
            task = pool.submit(Client(f"http://127.0.0.1:{port}", SECRET).create)
            with Debugger("sam local") as debugger:  # the request waits for the debugger
                debugger.attach(APP, LINE)
                _stops_and_goes_on(debugger, task)
    finally:
        end(process, signal.SIGINT)


def test_the_port_to_attach_to_is_the_one_that_is_opened() -> None:
    port = read_settings(ROOT, {}).debug_port
    for name in ("make run", "sam local"):
        assert configuration(name)["connect"] == {"host": "127.0.0.1", "port": port}


def test_the_editor_finds_the_interpreter_and_the_layer() -> None:
    settings = json.loads((ROOT / ".vscode" / "settings.json").read_text())
    interpreter = settings["python.defaultInterpreterPath"].partition("/")[2]
    assert (ROOT / interpreter).exists()
    assert [ROOT / path for path in settings["python.analysis.extraPaths"]] == [
        ROOT / "layers" / "shared"
    ]


def _stops_and_goes_on(debugger: Debugger, task: "Future[dict[str, Any]]") -> None:
    assert debugger.stopped_at() == (str(APP), LINE)
    assert not task.done()
    debugger.go_on()
    assert task.result()["title"] == "A task"
