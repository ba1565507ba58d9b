"""One run of an engine's command under the guard: start, end, kill. No policy.

`process.py` decides when to start again; this file knows how to speak with `guard.py`.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from gateway.engines import guard

_GUARD = str(Path(guard.__file__).resolve())
_LOG_LIMIT_BYTES = 50 * 2**20
_TAIL_BYTES = 4096
# The guard gives its descendants 4 s to vanish after SIGKILL; then it is stuck itself.
_GUARD_EXIT_S = 5.0


class Child:
    """A running command; make one with `start`, and always `await kill()` in the end."""

    def __init__(self, process: subprocess.Popen[bytes], link: socket.socket) -> None:
        self._process = process
        self._link = link
        self._buffer = b""
        self.pid: int | None = None
        self.status: int | None = None

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str], log: Path) -> Self:
        """Start `command`, its output appended to `log`, and wait until its process exists.

        Raises:
            OSError: The log or the process could not be made.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = _spawn(theirs.fileno(), command, environment, log)
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        child = cls(process, ours)
        try:
            await child._read_line()
        except BaseException:
            await child.kill()
            raise
        return child

    async def wait(self) -> int:
        """Wait for the command's end and return its status (minus the signal that ended it).

        It returns as soon as the command has ended; what it left behind is cleaned by `kill`.
        """
        while self.status is None:
            if not await self._read_line():
                # The guard itself was killed; the kernel kills the command with it.
                self.status = -int(signal.SIGKILL)
        return self.status

    def terminate(self) -> None:
        """Ask the command to finish."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)

    async def kill(self) -> None:
        """Kill whatever is left of the command and wait until it is gone; may be repeated."""
        if self._process.returncode is not None:
            return
        # End-of-file tells a living guard to kill everything, sessions of their own included; it
        # also ends a `wait` that is under way.
        with contextlib.suppress(OSError):
            self._link.shutdown(socket.SHUT_RDWR)
        try:
            await asyncio.shield(asyncio.to_thread(self._collect))
        finally:
            self._link.close()

    def _collect(self) -> None:
        # The guard is not reaped yet, so its id cannot belong to another group. Where it lives it
        # gets time to clean up first: only it can find descendants that left the group.
        guard_ended = _wait_unreaped(self._process.pid, _GUARD_EXIT_S)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if not guard_ended:
            self._process.kill()
        self._process.wait()

    async def _read_line(self) -> bool:
        """Take one line of the guard; False once it has closed the link."""
        loop = asyncio.get_running_loop()
        while b"\n" not in self._buffer:
            try:
                received = await loop.sock_recv(self._link, 256)
            except OSError:
                received = b""
            if not received:
                return False
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        word, _, number = line.partition(b" ")
        if word == b"pid":
            self.pid = int(number)
        elif word == b"exit":
            self.status = int(number)
        return True


def _spawn(
    link: int, command: Sequence[str], environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    with log.open("ab", buffering=0) as output:
        return subprocess.Popen(  # noqa: S603 - a fixed program, no shell
            [sys.executable, "-I", "-S", _GUARD, "--parent-fd", str(link), "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            pass_fds=[link],
            start_new_session=True,
        )


def _wait_unreaped(pid: int, timeout_s: float) -> bool:
    """Wait for a child's end without collecting its status; False after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
            return True
        time.sleep(0.005)
    return False


def rotate(log: Path) -> None:
    """Create the log's folder; move a log above 50 MB to `<name>.1`, replacing an older one."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        if log.stat().st_size > _LOG_LIMIT_BYTES:
            log.replace(log.with_name(log.name + ".1"))
    except FileNotFoundError:
        return


def last_lines(log: Path, start: int, count: int = 5) -> str:
    """Return the last lines that were written after byte `start`, for an error message."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])
