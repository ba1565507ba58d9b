"""A real Prometheus with the real rules in quicker time, and a real Alertmanager with its file.

An incident of hours must fit into a test: every duration of the rules is divided by the same
number, and nothing else about them is changed. What people hear is what Alertmanager does not hold
back.
"""

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from tests.gateway.running import ROOT, wait
from tests.installed import installed
from tests.monitoring.scraped import free_port, running

_ALERTMANAGER = ROOT / "monitoring" / "alertmanager" / "alertmanager.yml"
_RULES = ROOT / "monitoring" / "prometheus" / "rules"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RANGE = re.compile(r"(?<=\[)(\d+)([smhd])(?=\])")
_FOR = re.compile(r"(?<=\bfor: )(\d+)([smhd])$", re.MULTILINE)
# A machine that is busy with other tests holds things up for seconds, which stand for minutes here.
_BUSY = {"EventLoopBlocked"}


@dataclass(frozen=True)
class Alarms:
    """What may alarm: a Prometheus and an Alertmanager, at their URLs."""

    prometheus: str
    alertmanager: str
    quicker: int

    def fired(self) -> set[str]:
        """Return the alerts that have ever fired here."""
        query = 'count by (alertname) (last_over_time(ALERTS{alertstate="firing"}[1h]))'
        answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": query}).json()
        assert answer["status"] == "success", answer
        return {each["metric"]["alertname"] for each in answer["data"]["result"]} - _BUSY

    def told(self) -> set[str]:
        """Return the alerts that people are told of now."""
        kinds = {"active": "true", "inhibited": "false", "silenced": "false"}
        answer = httpx.get(f"{self.alertmanager}/api/v2/alerts", params=kinds)
        assert answer.status_code == 200, answer.text
        return {each["labels"]["alertname"] for each in answer.json()} - _BUSY

    def wait_until_told(self, only: str, within_s: float) -> float:
        """Wait until people are told of one alert and of no other; returns the seconds it took."""
        began = time.monotonic()
        while (told := self.told()) != {only}:
            took = time.monotonic() - began
            assert took < within_s, f"after {took:.0f} s {sorted(told)} are told, not {only} alone"
            time.sleep(0.1)
        return time.monotonic() - began

    def wait_until_quiet(self, within_s: float) -> None:
        """Wait until no alert is told any more."""
        wait(lambda: not self.told(), within_s)


def held_back_by(alert: str) -> set[str]:
    """Return the alerts that Alertmanager does not tell while this one fires."""
    names = {name for path in _RULES.glob("*.yml") for name in _alerts(path)}
    held: set[str] = set()
    for rule in yaml.safe_load(_ALERTMANAGER.read_text())["inhibit_rules"]:
        if any(_matches(matcher, alert) for matcher in rule["source_matchers"]):
            held |= {n for n in names if any(_matches(m, n) for m in rule["target_matchers"])}
    return held


def sped_up(rules: str, times: int) -> str:
    """Divide every duration of a file of rules, and evaluate them each second.

    Raises:
        ValueError: A duration would be less than two scrapes, with which no rate can be computed.
    """

    def shorter(found: re.Match[str], least: int) -> str:
        seconds = int(found[1]) * _SECONDS[found[2]] // times
        if seconds < least:
            raise ValueError(f"{found[0]} is {seconds} s when {times} times as fast")
        return f"{seconds}s"

    rules = _RANGE.sub(lambda found: shorter(found, 3), rules)
    rules = _FOR.sub(lambda found: shorter(found, 0), rules)
    return rules.replace("interval: 30s", "interval: 1s")


@contextlib.contextmanager
def alarms(home: Path, targets: dict[str, str], quicker: int) -> Iterator[Alarms]:
    """Run both over these targets, by the names of their jobs; `quicker` is how many times."""
    (home / "rules").mkdir(parents=True)
    for path in _RULES.glob("*.yml"):
        (home / "rules" / path.name).write_text(sped_up(path.read_text(), quicker))
    port, manager = free_port(), free_port()
    jobs = [
        {"job_name": name, "static_configs": [{"targets": [target]}]}
        for name, target in targets.items()
    ]
    managers = [{"static_configs": [{"targets": [f"127.0.0.1:{manager}"]}]}]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules/*.yml"],
        "alerting": {"alertmanagers": managers},
        "scrape_configs": jobs,
    }
    (home / "prometheus.yml").write_text(yaml.safe_dump(config))
    made = Alarms(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{manager}", quicker)
    commands = {
        "alertmanager": [
            installed("prometheus-alertmanager", "prometheus-alertmanager"),
            f"--config.file={_ALERTMANAGER}",
            f"--storage.path={home / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{manager}",
            "--cluster.listen-address=",
        ],
        "prometheus": [
            installed("prometheus", "prometheus"),
            f"--config.file={home / 'prometheus.yml'}",
            f"--storage.tsdb.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
    }
    with contextlib.ExitStack() as stack:
        for name, command in commands.items():
            ready = f"{getattr(made, name)}/-/ready"
            stack.enter_context(running(command, home / f"{name}.log", ready))
        yield made


def _alerts(path: Path) -> list[str]:
    groups = yaml.safe_load(path.read_text())["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule]


def _matches(matcher: str, alert: str) -> bool:
    found = re.fullmatch(r'alertname=~?"(.+)"', matcher)
    return found is not None and re.fullmatch(found[1], alert) is not None
