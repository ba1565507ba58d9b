"""Whole workers as processes, with steps that train nothing; killed in every way."""

import contextlib
import dataclasses
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from gateway.store.database import Database
from gateway.store.jobs import CANCELLED, LIVE, PAUSED, QUEUED, Jobs
from gateway.store.releases import Releases, Target
from tests.training.working import COMMAND as WORKER
from training.lanes.places import LANES

if TYPE_CHECKING:
    from .conftest import Home

pytestmark = pytest.mark.slow
_ROOT = Path(__file__).parents[2]
_STEPS = ("validate", "prepare", "train", "merge", "evaluate")


def wait(condition: Callable[[], bool], timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.05)


@contextlib.contextmanager
def worker(home: "Home") -> Iterator[psutil.Process]:
    nowhere = "http://127.0.0.1:9"  # these jobs ask nothing
    command = [*WORKER, str(home.folder), home.url, nowhere, ",".join(LANES)]
    with (home.folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=_ROOT, stdout=log, stderr=log)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(15)


def hold(home: "Home", job: str, *steps: str) -> None:
    folder = home.folder / "jobs" / job
    folder.mkdir(parents=True)
    for step in steps:
        (folder / f"hold-{step}").touch()


def let_go(home: "Home", job: str, step: str) -> None:
    (home.folder / "jobs" / job / f"hold-{step}").unlink()


def below(process: psutil.Process, word: str) -> psutil.Process:
    (found,) = [c for c in process.children(recursive=True) if word in c.cmdline()]
    return found


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def test_a_job_becomes_a_release_that_the_alias_names(home: "Home") -> None:
    job = home.order(suffix="Booking")
    with worker(home):
        wait(lambda: home.job(job.id).status not in LIVE)
    done = home.job(job.id)
    assert (done.status, done.error, done.trained_tokens, done.step) == ("succeeded", None, 8, None)
    assert done.fine_tuned_model is not None
    assert done.fine_tuned_model.startswith("base-booking-")
    releases = Releases(home.database)
    release = releases.get(done.fine_tuned_model)
    assert release is not None
    assert release.base_release == "base-1"
    assert release.job == job.id
    assert release.evaluation == {"verdict": "PASS", "trained": 8}
    assert (Path(release.path) / "model.safetensors").read_text() == job.id
    assert releases.aliases()["candidate"] == (Target(release.id, 1.0, "live"),)
    names = {file.filename: file for id in done.result_files if (file := home.files.get(id))}
    assert names.keys() == {"step_metrics.csv", "evaluation_report.html"}
    csv = home.files.path(names["step_metrics.csv"].id).read_text().splitlines()
    assert csv[:2] == ["step,train_loss", "1,1.0"]
    assert names["step_metrics.csv"].key_prefix == "0123abcd"
    assert [c.step_number for c in home.events.checkpoints(job.id)[0]] == [4, 3, 2, 1]
    told = home.told(job.id)
    assert told[0].startswith("Validating training file: file-")
    assert [line for line in told if line.startswith("Step ")] == [
        f"Step {n}/4" for n in range(1, 5)
    ]
    assert home.events.workers() == []  # it has said goodbye


def test_a_worker_killed_in_every_step_repeats_none_that_is_done(home: "Home") -> None:
    job = home.order()
    hold(home, job.id, *_STEPS)
    for step in _STEPS:
        with worker(home) as process:
            wait(lambda s=step: home.ran(job.id).count(f"{s} begins") == 1)  # type: ignore[misc]
            children = process.children(recursive=True)
            assert len(children) == 2  # the job's and the step's
            process.kill()
            wait(lambda c=children: gone(c), 5)  # type: ignore[misc]
        let_go(home, job.id, step)
    with worker(home):
        wait(lambda: home.job(job.id).status not in LIVE)
    assert home.job(job.id).status == "succeeded", home.job(job.id).error
    ran = home.ran(job.id)
    # The step in which it was killed is begun again, one that is done is not; training goes on
    # after its last checkpoint.
    assert {
        step: ran.count(f"{step} begins") for step in _STEPS if step != "train"
    } == dict.fromkeys(("validate", "prepare", "merge", "evaluate"), 2)
    assert [line for line in ran if line.startswith("train ") and line != "train begins"] == [
        f"train {n}" for n in range(1, 5)
    ]


