"""A world for rollouts: a store, a clock, and traffic that goes where the aliases point."""

import contextlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from gateway.store.database import Database
from gateway.store.engines import Engine, Engines, EngineState
from gateway.store.health import Healths
from gateway.store.releases import Release, Releases, Target
from gateway.store.rollouts import Rollout, Rollouts
from gateway.store.traffic import Traffic, TrafficRecord
from training.asking import Asked
from training.rollout.process import Stages, roll_out
from training.rollout.rolling import Asker, Rolling, Tools

PLAN: dict[str, Any] = {
    "questions": ["one", "two", "three"],
    "shadow_requests": 30,
    "shadow_share": 0.5,
    "shares": [0.1, 0.5],
    "stage_requests": 40,
    "margin": 0.1,
    "stage_timeout_s": 5000.0,
    "settle_s": 5.0,
    "late_s": 60.0,
    "poll_s": 20.0,
    "warm_s": 600.0,
}


class Killed(BaseException):
    """Stands in for SIGKILL: nothing catches it."""


@dataclass
class Answering:
    """How a release answers."""

    fails: float = 0.0
    text: str = "a fine answer"
    duration_s: float = 0.5


@dataclass
class World:
    """Old and new release, an alias, and requests that arrive while somebody sleeps.

    Attributes:
        requests: That arrive in a poll.
        answers: By release.
        on_sleep: Called at each, with the world.
    """

    database: Database
    now: float = 1_000_000.0
    requests: int = 60
    answers: dict[str, Answering] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    on_sleep: Any = None
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    ids: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        releases, engines = Releases(self.database), Engines(self.database)
        for slot, id in (("A", "old-1"), ("B", "new-1")):
            releases.register(Release(id, "m", "r", "", {}, 1.0, ""))
            self.answers[id] = Answering()
            engines.put(Engine(slot, "h", id, "unix:x", EngineState.READY, 1, 0, None, 1.0))
        releases.point("production", [Target("old-1", 1.0, "live")])

    @property
    def releases(self) -> Releases:
        return Releases(self.database)

    def start(self, **plan: Any) -> str:
        """Add a rollout of the new release; returns its id."""
        rollout = Rollout("rlt-1", "production", "new-1", "old-1", PLAN | plan)
        return Rollouts(self.database).add(rollout).id

    def row(self, id: str = "rlt-1") -> Rollout:
        found = Rollouts(self.database).get(id)
        assert found is not None
        return found

    def tools(self, database: Database | None = None) -> Tools:
        return Tools(
            database or self.database,
            asker=self._asker,
            clock=lambda: self.now,
            sleep=self.sleep,
        )

    def roll(self, id: str = "rlt-1", database: Database | None = None) -> dict[str, Any]:
        """Work on a rollout as its process does, without the durable workflow around it."""
        rolling = Rolling(id, self.tools(database), Stages())

        def step(name: str, *arguments: Any) -> dict[str, Any]:
            return rolling.end(*arguments) if name == "end" else rolling.do(name)

        return roll_out(rolling, step)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.arrive(self.requests)
        if self.on_sleep is not None:
            self.on_sleep(self)

    def arrive(self, requests: int, **fields: Any) -> list[TrafficRecord]:
        """Write requests that have just been answered by whatever the alias points at."""
        targets = self.releases.aliases()["production"]
        live = [target for target in targets if target.mode == "live"]
        found: list[TrafficRecord] = []
        for _ in range(requests):
            (target,) = self.rng.choices(live, [target.weight for target in live])
            record = self.answered(target.release, **fields)
            found.append(record)
            for shadow in targets:
                if shadow.mode == "shadow" and self.rng.random() < shadow.weight:
                    copy = self.answered(shadow.release)
                    found.append(replace(copy, shadow_of=record.completion_id))
        Traffic(self.database).add(found)
        return found

    def answered(self, release: str, **fields: Any) -> TrafficRecord:
        """Return the record of a request."""
        how = self.answers[release]
        failed = self.rng.random() < how.fails
        id = f"c-{next(self.ids)}"
        duration_s = how.duration_s * self.rng.uniform(0.8, 1.25)
        values: dict[str, Any] = {
            "completion_id": id,
            "created_at": self.now - duration_s - self.rng.random(),
            "operation": "chat",
            "key_prefix": None,
            "alias": "production",
            "release": release,
            "index_generation": None,
            "messages": [{"role": "user", "content": f"question {id}"}],
            "parameters": None,
            "answer": None if failed else {"choices": [{"message": {"content": how.text}}]},
            "finish_reason": None if failed else "stop",
            "prompt_tokens": 1,
            "completion_tokens": 1,
            "ttft_s": 0.1,
            "duration_s": duration_s,
            "logprob_mean": None,
            "logprob_tail": None,
            "retrieval": None,
            "outcome": "error" if failed else "done",
            "status": 500 if failed else 200,
            "metadata": {},
            "system_fingerprint": None,
            "conversation": f"k-{id}",
        }
        return TrafficRecord(**values | fields)

    def health(self) -> str:
        found = Healths(self.database).get("production")
        return "HEALTHY" if found is None else found.state

    @contextlib.contextmanager
    def _asker(self) -> Iterator[Asker]:
        yield _FakeAsker(self)

    def fake_time(self) -> Any:
        """Return what stands in for the module `time` in the store."""
        return SimpleNamespace(time=lambda: self.now)


class _FakeAsker:
    def __init__(self, world: World) -> None:
        self._world = world

    def ask(self, model: str, messages: Any, **_: Any) -> Asked:
        world = self._world
        targets = world.releases.aliases().get(model)
        release = targets[0].release if targets else model
        how = world.answers[release]
        world.asked.append((model, messages[-1]["content"]))
        if world.rng.random() < how.fails:
            return Asked("", 503, None, how.duration_s, error="http 503")
        return Asked(how.text, 200, release, how.duration_s * world.rng.uniform(0.9, 1.1))
