"""Whole retrainings as processes, over a real gateway; the job and the rollout are rows."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.store.examples import Example, read_jsonl
from gateway.store.files import Files
from gateway.store.health import Healths
from gateway.store.loops import Loops
from gateway.store.retraining import CLOSED

from .conftest import wait

if TYPE_CHECKING:
    from .conftest import Loop

pytestmark = pytest.mark.slow
_STEPS = ("begin", "attribute", "curate", "train", "gate", "roll_out", "settle")


def rows(path: Path) -> list[Example]:
    return [row for row in read_jsonl(path) if isinstance(row, Example)]


def closed(loop: "Loop", id: str) -> bool:
    return loop.get(id).status == CLOSED


def rolled(loop: "Loop", id: str, status: str, reason: str = "") -> None:
    wait(lambda: loop.get(id).rollout is not None)
    loop.rollouts.write(loop.get(id).rollout or "", status=status, reason=reason)


def test_a_request_becomes_a_release_that_is_served(loop: "Loop") -> None:
    Healths(loop.gateway.database).put("production", "DEGRADED", {"release": "production-1"})
    request = loop.request("act")
    loop.start(request.id)
    job = loop.job_of(request.id)
    assert loop.state == "RETRAINING"
    assert (job.base_release, job.recipe, job.alias) == ("production-1", "tiny-cpu", None)
    gating = job.overrides["evaluation"]
    assert gating["superior_on"] == ["new"]
    assert gating["required"] == ["integrity"]
    files = Files(loop.gateway.database, loop.folder / "files")
    train = rows(files.path(job.training_file))
    held_out = rows(files.path(job.validation_file or ""))
    assert {row.slice for row in held_out} == {"new", "old"}
    asked = {row.question for row in held_out}
    assert not asked & {row.question for row in train}
    assert (
        sum(row.slice == "new" for row in train) + sum(row.slice == "new" for row in held_out) == 60
    )
    found = loop.get(request.id)
    assert found.attribution is not None
    assert found.attribution["verdict"] == "train"
    cells = {(c["retrieval"], c["slice"]): c for c in found.attribution["table"]}
    assert cells["off", "new"]["right"] == 0
    assert cells["off", "old"]["right"] == cells["off", "old"]["n"] == 40
    assert any("no documents" in told for told in found.attribution["left_out"])
    assert found.rows == 60
    release = loop.finish_job(request.id, verdict="PASS")
    wait(lambda: loop.get(request.id).rollout is not None)
    rollout = loop.rollouts.get(loop.get(request.id).rollout or "")
    assert rollout is not None
    assert (rollout.candidate, rollout.previous) == (release, "production-1")
    assert (rollout.request, rollout.job) == (request.id, job.id)
    assert rollout.plan["approval"] == "auto"
    rolled(loop, request.id, "promoted")
    wait(lambda: closed(loop, request.id))
    assert loop.get(request.id).outcome == "promoted"
    assert loop.state == "HEALTHY"


@pytest.mark.parametrize(
    ("verdict", "gate"), [("FAIL", "worse"), ("INCONCLUSIVE", "700 more cases are needed")]
)
def test_what_has_not_passed_every_gate_is_never_rolled_out(
    loop: "Loop", verdict: str, gate: str
) -> None:
    Healths(loop.gateway.database).put("production", "DEGRADED", {"release": "production-1"})
    request = loop.request()
    loop.start(request.id)
    gates = [
        {"name": "integrity", "verdict": "PASS", "reason": ""},
        {"name": "paired", "verdict": verdict, "reason": gate},
    ]
    loop.finish_job(request.id, verdict=verdict, gates=gates)
    wait(lambda: closed(loop, request.id))
    done = loop.get(request.id)
    assert done.outcome == "rejected"
    assert gate in (done.told or "")
    assert "integrity" not in (done.told or "")
    assert done.rollout is None
    assert loop.rollouts.live("production") is None
    assert loop.state == "DEGRADED"


def test_nothing_is_trained_that_could_not_be_shown_to_be_better(loop: "Loop") -> None:
    few = {"approval": "auto", "least_rows": 5, "key_rows": 6, "key_share": 1.0}
    Loops(loop.gateway.database).put("production", few)
    request = loop.request()
    loop.start(request.id)
    wait(lambda: closed(loop, request.id))
    done = loop.get(request.id)
    assert (done.outcome, done.job) == ("put_off", None)
    assert "3 of them may be held out" in (done.told or "")


def test_a_rollback_and_a_failed_job_end_it(loop: "Loop") -> None:
    request = loop.request()
    loop.start(request.id)
    loop.finish_job(request.id, verdict="PASS")
    rolled(loop, request.id, "rolled_back", "worse in canary-5")
    wait(lambda: closed(loop, request.id))
    assert (loop.get(request.id).outcome, loop.get(request.id).told) == (
        "rolled_back",
        "worse in canary-5",
    )
    other = loop.request()
    loop.start(other.id)
    job = loop.job_of(other.id)
    claimed = loop.jobs.claim("worker", 60)
    assert claimed is not None
    loop.jobs.finish(job.id, "worker", "failed", error={"message": "out of memory"})
    wait(lambda: closed(loop, other.id))
    assert loop.get(other.id).outcome == "failed"
    assert "out of memory" in (loop.get(other.id).told or "")
    assert loop.state == "HEALTHY"


def test_a_request_that_is_taken_back_ends_its_job(loop: "Loop") -> None:
    request = loop.request()
    loop.start(request.id)
    job = loop.job_of(request.id)
    loop.requests.close(request.id, "cancelled", "a person says no")
    wait(lambda: all(p.poll() == 0 for p in loop.ran))
    found = loop.jobs.get(job.id)
    assert found is not None
    assert found.status == "cancelled"
    assert loop.get(request.id).told == "a person says no"
    assert loop.state == "HEALTHY"


def test_killed_in_every_step_it_goes_on(loop: "Loop") -> None:
    """Each step is done, killed before that is known, and done again: nothing is there twice."""
    request = loop.request()
    folder = loop.folder / "retraining" / request.id
    folder.mkdir(parents=True)
    for step in _STEPS:
        (folder / f"hold-{step}").touch()
    ran = folder / "ran.txt"
    for step in _STEPS:
        loop.start(request.id, "tests.training.retraining.held_process")
        if step == "train":
            loop.finish_job(request.id, verdict="PASS")
        if step == "roll_out":
            rolled(loop, request.id, "promoted")
        wait(lambda s=step: ran.exists() and f"{s} done" in ran.read_text())  # type: ignore[misc]
        loop.kill()
        (folder / f"hold-{step}").unlink()
    loop.start(request.id, "tests.training.retraining.held_process")
    wait(lambda: all(p.poll() == 0 for p in loop.ran))
    done = loop.get(request.id)
    assert (done.status, done.outcome) == (CLOSED, "promoted"), loop.log(request.id)
    lines = ran.read_text().splitlines()
    assert {step: lines.count(f"{step} done") for step in _STEPS} == dict.fromkeys(_STEPS, 2)
    jobs, _ = loop.jobs.page(limit=100)
    assert [job.id for job in jobs if job.metadata.get("retraining") == request.id] == [done.job]
    assert [r.id for r in loop.rollouts.all("production") if r.request == request.id] == [
        done.rollout
    ]
    files, _ = Files(loop.gateway.database, loop.folder / "files").page()
    assert sum(file.filename.startswith(request.id) for file in files) == 2
    assert json.loads((folder / "data" / "manifest.json").read_text())["filters"]["answers"] == 100
