"""`driftgate loop` and `driftgate retrain`, on a store of their own."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.store.database import Database
from gateway.store.health import Healths
from gateway.store.loops import Loops
from gateway.store.releases import Release, Releases, Target
from gateway.store.retraining import Retraining
from training.commands.loop import app as loop
from training.commands.retrain import app as retrain
from training.loop import Replay


@pytest.fixture
def database(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "PORT", "WORKER_GATEWAY_URL", "MONITOR_PROBES_DIR"):
        monkeypatch.delenv(f"DRIFTGATE_{name}", raising=False)
    monkeypatch.setenv("DRIFTGATE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "driftgate.db").write_bytes(empty_store.read_bytes())
    opened = Database(f"sqlite:///{tmp_path / 'driftgate.db'}")
    releases = Releases(opened)
    releases.register(Release("m-1", "m", "r", "", {}, 1.0))
    releases.point("production", [Target("m-1", 1.0, "live")])
    yield opened
    opened.close()


def ran(app: object, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))  # type: ignore[arg-type]
    return done.exit_code, done.output


def test_settings_are_set_shown_and_forgotten(database: Database) -> None:
    status, told = ran(
        loop, "set", "production", "approval=auto", "least_rows=7", "schedule=0 3 * * 0",
        "sources=[act, schedule]", "gates.capability=true", "rollout.warm_s=5.0",
    )  # fmt: skip
    assert (status, told) == (0, "`production` is retrained by: act, schedule, and people.\n")
    assert ran(loop, "set", "production", "margins.old=0.1", "gates.latency_p95_s=2.0")[0] == 0
    stored = Loops(database).get("production")
    assert stored is not None
    assert stored.fields == {
        "approval": "auto", "least_rows": 7, "schedule": "0 3 * * 0",
        "sources": ["act", "schedule"], "gates": {"capability": True, "latency_p95_s": 2.0},
        "rollout": {"warm_s": 5.0}, "margins": {"old": 0.1},
    }  # fmt: skip
    status, told = ran(loop, "show", "production", "--json")
    shown = json.loads(told)
    assert status == 0
    assert shown["settings"]["gates"]["capability"] is True
    assert shown["health"] == "HEALTHY"
    assert shown["next_due"] > 1e9
    assert "production" in ran(loop, "show")[1]
    assert ran(loop, "unset", "production")[0] == 0
    assert Loops(database).all() == []
    assert ran(loop, "unset", "production") == (2, "'production' has no loop.\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["production", "aproval=auto"], "`aproval`: there is no such setting of a loop"),
        (["production", "least_rows=many"], "`least_rows`: Input should be a valid integer"),
        (["production", "rollout.shares=[0.9, 0.1]"], "`rollout`: `shares`"),
        (["production", "approval"], "'approval' is not NAME=VALUE"),
        (["staging", "approval=auto"], "There is no alias 'staging'; there are: production."),
        (["production", "--file", "none.yaml"], "none.yaml cannot be read"),
        (["production", "--file", "bad.yaml"], "bad.yaml: `wrong`: there is no such setting"),
        (["production", "--file", "list.yaml"], "list.yaml: a loop is a mapping"),
        (["production", "--file", "broken.yaml"], "broken.yaml is no YAML"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_set(
    database: Database, tmp_path: Path, arguments: list[str], told: str
) -> None:
    (tmp_path / "bad.yaml").write_text("wrong: 1\n")
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "broken.yaml").write_text("a: [\n")
    status, output = ran(loop, "set", *arguments)
    assert status == 2
    assert told in output
    assert Loops(database).all() == []


def test_a_file_takes_the_place_of_what_was_set(database: Database, tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").write_text("approval: auto\nsources: [act]\n")
    assert ran(loop, "set", "production", "least_rows=7")[0] == 0
    assert ran(loop, "set", "production", "--file", "loop.yaml", "cool_down_s=5.0")[0] == 0
    stored = Loops(database).get("production")
    assert stored is not None
    assert stored.fields == {"approval": "auto", "sources": ["act"], "cool_down_s": 5.0}


def test_a_request_is_made_once_and_shown(database: Database) -> None:
    status, told = ran(retrain, "production", "--reason", "new [prices]")
    assert status == 0
    (request,) = Retraining(database).all("production")
    assert (request.source, request.reason, request.release) == ("person", "new [prices]", "m-1")
    assert told.startswith(request.id)
    assert "asked for before" in ran(retrain, "production")[1]
    assert len(Retraining(database).all("production")) == 1
    assert "new [prices]" in ran(loop, "show", "production")[1]
    assert ran(retrain, "staging") == (
        2, "There is no alias 'staging'; there are: production.\n",
    )  # fmt: skip


def test_a_person_does_not_wait_where_an_alert_would(database: Database) -> None:
    requests = Retraining(database)
    alert, _ = requests.open("production", "m-1", "alert!", "alert", {})
    assert "has no loop" in ran(loop, "show", "production")[1]
    assert ran(retrain, "production")[0] == 0
    found = requests.get(alert.id)
    assert found is not None
    assert (found.outcome, found.told) == ("cancelled", "A person asked instead.")
    assert [r.source for r in requests.all("production", "open")] == ["person"]


@pytest.mark.parametrize(("outcome", "status"), [("promoted", 0), ("rejected", 1)])
def test_the_outcome_is_waited_for(
    database: Database, monkeypatch: pytest.MonkeyPatch, outcome: str, status: int
) -> None:
    monkeypatch.setattr("training.commands.retrain._POLL_S", 0.02)
    requests = Retraining(database)

    def work() -> None:
        while not (found := requests.all("production", "open")):
            threading.Event().wait(0.02)
        requests.take(found[0].id)
        requests.note(found[0].id, step="train")
        threading.Event().wait(0.3)
        requests.close(found[0].id, outcome, "as it is")

    worker = threading.Thread(target=work)
    worker.start()
    code, told = ran(retrain, "production", "--wait")
    worker.join()
    assert code == status
    assert "train" in told
    assert f"{outcome}: as it is" in told


def test_the_table_of_a_replay_is_shown(database: Database) -> None:
    cell = {"release": "m-1", "role": "serving", "retrieval": "off", "failed": 0}
    table = [
        cell | {"slice": "new", "n": 60, "right": 3, "low": 0.01, "high": 0.12},
        cell | {"slice": "old", "n": 0, "right": 0, "low": 0.0, "high": 1.0, "failed": 2},
    ]
    requests = Retraining(database)
    request, _ = requests.open("production", "m-1", "x", "person", {})
    requests.take(request.id)
    requests.note(
        request.id,
        attribution={
            "verdict": "train", "reason": "It got [worse].", "conclusive": False,
            "table": table, "left_out": ["the base is not served"],
        },
    )  # fmt: skip
    told = ran(loop, "show", "production")[1]
    assert "3 of 60 right (1% to 12%)" in told
    assert "2 failed" in told
    assert "train (not conclusive)" in told
    assert "It got [worse]." in told
    assert "Left out: the base is not served." in told


def test_a_dry_run_tells_and_trains_nothing(database: Database) -> None:
    """No gateway is there: the replay says that nothing was answered."""
    Healths(database).put("production", "WARN", {})
    (Path.cwd() / "probes").mkdir()
    probe = {"id": "p", "messages": [{"role": "user", "content": "x"}], "expected": "y"}
    (Path.cwd() / "probes" / "production.jsonl").write_text(json.dumps(probe))
    assert Replay().cases > 1
    status, told = ran(retrain, "production", "--dry-run")
    assert status == 0
    assert "Left out: m-1 was made from no other release." in told
    assert "Verdict: neither (not conclusive)" in told
    assert Retraining(database).all("production") == []
    (Path.cwd() / "probes" / "production.jsonl").write_text("{}")
    status, told = ran(retrain, "production", "--dry-run")
    assert status == 2
    assert "production.jsonl:1" in told