def test_a_killed_job_process_is_started_again(home: "Home") -> None:
    job = home.order()
    hold(home, job.id, "merge")
    with worker(home) as process:
        wait(lambda: "merge begins" in home.ran(job.id))
        step = below(process, "training.step_process")
        below(process, "training.workflow").kill()
        wait(lambda: home.ran(job.id).count("merge begins") == 2)
        assert gone([step])
        let_go(home, job.id, "merge")
        wait(lambda: home.job(job.id).status not in LIVE)
    assert home.job(job.id).status == "succeeded"
    assert home.ran(job.id).count("validate begins") == 1
    assert any("ended with status -9" in line for line in home.told(job.id))


def test_a_job_that_keeps_crashing_is_given_up(home: "Home") -> None:
    job = home.order()
    # What the job's process cannot read: it ends before any step does.
    (home.folder / "workflows.db").write_bytes(b"this is no database" * 100)
    with worker(home):
        wait(lambda: home.job(job.id).status not in LIVE, 60)
    error = home.job(job.id).error
    assert error is not None
    assert error["code"] == "worker_failed"
    assert "5 times" in error["message"]


@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        ("fail", "invalid_training_file", "line 7"),
        ("crash", "step_failed", "nobody foresaw this"),
        ("die", "step_failed", "signal 9"),
    ],
)
def test_a_step_that_fails_ends_the_job(home: "Home", how: str, code: str, text: str) -> None:
    job = home.order(overrides={how: "prepare"})
    with worker(home):
        wait(lambda: home.job(job.id).status not in LIVE)
    done = home.job(job.id)
    assert done.status == "failed"
    assert done.error is not None
    assert done.error["code"] == code
    assert text in done.error["message"]
    assert done.error["param"] == ("training_file" if how == "fail" else None)
    assert text in home.told(job.id)[-1]
    assert "train begins" not in home.ran(job.id)


def test_a_deleted_file_fails_the_job(home: "Home") -> None:
    job = home.order()
    home.files.delete(job.training_file)
    with worker(home):
        wait(lambda: home.job(job.id).status not in LIVE)
    error = home.job(job.id).error
    assert error is not None
    assert (error["code"], error["param"]) == ("file_not_found", "training_file")


@pytest.mark.parametrize("status", [CANCELLED, PAUSED])
def test_a_job_taken_away_stops_within_seconds(home: "Home", status: str) -> None:
    job, next_job = home.order(), home.order()
    hold(home, job.id, "train")
    with worker(home) as process:
        wait(lambda: "train begins" in home.ran(job.id))
        children = process.children(recursive=True)
        started = time.monotonic()
        assert home.jobs.move(job.id, status, LIVE)
        wait(lambda: gone(children))
        assert time.monotonic() - started < 3
        wait(lambda: home.job(next_job.id).status == "succeeded")
        assert home.job(job.id).status == status
        if status == PAUSED:
            let_go(home, job.id, "train")
            assert home.jobs.move(job.id, QUEUED, {PAUSED})
            wait(lambda: home.job(job.id).status == "succeeded")
            assert home.ran(job.id).count("prepare begins") == 1


def test_two_workers_share_the_jobs_and_none_is_done_twice(home: "Home") -> None:
    jobs = [home.order(seed=seed) for seed in range(3)]
    with worker(home), worker(home):
        wait(lambda: all(home.job(job.id).status == "succeeded" for job in jobs), 60)
    for job in jobs:
        assert home.ran(job.id).count("merge begins") == 1


def test_a_stopped_worker_hands_over_at_once(home: "Home") -> None:
    job = home.order()
    hold(home, job.id, "train")
    with worker(home) as process:
        wait(lambda: "train begins" in home.ran(job.id))
        process.send_signal(signal.SIGTERM)
        wait(lambda: gone([process]), 5)
    assert home.job(job.id).claim is None
    assert home.job(job.id).status == "running"


@pytest.mark.services
def test_a_job_on_postgresql(home: "Home", postgres_url: str) -> None:
    """The store and DBOS share a database; a job that is killed goes on."""
    database = Database(postgres_url)
    database.migrate()
    base = Releases(home.database).get("base-1")
    assert base is not None
    Releases(database).register(base)
    remote = dataclasses.replace(home, url=postgres_url, database=database)
    job = remote.order()
    hold(remote, job.id, "merge")
    with worker(remote) as process:
        wait(lambda: "merge begins" in remote.ran(job.id))
        process.kill()
    let_go(remote, job.id, "merge")
    with worker(remote):
        wait(lambda: remote.job(job.id).status not in LIVE)
    assert remote.job(job.id).status == "succeeded", remote.job(job.id).error
    assert remote.ran(job.id).count("prepare begins") == 1
    assert not (home.folder / "workflows.db").exists()
    assert Jobs(database).waiting() == 0
    database.close()
