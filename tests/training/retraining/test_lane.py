"""A real worker: it takes up what is due, its job lane trains, and it is killed meanwhile."""

import contextlib
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from gateway.store.health import Healths
from gateway.store.retraining import CLOSED
from tests.training.working import COMMAND as WORKER

from .conftest import ROOT, wait

if TYPE_CHECKING:
    from .conftest import Loop

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def worker(loop: "Loop") -> Iterator["subprocess.Popen[bytes]"]:
    url = str(loop.gateway.database.engine.url)
    command = [*WORKER, str(loop.folder), url, loop.gateway.url, "jobs,retraining"]
    with (loop.folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def test_harm_becomes_a_rollout_without_anybody(loop: "Loop") -> None:
    Healths(loop.gateway.database).put("production", "DEGRADED", {"release": "production-1"})
    with worker(loop) as process:
        wait(lambda: bool(loop.requests.all("production", "taken")))
        (request,) = loop.requests.all("production", "taken")
        assert request.source == "act"
        wait(lambda: loop.get(request.id).job is not None, 120)
        process.kill()
    with worker(loop):
        # The fake steps make a release whose evaluation says PASS.
        wait(lambda: loop.get(request.id).rollout is not None, 120)
        rollout = loop.rollouts.get(loop.get(request.id).rollout or "")
        assert rollout is not None
        assert rollout.candidate == loop.job_of(request.id).fine_tuned_model
        assert loop.state == "RETRAINING"
        loop.rollouts.write(rollout.id, status="promoted")
        wait(lambda: loop.get(request.id).status == CLOSED)
    assert loop.get(request.id).outcome == "promoted"
    assert loop.state == "HEALTHY"


def test_a_request_that_was_closed_while_nobody_worked_is_settled(loop: "Loop") -> None:
    database = loop.gateway.database
    Healths(database).put("production", "WARN", {"topics": ["fees"]})
    request = loop.request()
    loop.requests.take(request.id)
    Healths(database).put("production", "RETRAINING", {"request": request.id})
    loop.requests.close(request.id, "cancelled", "no")
    with worker(loop):
        wait(lambda: loop.state == "WARN")
    health = Healths(database).get("production")
    assert health is not None
    assert health.evidence == {"topics": ["fees"]}
