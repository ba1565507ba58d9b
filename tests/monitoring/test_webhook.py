"""Alerts of Alertmanager open requests to retrain: each once, and only the right ones."""

import http.client
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.store.database import Database
from gateway.store.releases import Releases, Target
from gateway.store.retraining import OPEN, Retraining
from monitoring.exporter import Exporter
from tests.monitoring.watched import register, watched


@pytest.fixture
def database(empty_store: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(empty_store, tmp_path / "x.db")
    opened = Database(f"sqlite:///{tmp_path / 'x.db'}")
    watched(opened, health="DEGRADED")
    yield opened
    opened.close()


@pytest.fixture
def exporter(database: Database) -> Iterator[Exporter]:
    made = Exporter(database, port=0, token="hush")
    made.start()
    yield made
    made.close()


def _alert(**fields: Any) -> dict[str, Any]:
    labels = {"alertname": "ModelDegraded", "alias": "production", "severity": "page"}
    return {
        "status": "firing",
        "labels": labels | fields.pop("labels", {}),
        "annotations": {"summary": "production: answers got worse", "description": "d"},
        "startsAt": "2026-11-28T04:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": "c1bbb92e9dfee5f3",
        **fields,
    }


def _body(*alerts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing",
        "receiver": "retraining", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093", "alerts": list(alerts), **fields,
    }  # fmt: skip


def _post(exporter: Exporter, body: object, token: str | None = "hush") -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    return httpx.post(f"{exporter.url}/alertmanager", content=content, headers=headers)


def test_a_degraded_model_asks_for_a_retraining_once(
    database: Database, exporter: Exporter
) -> None:
    first = _post(exporter, _body(_alert()))
    assert first.status_code == 200
    (request,) = Retraining(database).all()
    assert first.json() == {"opened": [request.id], "known": [], "ignored": 0}
    assert (request.alias, request.release) == ("production", "production-1")
    assert (request.source, request.status) == ("alert", OPEN)
    assert request.reason == "production: answers got worse"
    assert request.evidence["since"] == "2026-11-28T04:00:00Z"
    assert request.evidence["signals"]["probes"] == 1.5
    again = _post(exporter, _body(_alert(), _alert(fingerprint="another")))
    assert again.json() == {"opened": [], "known": [request.id] * 2, "ignored": 0}
    assert len(Retraining(database).all()) == 1


def test_an_alert_that_goes_on_does_not_ask_again_after_the_retraining(
    database: Database, exporter: Exporter
) -> None:
    (id,) = _post(exporter, _body(_alert())).json()["opened"]
    Retraining(database).close(id)
    assert _post(exporter, _body(_alert())).json()["known"] == [id]
    later = _post(exporter, _body(_alert(startsAt="2026-11-29T04:00:00Z")))
    assert len(later.json()["opened"]) == 1


def test_only_alerts_that_fire_and_ask_are_heard(database: Database, exporter: Exporter) -> None:
    answer = _post(
        exporter,
        _body(_alert(status="resolved"), _alert(labels={"alertname": "DriftWarn"}), _alert()),
    )
    assert answer.json()["ignored"] == 2
    assert len(answer.json()["opened"]) == 1
    assert _post(exporter, _body()).json() == {"opened": [], "known": [], "ignored": 0}


def test_an_alert_of_ones_own_asks_by_its_label(database: Database, exporter: Exporter) -> None:
    alert = _alert(labels={"alertname": "TooManyComplaints", "action": "retrain"}, annotations={})
    assert len(_post(exporter, _body(alert)).json()["opened"]) == 1
    (request,) = Retraining(database).all()
    assert request.reason == "TooManyComplaints"


def test_the_release_is_the_one_named_or_the_one_with_most_traffic(
    database: Database, exporter: Exporter
) -> None:
    for release in ("canary-1", "shadow-1"):
        register(database, release)
    targets = [
        Target("canary-1", 0.05, "live"), Target("production-1", 0.95, "live"),
        Target("shadow-1", 1.0, "shadow"),
    ]  # fmt: skip
    Releases(database).point("production", targets)
    _post(exporter, _body(_alert()))
    (request,) = Retraining(database).all()
    assert request.release == "production-1"
    Retraining(database).close(request.id)
    _post(exporter, _body(_alert(labels={"release": "canary-1"}, fingerprint="another")))
    assert Retraining(database).all(status=OPEN)[0].release == "canary-1"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"\xff", "body"),
        ([], "body"),
        ({}, "body"),
        (_body(version="3"), "version"),
        (_body(alerts={}), "alerts"),
        (_body(_alert(status="pending")), "alerts[0].status"),
        (_body(_alert(), _alert(labels={"alias": 7})), "alerts[1].labels[...]"),
        (_body({"status": "firing"}), "alerts[0]"),
        (_body(_alert(labels={"alias": ""})), "alerts[0].labels.alias"),
        (_body(_alert(labels={"alias": "unknown"})), "alerts[0].labels.alias"),
        (_body(_alert(labels={"release": "unknown"})), "alerts[0].labels.release"),
    ],
)
def test_a_wrong_body_is_refused_with_its_field_and_opens_nothing(
    database: Database, exporter: Exporter, body: object, field: str
) -> None:
    answer = _post(exporter, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field
    assert answer.json()["error"]["message"]
    assert Retraining(database).all() == []


@pytest.mark.parametrize("token", [None, "-", "hus", "hushh", "HUSH"])
def test_without_the_token_nothing_is_heard(
    database: Database, exporter: Exporter, token: str | None
) -> None:
    assert _post(exporter, _body(_alert()), token).status_code == 401
    assert Retraining(database).all() == []


def test_a_monitor_without_a_token_has_no_webhook(database: Database) -> None:
    exporter = Exporter(database, port=0)
    exporter.start()
    answer = _post(exporter, _body(_alert()), "hush")
    assert answer.status_code == 403
    assert "DRIFTGATE_MONITOR_TOKEN_FILE" in answer.text
    exporter.close()


def test_a_body_is_bounded_and_says_its_length(exporter: Exporter) -> None:
    headers = {"authorization": "Bearer hush"}
    url = f"{exporter.url}/alertmanager"
    connection = http.client.HTTPConnection(exporter.url.removeprefix("http://"), timeout=10)
    connection.request("POST", "/alertmanager", headers={**headers, "content-length": "2000000"})
    large = connection.getresponse()
    assert large.status == 413
    assert json.loads(large.read())["error"]["field"] == "content-length"
    connection.close()
    chunked = httpx.post(url, headers=headers, content=iter([b"{}"]))
    assert chunked.status_code == 411


def test_a_store_that_is_away_is_worth_another_try(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")  # no schema
    exporter = Exporter(database, port=0, token="hush")
    exporter.start()
    assert _post(exporter, _body(_alert())).status_code == 503
    exporter.close()
    database.close()
