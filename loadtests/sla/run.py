"""Runs a scenario: Locust as a process of its own, whose samples are then read."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from loadtests.sla.agreement import Scenario
from loadtests.sla.measured import Measured, read

_ROOT = Path(__file__).parents[2]
# Answers that were begun may end; users are not stopped in the middle of one.
_STOP_S = 60
_LATE_S = 120


class RunFailed(Exception):
    """Locust ended before its time; the message has the end of its log."""


@dataclass(frozen=True)
class Load:
    """What is asked, and how.

    Attributes:
        key: The key of users who are no tenants.
        data: Folder that may have BANKING77.
        tenants: The file of tenants' keys.
        out: Folder for samples and logs.
    """

    url: str
    key: str
    model: str
    data: Path
    out: Path
    tenants: Path | None = None


def run(scenario: Scenario, load: Load) -> Measured:
    """Run a scenario to its end and return what was measured.

    Raises:
        RunFailed: Locust did not run.
    """
    samples, log = load.out / f"{scenario.name}.jsonl", load.out / f"{scenario.name}.log"
    samples.unlink(missing_ok=True)
    command = [
        sys.executable, "-m", "locust", "-f", "loadtests/locustfile.py", scenario.user,
        "--headless", "--only-summary", "--exit-code-on-error", "0",
        "--host", load.url, "--model", load.model, "--shape", scenario.shape,
        "-u", str(scenario.users), "-r", str(scenario.users), "-t", f"{_whole(scenario.seconds)}s",
        "--stop-timeout", str(_STOP_S), "--samples", str(samples), "--data", str(load.data),
        *(["--tenants", str(load.tenants)] if load.tenants else []),
    ]  # fmt: skip
    environment = {**os.environ, "DRIFTGATE_API_KEY": load.key}
    with log.open("wb") as output:
        try:
            status = subprocess.run(
                command, cwd=_ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT,
                timeout=scenario.seconds + _STOP_S + _LATE_S, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            raise RunFailed(f"{scenario.name}: Locust did not end; its log is {log}") from None
    if status != 0 or not samples.exists():
        raise RunFailed(
            f"{scenario.name}: Locust ended with status {status}; {log} ends with\n"
            f"{log.read_text()[-1500:]}"
        )
    return read(samples)


def _whole(seconds: float) -> int:
    return max(1, round(seconds))
