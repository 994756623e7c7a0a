"""A debugger can be attached to a function, in `make run` and in `sam local`."""

import dataclasses
import json
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local.sam import processes
from local.sam.commands import Sam, debugger_options
from local.settings import read_settings
from tests.contract.client import Client
from tests.functions.handlers import EVENTS
from tests.running import ROOT, free_port, running
from tests.sam_local.conftest import SECRET
from tests.sam_local.debugger import Debugger

APP = ROOT / "functions" / "docs" / "app.py"
LINES = APP.read_text().splitlines()
LINE = next(n for n, line in enumerate(LINES, 1) if "in accept_encoding" in line)  # of GET /docs


def test_a_function_of_make_run_stops_at_a_breakpoint(new_database: Callable[[], str]) -> None:
    port = free_port()
    settings = {"DATABASE_URL": new_database(), "JWT_SECRET": SECRET}
    with running({**settings, "DEBUG": "Docs", "DEBUG_PORT": str(port)}) as api:
        client = Client(api.url, SECRET)
        client.send("GET", "/docs")  # starts the function
        with ThreadPoolExecutor() as pool, Debugger(port, APP.parent, APP.parent) as debugger:
            debugger.attach(APP, LINE)
            answer = pool.submit(client.send, "GET", "/docs")
            assert debugger.stopped_at() == (str(APP), LINE)
            assert not answer.done()
            debugger.go_on()
            assert answer.result().status_code == 200


def test_a_function_of_sam_local_stops_at_a_breakpoint(sam: Sam) -> None:
    port = free_port()
    settings = read_settings(ROOT, {"JWT_SECRET": SECRET})
    settings = dataclasses.replace(settings, debug="Docs", debug_port=port)
    command = ("invoke", "Docs", "--event", str(EVENTS / "docs.json"))
    options = debugger_options(settings, print)
    process = sam.start(*command, *options, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        with Debugger(port, APP.parent, Path("/var/task")) as debugger:
            debugger.attach(APP, LINE)
            assert debugger.stopped_at() == (str(APP), LINE)
            debugger.go_on()
            assert json.loads(process.communicate()[0])["statusCode"] == 200
    finally:
        processes.end(process, signal.SIGINT)
