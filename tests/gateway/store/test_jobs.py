import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.store.database import Database
from gateway.store.job_events import JobEvents, LiveWorker
from gateway.store.jobs import (
    CANCELLED,
    FAILED,
    LIVE,
    PAUSED,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    ClaimLost,
    Job,
    Jobs,
    job_id,
)


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


@pytest.fixture
def events(database: Database) -> JobEvents:
    return JobEvents(database)


def order(jobs: Jobs, **fields: Any) -> Job:
    values: dict[str, Any] = {
        "id": job_id(),
        "key_prefix": "0123abcd",
        "created_at": time.time(),
        "model": "production",
        "base_release": "base-1",
        "training_file": "file-1",
        "validation_file": None,
        "hyperparameters": {"n_epochs": 2},
        "seed": 2**31 - 1,
        "suffix": None,
        "metadata": {"é": "🙂"},
        "recipe": "tiny-cpu",
        "overrides": {"lora.rank": 8},
        "alias": "candidate",
    }
    return jobs.add(Job(**values | fields))


def test_a_job_comes_back_as_it_went_in(jobs: Jobs) -> None:
    job = order(jobs)
    assert jobs.get(job.id) == job
    assert jobs.get("nope") is None


def test_claims_are_given_once_oldest_first(jobs: Jobs) -> None:
    first, second = order(jobs, created_at=1.0), order(jobs, created_at=2.0)
    taken = jobs.claim("a")
    assert taken is not None
    assert (taken.id, taken.claim, taken.attempts) == (first.id, "a", 1)
    other = jobs.claim("b")
    assert other is not None
    assert other.id == second.id
    assert jobs.claim("c") is None
    jobs.release(first.id, "b")  # not its claim
    assert jobs.claim("c") is None
    jobs.release(first.id, "a", crashed=True)
    again = jobs.claim("c")
    assert again is not None
    assert (again.id, again.attempts) == (first.id, 2)


def test_of_many_that_claim_at_once_one_gets_each(jobs: Jobs) -> None:
    made = {order(jobs).id for _ in range(3)}
    barrier = threading.Barrier(8)

    def claim(n: int) -> Job | None:
        barrier.wait(10)
        return jobs.claim(f"w{n}")

    with ThreadPoolExecutor(8) as pool:
        taken = [job.id for job in pool.map(claim, range(8)) if job is not None]
    assert sorted(taken) == sorted(made)


def test_a_silent_workers_job_is_taken_over_and_the_worker_shut_out(
    jobs: Jobs, events: JobEvents
) -> None:
    job = order(jobs)
    jobs.claim("a", stale_s=0.05)
    jobs.renew(job.id, "a", stale_s=0.05)
    time.sleep(0.06)
    taken = jobs.claim("b")
    assert taken is not None
    assert taken.id == job.id
    calls: tuple[Callable[[], None], ...] = (
        lambda: jobs.renew(job.id, "a"),
        lambda: jobs.write(job.id, "a", status=RUNNING),
        lambda: jobs.finish(job.id, "a", SUCCEEDED),
        lambda: events.add(job.id, "late", claim="a"),
        lambda: events.add_checkpoint(job.id, "a", 1, "/c", {}),
    )
    for call in calls:
        with pytest.raises(ClaimLost):
            call()
    assert events.page(job.id)[0] == []
    jobs.write(job.id, "b", status=RUNNING, step="train")
    found = jobs.get(job.id)
    assert found is not None
    assert (found.status, found.step) == (RUNNING, "train")


@pytest.mark.parametrize("status", [CANCELLED, PAUSED])
def test_a_job_that_is_stopped_is_its_workers_no_more(jobs: Jobs, status: str) -> None:
    job = order(jobs)
    jobs.claim("a")
    assert jobs.move(job.id, status, LIVE)
    with pytest.raises(ClaimLost):
        jobs.renew(job.id, "a")
    assert jobs.claim("b") is None
    assert not jobs.move(job.id, status, LIVE)
    found = jobs.get(job.id)
    assert found is not None
    assert (found.status, found.finished_at is None) == (status, status == PAUSED)
    if status == PAUSED:
        assert jobs.move(job.id, QUEUED, {PAUSED})
        assert jobs.claim("b") is not None


def test_of_two_cancels_at_once_one_wins(jobs: Jobs) -> None:
    job = order(jobs)
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda _: jobs.move(job.id, CANCELLED, LIVE), range(4)))
    assert sorted(won) == [False, False, False, True]


def test_a_finished_job_stays_finished(jobs: Jobs) -> None:
    job = order(jobs)
    jobs.claim("a")
    error = {"code": "x", "message": "bad\x00", "param": None}
    jobs.finish(job.id, "a", FAILED, error=error, result_files=["file-2"])
    found = jobs.get(job.id)
    assert found is not None
    assert found.error == {"code": "x", "message": "bad\ufffd", "param": None}
    assert (found.result_files, found.claim) == (("file-2",), None)
    assert found.finished_at is not None
    assert not jobs.move(job.id, CANCELLED, LIVE)
    with pytest.raises(ClaimLost):
        jobs.write(job.id, "a", status=RUNNING)
    assert jobs.waiting() == 0


def test_pages_of_jobs_are_of_one_key(jobs: Jobs) -> None:
    mine = [order(jobs, created_at=float(n // 2)).id for n in range(5)]
    other = order(jobs, key_prefix="ffffffff")
    first, more = jobs.page(owner="0123abcd", limit=3)
    rest, no_more = jobs.page(owner="0123abcd", limit=3, after=first[-1].id)
    assert {job.id for job in (*first, *rest)} == set(mine)
    assert (more, no_more, len(jobs.page()[0])) == (True, False, 6)
    with pytest.raises(KeyError):
        jobs.page(owner="0123abcd", after=other.id)


def test_events_are_in_the_order_in_which_they_came(jobs: Jobs, events: JobEvents) -> None:
    job = order(jobs)
    for n in range(5):
        events.add(job.id, f"{n}", data={"step": n} if n else None)
    events.add("another", "x")
    page, more = events.page(job.id, limit=3)
    assert ([event.message for event in page], more) == (["4", "3", "2"], True)
    page, more = events.page(job.id, limit=3, after=page[-1].id)
    assert ([event.message for event in page], more) == (["1", "0"], False)
    assert [event.type for event in page] == ["metrics", "message"]
    upwards, _ = events.page(job.id, after=page[-1].id, limit=2, ascending=True)
    assert [event.data for event in upwards] == [{"step": 1}, {"step": 2}]
    with pytest.raises(KeyError):
        events.page("another", after=page[0].id)


def test_a_checkpoint_of_a_step_is_there_once(jobs: Jobs, events: JobEvents) -> None:
    job = order(jobs)
    jobs.claim("a")
    for step, loss in ((10, 2.0), (20, 1.0), (20, 0.5)):
        events.add_checkpoint(job.id, "a", step, f"/c/{step}", {"valid_loss": loss})
    page, more = events.checkpoints(job.id, limit=1)
    assert ([(c.step_number, c.metrics) for c in page], more) == ([(20, {"valid_loss": 0.5})], True)
    page, more = events.checkpoints(job.id, after=page[0].id)
    assert ([c.step_number for c in page], more) == ([10], False)


def test_only_workers_that_were_heard_of_are_live(events: JobEvents) -> None:
    now = time.time()
    for name, seen in (("a", now), ("b", now - 60), ("a", now)):
        events.seen(LiveWorker(name, 1.0, seen, None))
    assert [worker.id for worker in events.workers()] == ["a"]
    events.gone("a")
    assert events.workers() == []
