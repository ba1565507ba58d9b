"""Measures what the monitor costs: CPU of its process and of its embeddings, under busy traffic.

    python -m loadtests.monitor_cost [--minutes 20] [--rate 100] [--data ../shared/data/banking77]

The real processes with default settings: `driftgate monitor run`, and the retrieval service with
MiniLM. What the gateway would record is written into the store directly: questions of BANKING77 at
an even rate. CPU is that of a process and its children. The reference, made once for a release, and
a report are told apart. Writes `loadtests/results/monitor_cost.md`.
"""

import argparse
import itertools
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from gateway.store.database import Database
from gateway.store.monitoring import Monitoring, MonitorState
from gateway.store.releases import Release, Releases, Target
from gateway.store.traffic import Traffic, TrafficRecord
from monitoring.bench.banking import DataMissing, questions
from monitoring.settings import MonitorSettings
from retrieval.places import retrieval_socket, run_dir

_RESULTS = Path(__file__).parent / "results" / "monitor_cost.md"
_EMBEDDER = Path(".driftgate/models/all-minilm-l6-v2")
_ALIAS, _RELEASE = "production", "measured"
_START_S = 900.0


class Customers(threading.Thread):
    """Writes requests into the traffic log at an even rate, a second's worth at a time."""

    def __init__(self, database: Database, texts: list[str], rate: int) -> None:
        super().__init__(daemon=True)
        self._traffic, self._texts, self._rate = Traffic(database), texts, rate
        self._numbers = itertools.count()
        self.ended = threading.Event()

    def run(self) -> None:
        """Write until `ended` is set."""
        chance = random.Random(7)
        began = time.time()
        while not self.ended.wait(max(0.0, began - time.time())):
            times = [began + place / self._rate for place in range(self._rate)]
            self._traffic.add([self._record(at, chance.choice(self._texts)) for at in times])
            began += 1.0

    def _record(self, at: float, question: str) -> TrafficRecord:
        said = {"message": {"role": "assistant", "content": "card_arrival"}}
        return TrafficRecord(
            completion_id=f"chatcmpl-{next(self._numbers):08}", created_at=at, operation="chat",
            key_prefix="dg-a", alias=_ALIAS, release=_RELEASE, index_generation=None,
            messages=[{"role": "user", "content": question}], parameters={},
            answer={"choices": [said]}, finish_reason="stop", prompt_tokens=40,
            completion_tokens=4, ttft_s=0.1, duration_s=0.3, logprob_mean=-0.1, logprob_tail=-0.4,
            retrieval=None, outcome="done", status=200, metadata={}, system_fingerprint=None,
            conversation=None,
        )  # fmt: skip


