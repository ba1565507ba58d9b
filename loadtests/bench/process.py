"""Starts a program of the benchmark, waits until it serves, and ends it with all its children."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
_POLL_S = 0.1
_STOP_S = 15.0
_LOG_TAIL = 600


class StartFailed(Exception):
    """A system under test could not be installed, did not come up or answered wrongly."""


def free_port() -> int:
    """Return a TCP port of the loopback address that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def clean_environment(home: Path, **extra: str) -> dict[str, str]:
    """Return the environment of a peer: none of this machine's settings or credentials."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "HOME": str(home), "TMPDIR": str(home), "DO_NOT_TRACK": "1", **extra}


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    ready: Callable[[], bool],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
) -> Iterator[int]:
    """Run a program as a process group of its own; gives its process id once it is ready.

    Args:
        command: The program and its arguments.
        ready: Whether it serves; asked again and again.
        log: Where its output goes; the end of it is in the message of a failure.
        environment: Its whole environment; None: this process's.
        timeout_s: How long it may take until it is ready, in seconds.

    Raises:
        StartFailed: It ended, or was not ready in time.
    """
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except OSError as error:
            raise StartFailed(f"{command[0]}: {error.strerror}") from error
    try:
        deadline = time.monotonic() + timeout_s
        while not ready():
            if process.poll() is not None:
                raise StartFailed(f"ended with {process.returncode}: {tail(log)}")
            if time.monotonic() > deadline:
                raise StartFailed(f"not ready after {timeout_s:g} s: {tail(log)}")
            time.sleep(_POLL_S)
        yield process.pid
    finally:
        _stop(process)


def without_root(text: str) -> str:
    """Return a message without the place of this working tree: it may end up in the report."""
    return text.replace(f"{ROOT}/", "")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    # What it started is in its process group, and may outlive it.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tail(log: Path) -> str:
    """Return the end of a log as one line."""
    text = without_root(log.read_bytes()[-_LOG_TAIL:].decode(errors="replace"))
    return " / ".join(line.strip() for line in text.splitlines() if line.strip()) or "no output"
