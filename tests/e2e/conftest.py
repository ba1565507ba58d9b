"""A whole Driftgate, started as a user starts it: `driftgate serve` with a real vLLM."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

_ROOT = Path(__file__).parents[2]
_START_S = 300.0


@dataclass(frozen=True)
class Served:
    """A running `driftgate serve`."""

    process: subprocess.Popen[bytes]
    url: str
    key: str
    home: Path

    def client(self, key: str | None = None) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key or self.key, max_retries=0)

    def processes(self, marker: str) -> list[int]:
        """Return the processes of this instance whose command line holds `marker`."""
        return [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and _mentions(entry, marker, str(self.home))
        ]

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def wait(self, condition: Callable[[], bool], timeout_s: float) -> float:
        """Wait until `condition`, return the seconds that it took."""
        started = time.monotonic()
        while not condition():
            if time.monotonic() - started > timeout_s:
                log = (self.home / "serve.out").read_text()[-3000:]
                pytest.fail(f"not within {timeout_s} s; the output of serve ends with:\n{log}")
            time.sleep(0.02)
        return time.monotonic() - started


def _mentions(entry: Path, *markers: str) -> bool:
    try:
        shown = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
    except OSError:
        return False
    text = shown.decode(errors="replace")
    return all(marker in text for marker in markers)


def _serve(home: Path) -> Iterator[Served]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "DRIFTGATE_HOME": str(home),
        "DRIFTGATE_MODELS_DIR": str(_ROOT / ".driftgate" / "models"),
        "DRIFTGATE_PORT": str(port),
    }
    home.mkdir(exist_ok=True)
    with (home / "serve.out").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve"],
            cwd=_ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    served = Served(process, f"http://127.0.0.1:{port}", "", home)
    try:
        served.wait(lambda: process.poll() is not None or served.ready(), _START_S)
        assert process.poll() is None, (home / "serve.out").read_text()[-3000:]
        key = (home / "serve.key").read_text().strip()
        yield Served(process, served.url, key, home)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Start Driftgate for a test module."""
    yield from _serve(tmp_path_factory.mktemp("driftgate"))
