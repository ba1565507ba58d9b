"""Alerts without containers: a Prometheus with Driftgate's rules beside a gateway on this host.

It keeps its data in the home folder and ends with the command that started it. What is told is what
fires; whom to wake is Alertmanager's business (`docs/howto/alerts.md`).
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

_RULES = Path(__file__).parent / "prometheus" / "rules"
_START_S = 30.0
_STOP_S = 20.0


class AlertsUnavailable(Exception):
    """Prometheus is not installed, did not start, or has ended."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that fires.

    Attributes:
        name: Of the rule.
        labels: What it is about, such as alias and release.
        severity: `page` for now, `ticket` for this week.
        summary: What a person reads.
        runbook: Where it stands what to do.
    """

    name: str
    labels: tuple[tuple[str, str], ...]
    severity: str
    summary: str
    runbook: str


class Watch:
    """Which alerts fire at a Prometheus, and what has changed since it was asked last."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._firing: frozenset[Alert] = frozenset()

    def changes(self) -> tuple[list[Alert], list[Alert]]:
        """Return which alerts have begun to fire since the last call, and which have ended.

        Raises:
            AlertsUnavailable: Prometheus does not answer.
        """
        try:
            answer = httpx.get(f"{self.url}/api/v1/alerts", timeout=10)
            answer.raise_for_status()
            found = answer.json()["data"]["alerts"]
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise AlertsUnavailable(f"Prometheus at {self.url} does not answer: {error}") from None
        now = frozenset(_alert(each) for each in found if each["state"] == "firing")
        began, ended = now - self._firing, self._firing - now
        self._firing = now
        return sorted(began, key=_order), sorted(ended, key=_order)


@contextmanager
def prometheus(home: Path, port: int, gateway: str, monitor: str) -> Iterator[Watch]:
    """Run a Prometheus while the block runs; yields what watches its alerts.

    Args:
        home: Folder of its data, made where it is missing.
        port: Of its own page and API, on the loopback.
        gateway: Host and port of the gateway's metrics.
        monitor: The same of the monitor's.

    Raises:
        AlertsUnavailable: It is not installed, or does not start.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise AlertsUnavailable("Prometheus is not installed (Debian: apt-get install prometheus)")
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    targets = {"gateway": gateway, "monitor": monitor}
    # JSON is YAML.
    config = home / "prometheus.json"
    config.write_text(json.dumps(configuration(targets), indent=1))
    url, log = f"http://127.0.0.1:{port}", home / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own words
            [
                program, f"--config.file={config}", f"--storage.tsdb.path={home / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=output, stderr=output,
        )  # fmt: skip
    try:
        _until_ready(process, url, config, log)
        yield Watch(url)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def configuration(targets: dict[str, str]) -> dict[str, Any]:
    """Return Prometheus's configuration: every rule, and these targets by the name of their job."""
    return {
        "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
        "rule_files": [str(path) for path in sorted(_RULES.glob("*.yml"))],
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": [target]}]}
            for name, target in targets.items()
        ],
    }


def _until_ready(process: "subprocess.Popen[bytes]", url: str, config: Path, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not _is_ours(url, config):
        if process.poll() is not None or time.monotonic() > deadline:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise AlertsUnavailable(f"Prometheus did not start: {' '.join(last)[-500:]}")
        time.sleep(0.1)


def _is_ours(url: str, config: Path) -> bool:
    """Return whether ours answers there: another one on that port would tell its own alerts."""
    try:
        flags = httpx.get(f"{url}/api/v1/status/flags", timeout=2).json()
        return bool(flags["data"]["config.file"] == str(config))
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return False


def _alert(found: dict[str, Any]) -> Alert:
    labels: dict[str, str] = dict(found["labels"])
    name, severity = labels.pop("alertname"), labels.pop("severity", "")
    notes: dict[str, str] = found.get("annotations", {})
    return Alert(
        name, tuple(sorted(labels.items())), severity, notes.get("summary", ""),
        notes.get("runbook_url", ""),
    )  # fmt: skip


def _order(alert: Alert) -> tuple[str, tuple[tuple[str, str], ...]]:
    return alert.name, alert.labels
