"""What the monitor's exporter shows of a store, and what it keeps to itself."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from gateway.store.database import Database
from gateway.store.jobs import FAILED, SUCCEEDED
from gateway.store.monitoring import Monitoring
from gateway.store.releases import Releases, Target
from gateway.store.rollouts import ROLLED_BACK, Rollout, Rollouts, rollout_id
from monitoring.collector import StoreCollector
from monitoring.exporter import Exporter
from tests.installed import installed
from tests.monitoring.watched import (
    DRIFT,
    HARM,
    asked,
    job,
    limited_key,
    register,
    signals,
    state,
    watched,
)

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def database(empty_store: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(empty_store, tmp_path / "x.db")
    opened = Database(f"sqlite:///{tmp_path / 'x.db'}")
    yield opened
    opened.close()


@pytest.fixture
def exporter(database: Database, tmp_path: Path) -> Iterator[Exporter]:
    made = Exporter(database, port=0, reports=tmp_path / "reports")
    made.start()
    yield made
    made.close()


def _series(exporter: Exporter) -> Series:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(httpx.get(f"{exporter.url}/metrics").text)
        for sample in family.samples
    }


def _value(series: Series, metric: str, **labels: str) -> float | None:
    return series.get((f"driftgate_{metric}", frozenset(labels.items())))


def test_a_watched_release_is_shown_with_all_its_evidence(
    database: Database, exporter: Exporter
) -> None:
    watched(database)
    series = _series(exporter)
    of = {"alias": "production", "release": "production-1"}
    assert _value(series, "monitor_store_up") == 1
    for name in DRIFT:
        assert _value(series, "monitor_drift_evidence", **of, signal=name) == 3.2
    for name in HARM:
        assert _value(series, "monitor_harm_evidence", **of, signal=name) == 1.5
        assert _value(series, "monitor_loss", **of, signal=name) == 0.1
        assert _value(series, "monitor_loss_limit", **of, signal=name) == 0.15
    assert _value(series, "monitor_drift_threshold", **of) == 43_200
    assert _value(series, "monitor_harm_threshold", **of) == 100
    assert _value(series, "monitor_harm_believed", **of) == 0
    assert _value(series, "monitor_probe_score", **of) == 0.9
    assert _value(series, "monitor_reference_rows", **of) == 2000
    assert _value(series, "monitor_reference_needed", **of) == 2000
    assert _value(series, "monitor_windows_total", **of) == 40
    assert _value(series, "monitor_requests_total", **of) == 2000
    assert _value(series, "monitor_requests_left_out_total", **of) == 35
    last = _value(series, "monitor_last_window_timestamp_seconds", **of)
    assert last == pytest.approx(time.time() - 30, abs=20)
    assert _value(series, "monitor_descriptor", **of, descriptor="words") == 14
    assert _value(series, "monitor_descriptor_reference", **of, descriptor="words") == 11.5
    assert _value(series, "monitor_descriptor", **of, descriptor="json") is None
    assert _value(series, "monitor_topic_share", **of, topic="lost cards") == 0.2
    assert _value(series, "monitor_topic_reference_share", **of, topic="lost cards") == 0.05
    assert _value(series, "alias_weight", **of, mode="live") == 1
    changed = _value(series, "alias_changed_timestamp_seconds", alias="production")
    assert changed == pytest.approx(time.time(), abs=20)


def test_an_alias_is_in_one_of_five_states(database: Database, exporter: Exporter) -> None:
    watched(database, health="WARN")
    register(database, "other-1")
    Releases(database).point("never judged", [Target("other-1", 1.0, "live")])
    series = _series(exporter)
    for alias, is_in in (("production", "WARN"), ("never judged", "HEALTHY")):
        found = {
            name: _value(series, "monitor_alias_health", alias=alias, state=name)
            for name in ("HEALTHY", "WARN", "DEGRADED", "RETRAINING", "CANARY")
        }
        assert found == {name: float(name == is_in) for name in found}


def test_a_release_that_was_replaced_alarms_no_more(database: Database, exporter: Exporter) -> None:
    watched(database, release="old-1", signals=signals(harm=5000.0))
    watched(database, release="new-1")
    shown = {
        dict(labels)["release"]: value
        for (name, labels), value in _series(exporter).items()
        if name == "driftgate_monitor_harm_evidence" and dict(labels)["signal"] == "probes"
    }
    assert shown == {"new-1": 1.5}


def test_a_release_that_is_asked_for_by_its_own_name_is_shown(
    database: Database, exporter: Exporter
) -> None:
    Monitoring(database).write(state("m-1", "m-1"))
    series = _series(exporter)
    assert _value(series, "monitor_windows_total", alias="m-1", release="m-1") == 40


def test_the_largest_topics_are_shown_and_each_under_a_name_of_its_own(
    database: Database, exporter: Exporter
) -> None:
    topic = {"label": "fees", "reference_share": 0.0, "loss": None, "examples": []}
    topics = [{**topic, "id": f"t{n}", "share": n / 100} for n in range(80)]
    watched(database, topics=topics)
    shares = {
        dict(labels)["topic"]: value
        for (name, labels), value in _series(exporter).items()
        if name == "driftgate_monitor_topic_share"
    }
    assert len(shares) == 50
    assert min(shares.values()) == 0.3
    assert shares["fees"] == 0.79
    assert shares["fees (t78)"] == 0.78


def test_jobs_are_counted_in_every_state(database: Database, exporter: Exporter) -> None:
    for status in (FAILED, FAILED, SUCCEEDED):
        job(database, status)
    series = _series(exporter)
    assert _value(series, "training_jobs", status="failed") == 2
    assert _value(series, "training_jobs", status="succeeded") == 1
    assert _value(series, "training_jobs", status="queued") == 0


def test_the_newest_rollout_of_each_alias_is_shown(database: Database, exporter: Exporter) -> None:
    rollouts = Rollouts(database)
    for candidate in ("m-2", "m-3"):
        made = rollouts.add(Rollout(rollout_id(), "production", candidate, "m-1", {}))
        rollouts.write(made.id, status=ROLLED_BACK, stage="shadow")
    rollouts.add(Rollout(rollout_id(), "other", "m-2", "m-1", {}))
    series = _series(exporter)
    last = {"alias": "production", "candidate": "m-3", "stage": "shadow"}
    assert _value(series, "rollout_info", **last, status="rolled_back") == 1
    going = {"alias": "other", "candidate": "m-2", "stage": "start"}
    assert _value(series, "rollout_info", **going, status="running") == 1
    assert sum(name == "driftgate_rollout_info" for name, _ in series) == 2
    ended = _value(series, "rollout_finished_timestamp_seconds", alias="production")
    assert ended is not None
    assert 0 <= time.time() - ended < 60
    assert _value(series, "rollout_finished_timestamp_seconds", alias="other") is None


def test_budgets_show_what_is_used_of_them(database: Database, exporter: Exporter) -> None:
    key = limited_key(database, day=910, month=455)
    series = _series(exporter)
    of = {"key": key.prefix, "name": "web shop"}
    assert _value(series, "key_budget_used_ratio", **of, budget="day") == 0.91
    assert _value(series, "key_budget_used_ratio", **of, budget="month") == 0.455
    assert key.digest.hex() not in httpx.get(f"{exporter.url}/metrics").text


def test_where_the_ledger_is_elsewhere_no_budget_is_shown(database: Database) -> None:
    limited_key(database, day=1, month=1)
    names = {family.name for family in StoreCollector(database, budgets=False).collect()}
    assert "driftgate_key_tokens" in names
    assert "driftgate_key_budget_used_ratio" not in names


def _use(collector: StoreCollector) -> dict[str, tuple[float, ...]]:
    registry = CollectorRegistry()
    registry.register(collector)
    found = {}
    for key, name in (("0123abcd", "web shop"), ("none", "")):
        of = {"key": key, "name": name}
        values = (
            registry.get_sample_value("driftgate_key_requests_total", of),
            registry.get_sample_value("driftgate_key_tokens_total", {**of, "type": "input"}),
            registry.get_sample_value("driftgate_key_tokens_total", {**of, "type": "output"}),
        )
        found[key] = tuple(value for value in values if value is not None)
    return found


def test_each_request_of_a_key_is_counted_once_however_late(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 10_000.0
    collector = StoreCollector(database, clock=lambda: now)
    monkeypatch.setattr(
        collector._overview, "key_names", lambda: {"0123abcd": "web shop"}
    )  # a key's prefix is drawn by chance
    asked(database, "before the start", 9_999.0, "0123abcd")
    assert _use(collector) == {"0123abcd": (0, 0, 0), "none": ()}
    asked(database, "a", 10_010.0, "0123abcd")
    asked(database, "b", 10_020.0, None)
    assert _use(collector)["0123abcd"] == (0, 0, 0)  # read at most twice a minute
    now = 10_100.0
    assert _use(collector) == {"0123abcd": (1, 10, 20), "none": (1, 10, 20)}
    asked(database, "late", 10_005.0, "0123abcd", tokens=1)
    for _ in range(5):
        now += 100.0
        assert _use(collector)["0123abcd"] == (2, 11, 22)


def test_counts_do_not_fall_when_a_record_is_deleted(database: Database) -> None:
    from gateway.store.traffic import Traffic

    now = 10_000.0
    collector = StoreCollector(database, clock=lambda: now)
    asked(database, "a", 10_010.0, None)
    now = 10_100.0
    assert _use(collector)["none"] == (1, 10, 20)
    Traffic(database).delete("a")
    now = 10_140.0
    assert _use(collector)["none"] == (1, 10, 20)


def test_a_store_that_is_away_is_said_and_the_rest_goes_on(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'empty.db'}")  # no schema
    exporter = Exporter(database, port=0)
    exporter.start()
    exporter.cycle_failed()
    series = _series(exporter)
    assert _value(series, "monitor_store_up") == 0
    assert _value(series, "monitor_cycles_failed_total") == 1
    assert not any(name.startswith("driftgate_alias") for name, _ in series)
    database.migrate()
    assert _value(_series(exporter), "monitor_store_up") == 1
    exporter.close()
    database.close()


def test_cycles_are_told_once_there_was_one(exporter: Exporter) -> None:
    series = _series(exporter)
    assert _value(series, "monitor_last_cycle_timestamp_seconds") is None
    assert _value(series, "monitor_cycles_failed_total") == 0
    exporter.cycle_ended(0.25)
    series = _series(exporter)
    at = _value(series, "monitor_last_cycle_timestamp_seconds")
    assert at == pytest.approx(time.time(), abs=20)
    assert _value(series, "monitor_cycle_seconds") == 0.25
    assert ("process_cpu_seconds_total", frozenset[tuple[str, str]]()) in series


@pytest.mark.services
def test_promtool_accepts_the_exposition(database: Database, exporter: Exporter) -> None:
    promtool = installed("promtool", "prometheus")
    watched(database)
    limited_key(database, 1, 1)
    exporter.cycle_ended(0.1)
    text = httpx.get(f"{exporter.url}/metrics").text
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True
    )
    remarks = done.stdout + done.stderr
    assert "error while linting" not in remarks, remarks
    assert not re.search(r"^driftgate_\S+ ", remarks, re.MULTILINE), remarks


def test_who_dawdles_keeps_no_place_and_there_are_few(exporter: Exporter) -> None:
    port = int(exporter.url.rpartition(":")[2])
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(16)]
    try:
        deadline = time.monotonic() + 5
        while True:
            try:
                refused = httpx.get(f"{exporter.url}/metrics").status_code
            except httpx.TransportError:  # closed before the request was read
                refused = 503
            if refused == 503 or time.monotonic() > deadline:
                break
        assert refused == 503
    finally:
        for connection in silent:
            connection.close()
    deadline = time.monotonic() + 5
    answered = False
    while not answered and time.monotonic() < deadline:
        try:
            answered = httpx.get(f"{exporter.url}/metrics").status_code == 200
        except httpx.TransportError:
            time.sleep(0.02)
    assert answered


def test_an_address_that_is_taken_is_an_error(database: Database, exporter: Exporter) -> None:
    port = int(exporter.url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        Exporter(database, port=port).start()
