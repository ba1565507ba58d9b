"""A whole Driftgate with the stub engine, for incidents; and those who ask it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import openai
import psutil

from tests.gateway.running import ROOT, wait
from tests.monitoring.scraped import free_port

_BANKING = (
    "Why was my {0} payment declined {1}?", "How do I top up my {0} account {1}?",
    "My {0} transfer has not arrived {1}.", "Which fee is charged for a {0} withdrawal {1}?",
    "Can I change the PIN of my {0} card {1}?", "I lost my {0} card {1}, please block it.",
)  # fmt: skip
_COOKING = (
    "How long do I bake {0} bread {1}?", "Which spices go into a {0} soup {1}?",
    "Can I freeze {0} dumplings {1}?",
)  # fmt: skip
_FIRST = ("new", "old", "virtual", "foreign", "joint", "business", "student", "second")
_LAST = ("today", "since Monday", "abroad", "at the weekend", "in the evening", "this morning")


class Incident:
    """A Driftgate at work, and those who ask it.

    Args:
        home: Its folder.
        process: `driftgate serve`.
        port: The gateway's.
        monitor_port: The exporter's.
    """

    def __init__(
        self, home: Path, process: "subprocess.Popen[bytes]", port: int, monitor_port: int
    ) -> None:
        self.home = home
        self.targets = {"gateway": f"127.0.0.1:{port}", "monitor": f"127.0.0.1:{monitor_port}"}
        key = (home / "serve.key").read_text().strip()
        self.client = openai.OpenAI(
            base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0
        )
        self._process = process
        self._feedback = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {key}"}
        )
        self._rng = np.random.default_rng(3)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
        self._feedback.close()

    def ask(self, count: int, *, cooking: float = 0.0) -> list[str]:
        """Ask, and return the ids of the answers."""
        prompts = []
        for _ in range(count):
            forms = _COOKING if self._rng.random() < cooking else _BANKING
            form = forms[self._rng.integers(len(forms))]
            prompts.append(form.format(self._rng.choice(_FIRST), self._rng.choice(_LAST)))

        def one(prompt: str) -> str:
            answer = self.client.chat.completions.create(
                model="production", messages=[{"role": "user", "content": prompt}]
            )
            return answer.id

        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(one, prompts))

    def score(self, ids: list[str], score: float) -> None:
        """Say how good answers were."""
        for id in ids:
            said = self._feedback.post("/v1/feedback", json={"completion_id": id, "score": score})
            assert said.status_code < 300, said.text

    def kill(self, *ending: str) -> int:
        """SIGKILL the processes below `serve` whose command line has these words; how many."""
        killed = 0
        for process in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if " ".join(ending) in " ".join(process.cmdline()):
                    process.kill()
                    killed += 1
        return killed

    def metrics(self) -> str:
        """Return what the monitor shows; empty while it is not there."""
        try:
            return httpx.get(f"http://{self.targets['monitor']}/metrics", timeout=10).text
        except httpx.TransportError:
            return ""

    def number(self, pattern: str) -> float:
        """Return the value of a series of the monitor's; -1 where it has none."""
        found = re.search(rf"^driftgate_monitor_{pattern} (\S+)$", self.metrics(), re.MULTILINE)
        return float(found[1]) if found else -1.0

    def health(self, state: str) -> bool:
        """Return whether the alias is in a state."""
        return self.number(rf'alias_health{{alias="production",state="{state}"}}') == 1.0

    def windows(self) -> float:
        """Return how many windows were judged."""
        return self.number(r"windows_total\{.*\}")


@contextlib.contextmanager
def incident(folder: Path, **settings: str) -> Iterator[Incident]:
    """Run `driftgate serve --engine echo` with these settings."""
    port, monitor_port = free_port(), free_port()
    known = {"home": str(folder / "home"), "port": str(port), "monitor_port": str(monitor_port)}
    environment = os.environ | {
        f"DRIFTGATE_{name.upper()}": value for name, value in {**known, **settings}.items()
    }
    output = folder / "out"
    with output.open("wb") as opened:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve", "--engine", "echo"],
            cwd=ROOT, env=environment, stdout=opened, stderr=opened,
        )  # fmt: skip
    try:
        wait(lambda: process.poll() is not None or "Ctrl-C" in output.read_text(), 240)
        assert process.poll() is None, output.read_text()
        found = Incident(folder / "home", process, port, monitor_port)
        try:
            wait(lambda: bool(found.metrics()), 120)
            yield found
        finally:
            found.close()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, output.read_text()
