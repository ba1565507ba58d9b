"""A throwaway PostgreSQL server that can be stopped, killed and started again."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import psycopg

from loadtests.bench.process import StartFailed

_START_S = 30.0


def missing() -> str:
    """Return why there is no PostgreSQL here, or an empty string."""
    if _binaries() is None:
        return "PostgreSQL's server is not installed (Debian: apt-get install postgresql)"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            return "PostgreSQL does not run as root, and there is no user `postgres`"
    return ""


class Postgres:
    """A server on a Unix socket; its superuser is `driftgate`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._options: dict[str, Any] = {
            "cwd": home, "env": {"LC_ALL": "C", "PATH": os.environ["PATH"]},
        }  # fmt: skip
        if os.geteuid() == 0:  # initdb refuses root
            user = pwd.getpwnam("postgres")
            os.chown(home, user.pw_uid, user.pw_gid)
            self._options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of its one database."""
        return f"postgresql+psycopg://driftgate@/postgres?host={self._home}"

    def create(self) -> None:
        """Make the cluster."""
        options = ["-U", "driftgate", "-A", "trust", "-N", "-E", "UTF8"]
        command = [str(self._program("initdb")), "-D", str(self._home / "data"), *options]
        subprocess.run(command, check=True, capture_output=True, **self._options)

    def start(self) -> None:
        """Start it and wait until it answers; raises StartFailed."""
        with (self._home / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self._program("postgres"), "-D", self._home / "data", "-k", self._home, "-h", ""],
                stdout=log, stderr=log, **self._options,
            )  # fmt: skip
        deadline = time.monotonic() + _START_S
        while True:
            try:
                psycopg.connect(host=str(self._home), user="driftgate", dbname="postgres").close()
                return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise StartFailed(f"PostgreSQL did not start: {error}") from error
            time.sleep(0.05)

    def hang(self, stopped: bool) -> None:
        """Stop all of its processes, or let them go on."""
        assert self._server is not None
        first = psutil.Process(self._server.pid)
        for process in [first, *first.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP if stopped else signal.SIGCONT)

    def end(self, number: int) -> None:
        """End it by a signal: SIGQUIT is a crash, SIGINT a fast shutdown."""
        if self._server is not None and self._server.poll() is None:
            self._server.send_signal(number)
            self._server.wait(30)

    def _program(self, name: str) -> Path:
        folder = _binaries()
        assert folder is not None
        return folder / name


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[Postgres]:
    """Run a server; call `missing` first."""
    # Closed to others by mkdtemp, and given to the user that it runs as.
    home = Path(tempfile.mkdtemp(prefix="dg-chaos-pg-"))
    try:
        found = Postgres(home)
        await asyncio.to_thread(found.create)
        try:
            await asyncio.to_thread(found.start)
            yield found
        finally:
            await asyncio.to_thread(found.end, signal.SIGINT)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _binaries() -> Path | None:
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    on_path = shutil.which("initdb")
    found += [Path(on_path).resolve().parent] if on_path else []
    return next((f for f in found if (f / "initdb").exists() and (f / "postgres").exists()), None)
