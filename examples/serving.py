"""A Driftgate for the length of a demonstration: `driftgate serve` with a store of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

from gateway.lifeline import die_with_parent

_START_S = 900.0
_STOP_S = 60.0
_ROOT = Path(__file__).parents[1]


@contextlib.contextmanager
def serving(
    home: Path | None = None, settings: Mapping[str, str] | None = None, *, again: bool = False
) -> Iterator[tuple[str, str]]:
    """Serve while the block runs; yields the URL of the API and a key with all scopes.

    Models are pulled into `.driftgate/models` beside the code, as `make serve` does, so that the
    next start finds them.

    Args:
        home: Where its store and files are; None: in a folder that is deleted at the end.
        settings: More variables of its environment.
        again: Whether it is started again when it ends by itself or is killed, as systemd would.

    Raises:
        RuntimeError: It did not start; the message ends with what it printed.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with contextlib.ExitStack() as stack:
        if home is None:
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="driftgate-")))
        environment = {
            "DRIFTGATE_MODELS_DIR": str(_ROOT / ".driftgate" / "models"),
            **os.environ,
            "DRIFTGATE_HOME": str(home),
            "DRIFTGATE_PORT": str(port),
            "DRIFTGATE_MONITOR": "false",
            **(settings or {}),
        }
        log = home / "serve.out"
        supervised = stack.enter_context(_supervised(environment, log, again))
        url = f"http://127.0.0.1:{port}"
        _until_ready(supervised, url, log)
        yield f"{url}/v1", (home / "serve.key").read_text().strip()


class _Supervised(threading.Thread):
    """`driftgate serve`, and its next start where it ended although it should not."""

    def __init__(self, environment: Mapping[str, str], log: Path, again: bool) -> None:
        super().__init__(name="serve", daemon=True)
        self._environment, self._log, self._again = environment, log, again
        self._lock = threading.Lock()  # whoever stops it sees the last process
        self._stopping = False
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        """Start it, and again where that is wanted."""
        # The kernel ties a process to the thread that started it: this one lives as long.
        while (process := self._launch()) is not None:
            process.wait()
            if not self._again:
                return

    def _launch(self) -> "subprocess.Popen[bytes] | None":
        with self._lock, self._log.open("ab") as output:
            if self._stopping:
                return None
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", "serve"],
                cwd=_ROOT, env=self._environment, stdout=output, stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )  # fmt: skip
            return self._process

    def stop(self) -> None:
        """End it for good."""
        with self._lock:
            self._stopping = True
            process = self._process
        if process is not None:
            process.send_signal(signal.SIGTERM)
            self.join(_STOP_S)
            process.kill()
        self.join(_STOP_S)

    def ended(self) -> bool:
        """Return whether it has ended and is not started again."""
        return not self.is_alive()


@contextlib.contextmanager
def _supervised(environment: Mapping[str, str], log: Path, again: bool) -> Iterator[_Supervised]:
    found = _Supervised(environment, log, again)
    found.start()
    try:
        yield found
    finally:
        found.stop()


def _until_ready(supervised: _Supervised, url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    with httpx.Client(base_url=url, timeout=2) as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if client.get("/health/ready").status_code == 200:
                    return
            if supervised.ended() or time.monotonic() > deadline:
                raise RuntimeError(f"`driftgate serve` did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
