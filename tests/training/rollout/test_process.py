"""Rollouts by whole workers through a real gateway, with clients that keep asking."""

import contextlib
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from gateway.store.health import Healths
from gateway.store.releases import Releases, Target
from gateway.store.rollouts import LIVE, Rollout, Rollouts
from tests.gateway.running import ROOT, RunningGateway, running_gateway, serve_release, wait
from tests.training.working import COMMAND as WORKER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # it starts DBOS many times
PLAN: dict[str, Any] = {
    "shadow_requests": 20,
    "shadow_share": 0.5,
    "shares": [0.2, 0.5],
    "stage_requests": 30,
    "staging_questions": 4,
    "latency_ratio": 20.0,  # two cores, and others at work on them
    "margin": 0.2,
    "stage_timeout_s": 250.0,
    "settle_s": 1.0,
    "poll_s": 0.2,
}
_KILLED = ("shadow", "canary-20", "canary-50")
_NEW, _OLD = "new-1", "production-1"


@dataclass
class Clients:
    """Clients that ask, each question a conversation, and what became of it."""

    gateway: RunningGateway
    stop: threading.Event = field(default_factory=threading.Event)
    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def ask(self, name: int) -> None:
        with openai.OpenAI(
            base_url=f"{self.gateway.url}/v1", api_key=self.gateway.key, max_retries=0
        ) as client:
            number = 0
            while not self.stop.is_set():
                number += 1
                text = f"question {name} {number}"
                try:
                    answer = client.chat.completions.with_raw_response.create(
                        model="production", messages=[{"role": "user", "content": text}]
                    )
                    said = answer.parse().choices[0].message.content
                except openai.OpenAIError as error:
                    self.wrong.append(f"{error}")
                    continue
                self.seen[answer.headers["x-driftgate-release"]] += 1
                if said != text and "sorry" not in str(said):
                    self.wrong.append(f"{text}: {said}")
                self.stop.wait(0.08)  # the recorder has a fifth of a core


@contextlib.contextmanager
def world(home: Path) -> Iterator[tuple[RunningGateway, Clients, Path]]:
    flag = home / "turned"
    with running_gateway(home) as gateway:
        module = "tests.training.rollout.turning_engine"
        engine = subprocess.Popen(
            [sys.executable, "-m", module, str(home / "new.sock"), _NEW, str(flag)], cwd=ROOT
        )
        clients = Clients(gateway)
        threads = [threading.Thread(target=clients.ask, args=(n,)) for n in range(2)]
        try:
            wait((home / "new.sock").exists, 30)
            serve_release(gateway.database, _NEW, f"unix:{home / 'new.sock'}")
            for thread in threads:
                thread.start()
            yield gateway, clients, flag
        finally:
            clients.stop.set()
            for thread in threads:
                if thread.ident:
                    thread.join()
            engine.kill()
            engine.wait()


@contextlib.contextmanager
def worker(gateway: RunningGateway) -> Iterator[psutil.Process]:
    url = str(gateway.database.engine.url)
    command = [*WORKER, str(gateway.home), url, gateway.url, "rollouts"]
    with (gateway.home / "worker.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(15)


def processes(worker: psutil.Process) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [c for c in worker.children() if "training.rollout.process" in c.cmdline()]
    return []


def start(gateway: RunningGateway, **plan: Any) -> str:
    rollout = Rollout("rlt-1", "production", _NEW, _OLD, PLAN | plan)
    return Rollouts(gateway.database).add(rollout).id


def row(gateway: RunningGateway) -> Rollout:
    found = Rollouts(gateway.database).get("rlt-1")
    assert found is not None
    return found


def test_a_good_candidate_is_promoted_although_everything_is_killed(tmp_path: Path) -> None:
    """Kill -9 of the rollout's process, and of its worker; another one goes on."""
    with world(tmp_path) as (gateway, clients, _):
        start(gateway, approval="human")
        with worker(gateway) as one, worker(gateway) as two:
            wait(lambda: bool(processes(one) or processes(two)), 120)
            killed: list[str] = []

            def step() -> bool:
                now = row(gateway)
                time.sleep(0.3)  # to look costs more than all else here
                ours = processes(one)
                at_work = ours + processes(two)
                assert len(at_work) <= 1  # one of the two has it
                if at_work and now.stage in _KILLED and now.stage not in killed:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        at_work[0].kill()
                    killed.append(now.stage)
                    if now.stage == "canary-20":  # and the worker that had it
                        victim = one if ours else two
                        victim.kill()
                if now.stage == "approval" and now.status == "waiting":
                    Rollouts(gateway.database).approve("rlt-1", "ada")
                return now.status not in LIVE

            wait(step, 300)
        now = row(gateway)
        log = (tmp_path / "rollouts" / "rlt-1" / "rollout.log").read_text()
        assert now.status == "promoted", (now.reason, log[-3000:])
        assert tuple(killed) == _KILLED
        aliases = Releases(gateway.database).aliases()
        assert aliases["production"] == (Target(_NEW, 1.0, "live"),)
        assert aliases["previous"] == (Target(_OLD, 1.0, "live"),)
        before = clients.seen[_NEW]
        wait(lambda: clients.seen[_NEW] > before + 20, 30)
        moves = [move.why.split(" ")[0] for move in Releases(gateway.database).moves("production")]
        assert moves[::-1][1:] == ["shadow", "canary", "canary", _NEW]
        health = Healths(gateway.database).get("production")
        assert health is not None
        assert health.state == "HEALTHY"
        assert clients.wrong == []
        assert "canary-50: passed" in log


def test_one_that_starts_to_decline_in_the_canary_is_rolled_back(tmp_path: Path) -> None:
    with world(tmp_path) as (gateway, clients, flag), worker(gateway):
        start(gateway)
        wait(lambda: row(gateway).stage == "canary-50" or row(gateway).status not in LIVE, 180)
        assert row(gateway).status in LIVE, row(gateway).reason
        flag.touch()
        wait(lambda: row(gateway).status not in LIVE, 120)
        now = row(gateway)
        assert now.status == "rolled_back", now.reason
        assert "fails more often" in (now.reason or "")
        assert Releases(gateway.database).aliases()["production"] == (Target(_OLD, 1.0, "live"),)
        assert "candidate" not in Releases(gateway.database).aliases()
        before = clients.seen[_OLD]
        wait(lambda: clients.seen[_OLD] > before + 20, 30)
        assert clients.wrong == []
