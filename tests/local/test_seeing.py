"""What a developer sees of the functions: in the terminal of `make run`, and by `make logs`."""

import json
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from local.terminal import shown_lines
from tests.local.toy import environment, served
from tests.running import start

LOGGED = {
    "level": "ERROR",
    "location": "handler:12",
    "message": "it went wrong",
    "exception": 'Traceback (most recent call last):\n  File "app.py", line 12\nValueError: no',
}
METRICS = {"_aws": {"Timestamp": 0}, "Requests": 1}


def seen(folder: Path, use: Callable[[str], object]) -> str:
    """Return all that the API prints while somebody uses it."""
    process = start(environment({}), cwd=folder)
    assert process.stdout
    url = next(line for line in process.stdout if line.startswith("Ready on ")).split()[-1]
    use(url)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=20)
    assert 'Traceback (most recent call last):\n  File "' not in output or "local/" not in output
    return output


def work(url: str, code: str) -> httpx.Response:
    return httpx.post(
        f"{url}/work?token=secret", content=code, headers={"content-type": "text/plain"}
    )


def test_what_a_function_prints_and_logs_is_seen(folder: Path) -> None:
    logged = [f"print({json.dumps(each)!r})" for each in (METRICS, LOGGED)]
    output = seen(folder, lambda url: work(url, f"print('hello'); {'; '.join(logged)}"))
    assert (
        "Work: hello\nWork: ERROR it went wrong (handler:12)\n"
        '  Traceback (most recent call last):\n    File "app.py", line 12\n  ValueError: no\n'
    ) in output
    assert re.search(r"^POST /work 200 \d+ ms$", output, re.MULTILINE)
    assert "_aws" in (folder / ".local/functions.log").read_text()


def test_an_unhandled_error_is_seen_once_with_its_file_and_line(folder: Path) -> None:
    output = seen(folder, lambda url: work(url, "1 / 0"))
    assert output.count("ZeroDivisionError: division by zero") == 1
    assert re.search(r'File "\S*functions/worker/app\.py", line \d+, in handler', output)


def test_what_a_function_writes_cannot_steer_the_terminal() -> None:
    (line,) = shown_lines("F", "\x1b]0;title\x07", sys.stdout)
    assert "\x1b" not in line
    assert "\x07" not in line


def test_the_log_is_for_this_user_alone_and_holds_no_header(folder: Path) -> None:
    with served(folder) as toy:
        toy.get("/echo/a", authorization="Bearer unmistakable")
        toy.work("print('a line')")
        toy.raw(b"GET / HTTP/1.1\r\nAuthorization : Bearer unmistakable\r\n\r\n")
        toy.work("pass")
    log = folder / ".local/functions.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert log.read_text() == "Work: a line\n"


def test_make_logs_follows_what_functions_write(folder: Path) -> None:
    with served(folder) as toy:
        toy.work("print('before')")
        toy.work("pass")
        with subprocess.Popen(
            [sys.executable, "-m", "local", "logs"],
            cwd=folder,
            env=environment({}),
            stdout=subprocess.PIPE,
            text=True,
        ) as following:
            assert following.stdout
            assert following.stdout.readline() == "Work: before\n"
            toy.work("print('after')")
            assert following.stdout.readline() == "Work: after\n"
            following.send_signal(signal.SIGINT)
            assert following.wait(10) == 0
