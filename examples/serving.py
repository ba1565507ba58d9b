"""A Driftgate for the length of a demonstration: `driftgate serve` with a store of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
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
    home: Path | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[str, str]]:
    """Serve while the block runs; yields the URL of the API and a key with all scopes.

    Models are pulled into `.driftgate/models` beside the code, as `make serve` does, so that the
    next start finds them.

    Args:
        home: Where its store and files are; None: in a folder that is deleted at the end.
        settings: More variables of its environment.

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
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", "serve"],
                cwd=_ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT,
                preexec_fn=die_with_parent,
            )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}"
            _until_ready(process, url, log)
            yield f"{url}/v1", (home / "serve.key").read_text().strip()
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health/ready", timeout=2).status_code == 200:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"`driftgate serve` did not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.2)
