"""Several hosts over one PostgreSQL: two gateways, two workers and the monitor; one of each dies.

Engines are stubs, and a job's steps train nothing: what is tested is that the parts agree through
the store alone, whichever of them is left.
"""

import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import openai
import psutil
import pytest

from gateway.store.database import Database
from gateway.store.jobs import LIVE as UNFINISHED
from gateway.store.keys import SCOPES, Keys
from gateway.store.monitoring import Monitoring
from gateway.store.releases import Releases, Target
from gateway.store.rollouts import LIVE, Rollout, Rollouts
from tests.gateway.running import ROOT, echo_engine, gateway_over, serve_release, wait
from tests.retrieval.serving import process as retrieval_service
from tests.training.conftest import Home
from tests.training.rollout.test_process import PLAN
from tests.training.working import COMMAND as WORKER

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(600)]
_OLD, _NEW = "production-1", "new-1"
_REFERENCE, _WINDOW = 100, 10
_FLIP_S = 2.0
_PLAN = PLAN | {"shares": [0.3], "stage_requests": 60}


@dataclass
class Answer:
    """What a question came to: when it was asked of the gateway that answered, and by what."""

    at: float
    gateway: str
    release: str


@dataclass
class Clients:
    """Clients that know two gateways, and go to the other where one does not answer."""

    urls: list[str]
    key: str
    answers: list[Answer] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    turned_away: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def ask(self, name: int) -> None:
        with openai.OpenAI(api_key=self.key, max_retries=0) as client:
            for number in itertools.count():
                if self.stop.is_set():
                    return
                text = f"question {name} {number}"
                for attempt in range(50):
                    if self._asked(client, text, self.urls[(name + attempt) % 2]):
                        break
                    self.turned_away += 1
                    time.sleep(0.05)
                else:
                    self.wrong.append(f"{text}: lost")
                self.stop.wait(0.2)

    def _asked(self, client: openai.OpenAI, text: str, url: str) -> bool:
        began = time.time()
        try:
            client.base_url = f"{url}/v1"
            answer = client.chat.completions.with_raw_response.create(
                model="production", messages=[{"role": "user", "content": text}]
            )
        except openai.APIConnectionError:  # it has been killed, or has not been started yet
            return False
        except openai.OpenAIError as error:
            self.wrong.append(f"{text}: {error}")
            return True
        if answer.parse().choices[0].message.content != text:
            self.wrong.append(f"{text}: {answer.text}")
        self.answers.append(Answer(began, url, answer.headers["x-driftgate-release"]))
        return True


@contextlib.contextmanager
def started(log: Path, *command: str, **environment: str) -> Iterator[psutil.Process]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=output,
            env=os.environ | environment,
        )  # fmt: skip
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def worker(home: Path, url: str, gateway: str) -> contextlib.AbstractContextManager[psutil.Process]:
    return started(home / "worker.log", *WORKER, str(home), url, gateway, "jobs,rollouts")


def monitor(home: Path, url: str) -> contextlib.AbstractContextManager[psutil.Process]:
    settings = {
        "HOME": str(home), "DATABASE_URL": url, "MONITOR_PORT": "0", "MONITOR_PERIOD_S": "0.5",
        "MONITOR_SETTLE_S": "1", "MONITOR_REFERENCE_ROWS": str(_REFERENCE),
        "MONITOR_WINDOW": str(_WINDOW), "MONITOR_WINDOW_EVERY_S": "0",
        "MONITOR_REPORT_WINDOWS": "1000",
    }  # fmt: skip
    return started(
        home / "monitor.log", sys.executable, "-m", "gateway.cli", "monitor", "run",
        **{f"DRIFTGATE_{name}": value for name, value in settings.items()},
    )  # fmt: skip


def kill_tree(process: psutil.Process) -> None:
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()