class Measured:
    """A store with one release, the two processes, and how much CPU they have used."""

    def __init__(self, home: Path) -> None:
        self.database = Database(f"sqlite:///{home / 'driftgate.db'}")
        self.database.migrate()
        releases, model = Releases(self.database), str(_EMBEDDER)
        releases.register(
            Release(_RELEASE, "measured", "main", path=model, digests={}, created_at=1.0)
        )
        releases.point(_ALIAS, [Target(_RELEASE, 1.0, "live")])
        self._store, self._home = Monitoring(self.database), home
        socket = retrieval_socket(home)
        run_dir(home).mkdir(parents=True, exist_ok=True, mode=0o700)
        serve = ("retrieval", "serve", "--model", str(_EMBEDDER), "--socket", str(socket))
        self.embeddings = psutil.Process(self.start(*serve).pid)
        self._wait("the retrieval service", socket.exists)
        self.monitor = psutil.Process(self.start("monitor", "run").pid)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `driftgate` with default settings."""
        names = {"DRIFTGATE_HOME": str(self._home), "DRIFTGATE_MONITOR_PORT": "0"}
        with (self._home / f"{arguments[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", *arguments],
                env=os.environ | names, stdout=log, stderr=log,
            )  # fmt: skip

    def state(self) -> MonitorState:
        """Return how far the monitor is."""
        return self._store.state(_ALIAS, _RELEASE) or MonitorState(_ALIAS, _RELEASE)

    def until_reference(self) -> None:
        """Wait until the reference is made."""
        self._wait("the reference", lambda: self.state().stage == "watching")

    def end(self) -> None:
        """End both processes."""
        for process in (self.monitor, self.embeddings):
            if process.is_running():
                process.terminate()
                process.wait(60)

    def _wait(self, what: str, there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_S
        while not there():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {_START_S:g} s: {what}")
            time.sleep(0.5)


def cpu_s(process: psutil.Process) -> float:
    """Return the seconds of CPU that a process and its children have used."""
    return float(sum(sum(each.cpu_times()[:2]) for each in [process, *process.children(True)]))


def report(measured: Measured) -> tuple[float, float]:
    """Write a report as a person would; returns the CPU of the command and of its embeddings."""
    embeddings = cpu_s(measured.embeddings)
    before = sum(os.times()[2:4])  # of children that have ended
    if measured.start("monitor", "report", _ALIAS).wait(600) != 0:
        raise RuntimeError("the report was not written")
    return sum(os.times()[2:4]) - before, cpu_s(measured.embeddings) - embeddings


def measure(home: Path, minutes: float, rate: int, texts: list[str]) -> str:
    """Measure; returns the page."""
    measured = Measured(home)
    customers = Customers(measured.database, texts, rate)
    customers.start()
    try:
        measured.until_reference()
        made = cpu_s(measured.monitor), cpu_s(measured.embeddings)
        first, began = measured.state(), time.monotonic()
        print(f"the reference is made; {minutes:g} minutes of traffic", flush=True)
        time.sleep(minutes * 60)
        seconds, last = time.monotonic() - began, measured.state()
        used = cpu_s(measured.monitor) - made[0], cpu_s(measured.embeddings) - made[1]
        customers.ended.set()
        customers.join()
        measured.monitor.terminate()
        measured.monitor.wait(60)
        page = report(measured)
    finally:
        customers.ended.set()
        measured.end()
    settings, windows = MonitorSettings(), last.windows - first.windows
    reports_s = settings.monitor_report_windows * max(settings.monitor_window_every_s, 1.0)
    share = sum(used) / seconds
    rows = {
        "requests/s": f"{rate}",
        "minutes": f"{seconds / 60:.1f}",
        "windows judged": f"{windows}, {last.requests - first.requests} requests",
        "CPU of the monitor": f"{used[0]:.1f} s, {used[0] / seconds:.2%} of a core",
        "CPU of the embeddings": f"{used[1]:.1f} s, {used[1] / seconds:.2%} of a core",
        "a report": f"{page[0]:.1f} s, its embeddings {page[1]:.1f} s; one in "
        f"{settings.monitor_report_windows} windows: {sum(page) / reports_s:.2%} of a core",
        "**together**": f"**{share + sum(page) / reports_s:.2%} of a core**",
        f"once: start, and the reference of {last.reference_rows} rows": f"{made[0]:.0f} s, its "
        f"embeddings {made[1]:.0f} s",
    }
    lines = [
        "# What the monitor costs", "",
        "Default settings, real MiniLM, SQLite; `python -m loadtests.monitor_cost`.", "",
        "| | |", "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in rows.items()),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=int, default=100, help="requests/s")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/banking77"))
    options = parser.parse_args()
    if not _EMBEDDER.is_dir():
        parser.error(f"{_EMBEDDER} is missing: driftgate models pull {_EMBEDDER.name}")
    try:
        texts = [each.text for each in questions(options.data)]
    except DataMissing as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory(prefix="monitor-cost-") as folder:
        text = measure(Path(folder), options.minutes, options.rate, texts)
    print(text)
    _RESULTS.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
