"""Every query of a dashboard and every rule is asked of a real Prometheus over the real thing.

What is expected to have no data stands in `_EMPTY` with its reason; there is nothing in it that has
some. Of an alert, besides, what it compares must be there: else it could never fire.
"""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.store.monitoring import Monitoring
from gateway.store.retraining import OPEN, Retraining
from tests.gateway.running import ROOT, wait
from tests.installed import installed
from tests.monitoring.scraped import TOKEN, Scene, free_port, running, scene
from tests.monitoring.watched import signals

pytestmark = pytest.mark.services

_WITHIN_S = 90.0
_FINE = "nothing of the kind is wrong"
_STUB = "the stub engine shows only what runs; tests/e2e/test_engine_metrics.py asks a real one"
# A query's name, as `_queries` gives it, and why it has no data.
_EMPTY = {
    "serving / Load / B": _STUB,
    "serving / Load / C": _STUB,
    "serving / Retrieval / B": "no search fails",
    'RolloutRolledBack / driftgate_rollout_info{status="rolled_back"}': "the rollout goes on",
    'RolloutWaiting / driftgate_rollout_info{status="waiting"}': "the rollout goes on",
    "RolloutRolledBack / driftgate_rollout_finished_timestamp_seconds": "the rollout goes on",
    "RetrievalFailing / driftgate_retrieval_failures_total": "no search fails",
    "RetrievalHarms / driftgate_retrieval_switched_off": "no topic was measured yet",
    **{
        f"rule / {alert}": _FINE
        for alert in (
            "CollectionUnusable", "FirstTokenLateFast", "FirstTokenLateSlow", "IndexCorrupt",
            "ModelDegraded", "MonitorFailing", "MonitorStale", "MonitorStoreAway", "NoEngineReady",
            "ProbeScoreLow", "RecordsDropped", "ReferenceMissing", "RetrievalFailing",
            "RetrievalHarms", "RolloutRolledBack", "RolloutWaiting", "StoreAway",
        )
    },
}  # fmt: skip
# Nothing is wrong; but a machine that is busy with other tests may hold things up for a second.
_EITHER = {"rule / EventLoopBlocked", "rule / GatewayDown", "rule / RetrievalServiceDown"}
_VARIABLES = {
    "$__rate_interval": "15s", "$__range": "5m", "$alias": ".*", "$release": ".*", "$key": ".*",
    "$price_in": "2", "$price_out": "3",
}  # fmt: skip
_SERIES = re.compile(
    r"\b((?:driftgate_\w+|gen_ai_(?:server|client)_\w+|alias(?:_release)?:[\w:]+)(?:\{[^}]*\})?"
    r"|up\{[^}]*\})"
)


@pytest.fixture(scope="module")
def alertmanager_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def watching(tmp_path_factory: pytest.TempPathFactory, alertmanager_port: int) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("scraped"), alertmanager_port) as made:
        yield made


def _queries() -> dict[str, str]:
    """Return each query of the dashboards and of the rules, by its name."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "grafana" / "dashboards").glob("*.json")):
        board: dict[str, Any] = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                found[f"{path.stem} / {panel['title']} / {target['refId']}"] = target["expr"]
        for mark in board["annotations"]["list"]:
            found[f"{path.stem} / mark / {mark['name']}"] = mark["expr"]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                series = re.fullmatch(r"label_values\((.+), \w+\)", variable["query"])
                assert series is not None, variable["query"]
                found[f"{path.stem} / variable / {variable['name']}"] = series[1]
    for path in sorted((ROOT / "monitoring" / "prometheus" / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                found[f"rule / {rule.get('record') or rule['alert']}"] = rule["expr"]
                for series_of in _SERIES.findall(rule["expr"]) if "alert" in rule else ():
                    found[f"{rule['alert']} / {series_of}"] = series_of
    return {name: _substituted(expression) for name, expression in found.items()}


def _substituted(expression: str) -> str:
    for variable, value in _VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression.replace('"$1"', ""), expression
    return expression


def test_every_query_has_data_or_a_reason_to_have_none(watching: Scene) -> None:
    queries = _queries()
    assert _EMPTY.keys() | _EITHER <= queries.keys()
    for name in _EITHER:
        watching.ask(queries[name])  # it is a query, at least
    waiting = {n: expr for n, expr in queries.items() if n not in _EMPTY.keys() | _EITHER}
    deadline = time.monotonic() + _WITHIN_S
    while waiting and time.monotonic() < deadline:
        watching.exporter.cycle_ended(0.2)
        waiting = {name: expr for name, expr in waiting.items() if not watching.ask(expr)}
        time.sleep(0.3)
    assert list(waiting) == []
    assert [name for name in _EMPTY if watching.ask(queries[name])] == []


def test_a_model_that_got_worse_asks_for_a_retraining(
    watching: Scene, alertmanager_port: int, tmp_path: Path
) -> None:
    program = installed("prometheus-alertmanager", "prometheus-alertmanager")
    (tmp_path / "token").write_text(TOKEN)
    text = (ROOT / "monitoring" / "alertmanager" / "alertmanager.yml").read_text()
    for ours, here in (
        ("http://monitor:9465", watching.exporter.url),
        ("/run/secrets/monitor_token", str(tmp_path / "token")),
    ):
        assert text.count(ours) == 1
        text = text.replace(ours, here)
    (tmp_path / "alertmanager.yml").write_text(text)
    url = f"http://127.0.0.1:{alertmanager_port}"
    command = [
        program,
        f"--config.file={tmp_path / 'alertmanager.yml'}",
        f"--storage.path={tmp_path / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        "--cluster.listen-address=",
    ]
    requests, monitoring = Retraining(watching.database), Monitoring(watching.database)
    assert requests.all() == []
    with running(command, tmp_path / "log", f"{url}/-/ready"):
        state = monitoring.state("production", "production-1")
        assert state is not None
        worse = signals()
        worse["ungrounded"]["evidence"] = 250.0
        state.signals.update(worse)
        monitoring.write(state)
        wait(lambda: bool(requests.all()), 30)
        (request,) = requests.all()
    assert (request.alias, request.release) == ("production", "production-1")
    assert (request.source, request.status) == ("alert", OPEN)
    assert request.evidence["labels"]["alertname"] == "ModelDegraded"
    assert request.evidence["signals"]["ungrounded"] == 250.0
