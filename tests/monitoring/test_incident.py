"""A scripted incident: `driftgate serve` with MiniLM, a topic that shifts, answers that get worse.

The engine is the stub; what is shown is that the monitor sees through the real gateway, store and
embedder what happens, survives being killed, and says it where Prometheus and the gateway look.
"""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import openai
import psutil
import pytest

from tests.gateway.running import ROOT, wait

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

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
    """A whole Driftgate, and those who ask it."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        key = (home / "serve.key").read_text().strip()
        self.client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key)
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

    def metrics(self) -> str:
        """Return what the monitor shows; empty while it is not there."""
        found = re.findall(r"metrics: (\S+)", (self.home / "logs" / "monitor.log").read_text())
        try:
            return httpx.get(found[-1], timeout=10).text if found else ""
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


@pytest.fixture
def incident(tmp_path: Path, minilm: Path) -> Iterator[Incident]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "HOME": str(tmp_path / "home"), "MODELS_DIR": str(minilm.parent), "PORT": str(port),
        "MONITOR_PORT": "0", "MONITOR_PERIOD_S": "0.5", "MONITOR_SETTLE_S": "2",
        "MONITOR_REFERENCE_ROWS": "400", "MONITOR_WINDOW": "25", "MONITOR_BASELINE": "60",
        "MONITOR_FALSE_ALARM_WINDOWS": "1000", "MONITOR_REPORT_WINDOWS": "1000",
    }  # fmt: skip
    environment = os.environ | {f"DRIFTGATE_{name}": value for name, value in settings.items()}
    output = tmp_path / "out"
    with output.open("wb") as opened:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve", "--engine", "echo"],
            cwd=ROOT, env=environment, stdout=opened, stderr=opened,
        )  # fmt: skip
    try:
        wait(lambda: process.poll() is not None or "Ctrl-C" in output.read_text(), 120)
        found = Incident(tmp_path / "home", port)
        yield found
        found.close()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, output.read_text()


def test_a_topic_that_shifts_and_answers_that_get_worse_are_told(incident: Incident) -> None:
    good = incident.ask(400)
    wait(lambda: incident.windows() == 1, 120)  # the reference
    incident.score(good[:60], 1.0)
    incident.ask(250)
    wait(lambda: incident.windows() >= 11, 120)
    assert incident.health("HEALTHY")
    assert incident.number(r'drift_evidence\{.*signal="all"\}') < 100
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        if command.endswith("monitor run") and _is_of(process, incident.home):
            process.kill()
    incident.ask(250, cooking=0.5)
    wait(lambda: incident.health("WARN"), 150)
    log = incident.home / "logs" / "monitor.log"
    wait(lambda: "production: HEALTHY → WARN" in log.read_text(), 60)
    bad = incident.ask(60)
    incident.score(bad, 0.0)
    wait(lambda: incident.health("DEGRADED"), 150)
    assert incident.number("cycles_failed_total") <= 1
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "monitor", "replay", "production"],
        env=os.environ | {
            "DRIFTGATE_HOME": str(incident.home), "DRIFTGATE_MONITOR_BASELINE": "60",
            "DRIFTGATE_MONITOR_FALSE_ALARM_WINDOWS": "1000",
        },
        capture_output=True, text=True, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the evidence is the same again" in done.stdout
    wait(lambda: "WARN → DEGRADED" in log.read_text(), 60)
    assert len(list((incident.home / "monitoring" / "reports" / "production").iterdir())) >= 2


def _is_of(process: psutil.Process, home: Path) -> bool:
    try:
        return process.environ().get("DRIFTGATE_HOME") == str(home)
    except psutil.Error:
        return False
