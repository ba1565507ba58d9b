"""Starts and ends the processes of rows, and keeps two of them out of one folder."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

from training.leash import Setup

_STOP_S = 10.0
# Telemetry of the libraries that steps load.
_QUIET = {"DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

Process = subprocess.Popen[bytes]


def start(module: str, setup: Setup, log: Path) -> Process:
    """Start the process of a row; what it prints goes to the end of `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            pass_fds=[setup.lock],
            env={**os.environ, **_QUIET},
            start_new_session=True,
        )
    assert process.stdin is not None  # noqa: S101 - a pipe
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(setup.line())
        process.stdin.flush()
    return process


def end(process: Process) -> None:
    """End a row's process and all that it started."""
    assert process.stdin is not None  # noqa: S101 - a pipe
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    if process.returncode is None:
        # Its id cannot be another's before it is waited for.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(_STOP_S)
    else:
        # The leader is gone; what it left still has its group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def lock(folder: Path) -> int | None:
    """Make a row's folder and take it; None where a process is still in it.

    The row's processes hold the lock too, so what an earlier worker left behind has ended by then.
    The descriptor that is returned is the caller's to close.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    taken = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(taken, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(taken)
        return None
    return taken
