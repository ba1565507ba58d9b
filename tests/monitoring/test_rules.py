"""Prometheus' rules: every alert is tried by promtool, asks for metrics that exist, and arrives."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.installed import installed

_ROOT = Path(__file__).parents[2]
_FOLDER = _ROOT / "monitoring" / "prometheus"
_ALERTMANAGER = _ROOT / "monitoring" / "alertmanager" / "alertmanager.yml"
_METRIC = re.compile(r"\b(driftgate_[a-z_]+|gen_ai_(?:client|server)_[a-z_]+)\b")
_FILES = sorted((_FOLDER / "rules").glob("*.yml"))


@pytest.fixture(scope="module")
def promtool() -> str:
    return installed("promtool", "prometheus")


@pytest.fixture(scope="module")
def amtool() -> str:
    return installed("amtool", "prometheus-alertmanager")


def _rules_of(path: Path) -> list[dict[str, Any]]:
    groups = yaml.safe_load(path.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _rules() -> list[dict[str, Any]]:
    return [rule for path in _FILES for rule in _rules_of(path)]


def _alerts() -> dict[str, dict[str, str]]:
    """Return the labels of each alert, by its name."""
    return {rule["alert"]: rule["labels"] for rule in _rules() if "alert" in rule}


@pytest.mark.services
def test_the_configuration_is_accepted(promtool: str) -> None:
    done = subprocess.run(
        [promtool, "check", "config", str(_FOLDER / "prometheus.yml")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for path in _FILES:
        assert f"{path.name}\n  SUCCESS: {len(_rules_of(path))} rules found" in done.stdout


@pytest.mark.services
def test_each_incident_raises_its_own_alerts_and_no_others(promtool: str) -> None:
    cases = [str(path) for path in sorted((_FOLDER / "tests").glob("*.yml"))]
    assert cases
    done = subprocess.run([promtool, "test", "rules", *cases], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_every_alert_of_a_file_is_tried_in_every_case(path: Path) -> None:
    alerts = {rule["alert"] for rule in _rules_of(path) if "alert" in rule}
    tests = yaml.safe_load((_FOLDER / "tests" / path.name).read_text())
    assert tests["rule_files"] == [f"../rules/{path.name}"]
    fired: set[str] = set()
    for case in tests["tests"]:
        tried = [test["alertname"] for test in case["alert_rule_test"]]
        assert sorted(tried) == sorted(alerts), case["name"]
        fired |= {t["alertname"] for t in case["alert_rule_test"] if t["exp_alerts"]}
    assert fired == alerts
    quiet = [c for c in tests["tests"] if not any(t["exp_alerts"] for t in c["alert_rule_test"])]
    assert quiet


def test_every_file_of_cases_has_its_rules_and_no_alert_has_two() -> None:
    assert {path.name for path in (_FOLDER / "tests").iterdir()} == {path.name for path in _FILES}
    names = [rule["alert"] for rule in _rules() if "alert" in rule]
    assert len(set(names)) == len(names)


def test_the_metrics_exist() -> None:
    sources = [*(_ROOT / "gateway").glob("*metrics.py"), *(_ROOT / "monitoring").glob("*.py")]
    source = "".join(path.read_text() for path in sources)
    known = set(_METRIC.findall(source))
    # The collector writes the common beginning of its names once.
    made = re.findall(r'made\.(?:gauge|counter)\(\s*"([a-z_]+)"', source)
    known |= {f"driftgate_monitor_{name}" for name in made}
    for rule in _rules():
        for name in _METRIC.findall(rule["expr"]):
            base = re.sub(r"_(total|bucket|count|sum)$", "", name)
            assert base in known or name in known, name


def test_alerts_say_how_urgent_they_are_and_what_to_do() -> None:
    for rule in _rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
            assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, rule[
                "alert"
            ]
            url = f"docs/runbook.md#{rule['alert'].lower()}"
            assert rule["annotations"]["runbook_url"] == url


@pytest.mark.services
def test_alertmanagers_configuration_is_accepted(amtool: str) -> None:
    done = subprocess.run(
        [amtool, "check-config", str(_ALERTMANAGER)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.services
@pytest.mark.parametrize("labels", {str(labels): labels for labels in _alerts().values()}.values())
def test_each_kind_of_alert_goes_where_it_belongs(amtool: str, labels: dict[str, str]) -> None:
    given = [f"{label}={value}" for label, value in {"alertname": "Any", **labels}.items()]
    done = subprocess.run(
        [amtool, "config", "routes", "test", f"--config.file={_ALERTMANAGER}", *given],
        capture_output=True,
        text=True,
    )
    people = {"page": "people-now", "ticket": "people-this-week"}[labels["severity"]]
    wanted = ["retraining", people] if labels.get("action") == "retrain" else [people]
    assert done.stdout.strip().split(",") == wanted, done.stderr


def test_what_is_inhibited_are_alerts_that_there_are() -> None:
    alerts = _alerts()
    config = yaml.safe_load(_ALERTMANAGER.read_text())
    for rule in config["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            found = re.fullmatch(r'alertname=~?"(.+)"', matcher)
            assert found is not None, matcher
            for name in found[1].split("|"):
                assert any(re.fullmatch(name, alert) for alert in alerts), name


def test_only_a_degraded_model_asks_for_a_retraining() -> None:
    asking = {name for name, labels in _alerts().items() if labels.get("action") == "retrain"}
    assert asking == {"ModelDegraded"}
