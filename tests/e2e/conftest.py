"""A whole Driftgate, started as a user starts it: `driftgate serve` with a real vLLM."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import openai
import psutil
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
    clients: list[openai.OpenAI] = field(default_factory=list)

    def client(self, key: str | None = None) -> openai.OpenAI:
        """Return a client, which lives until the tests end."""
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=key or self.key, max_retries=0)
        self.clients.append(client)
        return client

    def engines(self) -> list[psutil.Process]:
        """Return the main process of each vLLM that descends from this instance."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        found: list[psutil.Process] = []
        for process in below:
            with contextlib.suppress(psutil.Error):  # it has just ended
                if "vllm.entrypoints.openai.api_server" in process.cmdline()[1:4]:
                    found.append(process)
        return found

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


def _serve(home: Path) -> Iterator[Served]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "DRIFTGATE_HOME": str(home),
        "DRIFTGATE_MODELS_DIR": str(_ROOT / ".driftgate" / "models"),
        "DRIFTGATE_PORT": str(port),
        "DRIFTGATE_MONITOR_PORT": "0",
        # Tested here is what is answered. Two cores that compute eight answers at once are late.
        "DRIFTGATE_RETRIEVAL_DEADLINE_MS": "5000",
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
        served = replace(served, key=key)
        yield served
    finally:
        for client in served.clients:
            client.close()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Start Driftgate once for all tests here; the last one ends it."""
    yield from _serve(tmp_path_factory.mktemp("driftgate"))
