"""Prometheus' rules: every alert is tried by promtool, and asks for metrics that exist."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

_ROOT = Path(__file__).parents[2]
_FOLDER = _ROOT / "monitoring" / "prometheus"
_METRIC = re.compile(r"\b(driftgate_[a-z_]+|gen_ai_(?:client|server)_[a-z_]+)\b")


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        reason = "Prometheus is not installed (Debian: apt-get install prometheus)"
        if "CI" in os.environ:
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def _rules() -> list[dict[str, Any]]:
    return [
        rule
        for path in sorted((_FOLDER / "rules").glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


@pytest.mark.services
def test_the_configuration_is_accepted(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "config", str(_FOLDER / "prometheus.yml")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(_rules())} rules found" in done.stdout


@pytest.mark.services
def test_each_incident_raises_its_own_alerts_and_no_others(promtool: str) -> None:
    cases = [str(path) for path in sorted((_FOLDER / "tests").glob("*.yml"))]
    assert cases
    done = subprocess.run([promtool, "test", "rules", *cases], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried_in_every_case() -> None:
    alerts = {rule["alert"] for rule in _rules() if "alert" in rule}
    fired: set[str] = set()
    for path in (_FOLDER / "tests").glob("*.yml"):
        for case in yaml.safe_load(path.read_text())["tests"]:
            tried = {test["alertname"] for test in case["alert_rule_test"]}
            assert tried == alerts, case["name"]
            fired |= {t["alertname"] for t in case["alert_rule_test"] if t["exp_alerts"]}
    assert fired == alerts


def test_the_metrics_exist() -> None:
    source = "".join(path.read_text() for path in (_ROOT / "gateway").glob("*metrics.py"))
    known = set(_METRIC.findall(source))
    for rule in _rules():
        for name in _METRIC.findall(rule["expr"]):
            base = re.sub(r"_(total|bucket|count|sum)$", "", name)
            assert base in known or name in known, name


def test_alerts_say_how_urgent_they_are_and_what_to_do() -> None:
    for rule in _rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
            assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