def gateway_process(home: Path) -> psutil.Process:
    """Return the gateway whose home is `home`: it is a child of this process."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if child.environ().get("DRIFTGATE_HOME") == str(home) and "gateway" in child.cmdline():
                return child
    raise AssertionError(f"no gateway in {home}")


def works_on(process: psutil.Process, module: str) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return any(module in c.cmdline() for c in process.children(recursive=True))
    return False


def test_one_of_each_is_killed_and_the_others_go_on(postgres_url: str, tmp_path: Path) -> None:
    """Every question is answered, the job and the rollout end, no window is judged twice."""
    homes = [tmp_path / "a", tmp_path / "b", tmp_path / "shared"]
    for each in homes:
        each.mkdir()
    one, two, shared = homes
    database = Database(postgres_url)
    database.migrate()
    _, key = Keys(database).create("test", SCOPES)
    settings = {"database_url": postgres_url}
    with contextlib.ExitStack() as stack:
        stack.callback(database.close)
        for release in (_OLD, _NEW):
            address = stack.enter_context(echo_engine(tmp_path / f"{release}.sock", release))
            serve_release(database, release, address)
        stack.enter_context(retrieval_service(one, one / "run" / "retrieval.sock"))
        gateways = [
            stack.enter_context(gateway_over(database, key, home, **settings))
            for home in (one, two)
        ]
        clients = Clients([gateway.url for gateway in gateways], key)
        threads = [threading.Thread(target=clients.ask, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
        stack.callback(clients.stop.set)
        watching = stack.enter_context(monitor(one, postgres_url))
        home = Home(shared, postgres_url, database)
        workers = [
            stack.enter_context(worker(shared, postgres_url, gateways[1].url)) for _ in range(2)
        ]
        job = home.order(base_release=_OLD, alias="tuned")
        held = shared / "jobs" / job.id / "hold-train"
        held.parent.mkdir(parents=True)
        held.touch()
        wait(lambda: "train begins" in home.ran(job.id), 120)
        Rollouts(database).add(Rollout("rlt-1", "production", _NEW, _OLD, _PLAN))
        wait(lambda: _rollout(database).stage == "canary-30", 180)

        def judged() -> int:
            return len(Monitoring(database).windows("production", _OLD))

        wait(lambda: judged() >= 3, 120)

        # One of each, at once: the worker is the one that has the job.
        victim = next(w for w in workers if works_on(w, "training.workflow"))
        kill_tree(gateway_process(one))
        victim.kill()
        kill_tree(watching)
        held.unlink()
        wait(lambda: clients.turned_away > 0, 30)
        stack.enter_context(monitor(one, postgres_url))
        clients.urls[0] = stack.enter_context(gateway_over(database, key, one, **settings)).url

        wait(lambda: _rollout(database).status not in LIVE, 240)
        wait(lambda: home.job(job.id).status not in UNFINISHED, 120)
        wait(lambda: _answered_by_both(clients, _NEW), 30)
        clients.stop.set()
        for thread in threads:
            thread.join()
        now = _rollout(database)
        assert now.status == "promoted", now.reason
        assert Releases(database).aliases()["production"] == (Target(_NEW, 1.0, "live"),)
        done = home.job(job.id)
        assert (done.status, done.error) == ("succeeded", None)
        assert [home.ran(job.id).count(f"train {n}") for n in range(1, 5)] == [1, 1, 1, 1]
        assert clients.wrong == []
        _no_request_is_judged_twice(database)
        _both_flipped_in_time(database, clients)


def _rollout(database: Database) -> Rollout:
    found = Rollouts(database).get("rlt-1")
    assert found is not None
    return found


def _answered_by_both(clients: Clients, release: str) -> bool:
    latest = clients.answers[-20:]
    return {a.gateway for a in latest if a.release == release} == set(clients.urls)


def _no_request_is_judged_twice(database: Database) -> None:
    windows = Monitoring(database).windows("production", _OLD)
    assert [window.number for window in windows] == list(range(len(windows)))
    judged = [request for window in windows for request in window.requests]
    assert len(judged) == len(set(judged))


def _both_flipped_in_time(database: Database, clients: Clients) -> None:
    """Nobody is sent to the old release two seconds after the promotion, by either gateway."""
    promoted = Releases(database).moves("production")[0].at
    late = [a for a in clients.answers if a.at > promoted + _FLIP_S and a.release != _NEW]
    assert late == []
