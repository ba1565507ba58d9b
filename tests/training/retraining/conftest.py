"""A gateway over the stub engine, traffic with feedback, and retrainings of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.store.feedback import Feedback, FeedbackLog
from gateway.store.health import Healths
from gateway.store.jobs import VALIDATING, Job, Jobs
from gateway.store.keys import Keys
from gateway.store.loops import Loops
from gateway.store.releases import Release, Releases
from gateway.store.retraining import Retraining, RetrainingRequest
from gateway.store.rollouts import Rollouts
from gateway.store.traffic import Traffic
from tests.gateway.running import RunningGateway, running_gateway
from tests.training.data.test_harvest import record
from training.leash import Setup

ROOT = Path(__file__).parents[3]
_WORDS = [
    f"{first}{second}"
    for first in ("am", "bir", "ce", "du", "el")
    for second in ("ber", "ch", "dar", "sk", "mwood")
] + ["zebra"]


def question(number: int) -> str:
    """Return a question that is like no other."""
    a, b = _WORDS[number % 26], _WORDS[(number * 7 + number // 26) % 26]
    return f"How do I {a} the {b} number {number} of my {_WORDS[(number * 3) % 26]} account?"


@dataclass
class Loop:
    """The alias `production` of a running gateway, and what one retraining of it does."""

    gateway: RunningGateway
    folder: Path
    ran: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def requests(self) -> Retraining:
        return Retraining(self.gateway.database)

    @property
    def rollouts(self) -> Rollouts:
        return Rollouts(self.gateway.database)

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.gateway.database)

    @property
    def state(self) -> str:
        health = Healths(self.gateway.database).get("production")
        return "HEALTHY" if health is None else health.state

    def request(self, source: str = "person") -> RetrainingRequest:
        found, _ = self.requests.open("production", "production-1", "because", source, {})
        return found

    def get(self, id: str) -> RetrainingRequest:
        found = self.requests.get(id)
        assert found is not None
        return found

    def start(self, id: str, module: str = "training.retraining.process") -> int:
        """Start the process of a retraining as its lane does; returns its process group."""
        folder = self.folder / "retraining" / id
        folder.mkdir(parents=True, exist_ok=True)
        setup = Setup(
            id=id,
            claim="test",
            database_url=str(self.gateway.database.engine.url),
            workflow_url=f"sqlite:///{folder / 'workflows.db'}",
            home=str(self.folder),
            models_dir=str(self.folder / "models"),
            steps="tests.training.fake_steps",
            lock=0,
            gateway_url=self.gateway.url,
            nice=0,  # it has its turn beside other tests
        )
        with (folder / "retraining.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,
            )
        assert process.stdin is not None
        process.stdin.write(setup.line())
        process.stdin.flush()
        self.ran.append(process)
        return process.pid

    def kill(self) -> None:
        """Kill all processes that were started."""
        for process in self.ran:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
            if process.stdin is not None:
                process.stdin.close()
        self.ran.clear()

    def job_of(self, id: str) -> Job:
        """Wait for the job of a request, and return it."""
        wait(lambda: self.get(id).job is not None)
        job = self.jobs.get(self.get(id).job or "")
        assert job is not None
        return job

    def finish_job(self, id: str, **evaluation: Any) -> str:
        """Let the job of a request succeed with a release of this evaluation."""
        job = self.job_of(id)
        release = f"tuned-{job.id[-8:]}"
        Releases(self.gateway.database).register(
            Release(
                release, "stub", "r1", "", {}, time.time(),
                base_release="production-1", evaluation=evaluation, job=job.id,
            )
        )  # fmt: skip
        if job.status == VALIDATING:
            token = "worker"
            claimed = self.jobs.claim(token, 60)
            assert claimed is not None
            assert claimed.id == job.id
            self.jobs.finish(job.id, token, "succeeded", fine_tuned_model=release)
        return release

    def log(self, id: str) -> str:
        return (self.folder / "retraining" / id / "retraining.log").read_text()


def wait(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s"
        time.sleep(0.05)


def feed(gateway: RunningGateway, corrected: int, good: int, key: str = "keyannaa") -> None:
    """Write answers of the alias, with corrections of some and good scores of others.

    The stub engine answers with the question: what is corrected it gets wrong, what is good right.
    """
    traffic, log = Traffic(gateway.database), FeedbackLog(gateway.database)
    hour_ago = time.time() - 3600  # the gateway deletes what is too old
    records, said = [], []
    for number in range(corrected + good):
        asked = question(number)
        at = hour_ago + number
        records.append(record(number, asked, asked, release="production-1", created_at=at))
        is_good = number >= corrected
        said.append(
            Feedback(
                f"fb_{number}", f"chatcmpl-{number}", key, at + 1000,
                1.0 if is_good else None, None, None if is_good else f"topic_{number % 5}",
                None, {},
            )
        )  # fmt: skip
    traffic.add(records)
    for each in said:
        log.add(each)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path_factory.mktemp("loop"), embedder="") as running:
        _, _ = Keys(running.database).create("customers", {"inference", "feedback"})
        feed(running, corrected=60, good=40)
        yield running


@pytest.fixture
def loop(gateway: RunningGateway) -> Iterator[Loop]:
    Loops(gateway.database).put(
        "production",
        {"approval": "auto", "least_rows": 20, "key_share": 1.0, "recipe": "tiny-cpu"},
    )
    made = Loop(gateway, gateway.home)
    yield made
    made.kill()
    for request in made.requests.all("production"):
        made.requests.close(request.id, "cancelled")
    for rollout in made.rollouts.all("production"):
        made.rollouts.write(rollout.id, status="aborted")
    Healths(gateway.database).put("production", "HEALTHY", {})
