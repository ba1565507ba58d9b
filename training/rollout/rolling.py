"""One rollout at work: does one stage after the other, and listens to people meanwhile.

Each stage is a loop: begin it, which may be done again; look, until there is an outcome. Between
two looks a person may pause or abort, and whoever moves the alias ends the rollout. While the store
is away nothing happens; what was under way goes on when it is back.
"""

import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from gateway.store.database import Database, StoreError
from gateway.store.releases import MovedMeanwhile
from gateway.store.rollouts import ABORTED, OVER, PAUSED, ROLLED_BACK, RUNNING, Rollout, Rollouts
from training.asking import Asked
from training.leash import STORE_RETRY_S
from training.rollout.ending import step_back
from training.rollout.ground import Ground
from training.rollout.plan import RolloutPlan

T = TypeVar("T")
PASSED, FAILED, STOPPED = "passed", "failed", "aborted"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stage ended: `passed`, `failed` or `aborted`, and why, for people."""

    verdict: str
    reason: str


class Asker(Protocol):
    """What asks questions of the gateway; `training.asking.GatewayAsker` outside of tests."""

    def ask(
        self,
        model: str,
        messages: Any,
        *,
        retrieval: Any = None,
        max_tokens: int = 256,
        timeout_s: float = 60.0,
    ) -> Asked: ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What the stages of a rollout are handed.

    Attributes:
        database: The store.
        asker: Opens what asks questions of the gateway.
        check: Called before each look; does not return where the claim is lost.
        clock: Unix seconds.
        sleep: Waits so many seconds.
        certify: Signs what was shown of the candidate, before its rollout is over.
    """

    database: Database
    asker: Callable[[], AbstractContextManager[Asker]]
    check: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    certify: Callable[[Rollout], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Course:
    """A rollout with its plan read, and the hands to do it; what stages are made of."""

    rollout: Rollout
    plan: RolloutPlan
    tools: Tools
    ground: Ground


class Stage(Protocol):
    """A stage of a rollout.

    Attributes:
        status: The rollout's state meanwhile: `running`, or `waiting` for a person.
        timeout_s: How long it may take, in seconds; None: as long as it must.
        busy: Whether the next look is due at once.
    """

    @property
    def status(self) -> str: ...
    @property
    def timeout_s(self) -> float | None: ...
    @property
    def busy(self) -> bool: ...

    def begin(self) -> None:
        """Make it so; may be called again, by another process too."""

    def look(self, row: Rollout) -> Outcome | None:
        """Return the outcome, or None while there is none."""

    def told(self) -> dict[str, Any]:
        """Return what has been seen, as plain JSON."""

    def close(self) -> None:
        """Let go of what it holds."""


class Rolling:
    """Does the stages of one rollout.

    Args:
        id: The rollout.
        tools: What it works with.
        stage: Makes a stage by its name.
    """

    def __init__(self, id: str, tools: Tools, stage: Callable[[Course, str], Stage]) -> None:
        self._id, self._tools, self._make = id, tools, stage
        self._rollouts = Rollouts(tools.database)

    def do(self, name: str) -> dict[str, Any]:
        """Do a stage, or go on with it; returns `verdict` and `reason`.

        `back` ends the rollout as the arguments of `end` say.
        """
        row = self._patiently(self._row)
        seen = row.evidence.get(name, {})
        if "verdict" in seen:  # a process before this one got so far
            return {"verdict": seen["verdict"], "reason": seen["reason"]}
        if row.status in OVER:
            return {"verdict": STOPPED, "reason": row.reason or "it is over"}
        try:
            outcome = self._run(name, row)
        except MovedMeanwhile:
            outcome = Outcome(FAILED, "The alias was moved by somebody else.")
        except Exception as error:
            traceback.print_exc()
            reason = f"The stage {name} broke: {type(error).__name__}: {error}"
            outcome = Outcome(FAILED, reason)
        now = self._tools.clock()
        ended = {"verdict": outcome.verdict, "reason": outcome.reason, "ended_at": now}
        self._patiently(lambda: self._note(name, ended))
        self.log(f"{name}: {outcome.verdict}. {outcome.reason}")
        return {"verdict": outcome.verdict, "reason": outcome.reason}

    def end(self, verdict: str, reason: str) -> dict[str, Any]:
        """Serve the old release alone, and end the rollout."""

        def write() -> None:
            row = self._row()
            if row.status not in OVER:
                status = ABORTED if verdict == STOPPED else ROLLED_BACK
                step_back(self._tools.database, row, status, reason)

        self._patiently(write)
        self.log(f"over: {reason}")
        return {"verdict": verdict, "reason": reason}

    def stages(self) -> tuple[str, ...]:
        """Return the names of the stages, by the plan; it is stored with all of its fields.

        Raises:
            PlanInvalid: The plan cannot be used.
        """
        row = self._patiently(self._row)
        plan = RolloutPlan.of(row.plan)
        if row.plan != plan.fields():
            self._patiently(lambda: self._rollouts.write(self._id, plan=plan.fields()))
        return plan.stages()

    def log(self, line: str) -> None:
        """Write a line into the rollout's log, which is standard output."""
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._tools.clock()))
        print(f"{at} {self._id} {line}", flush=True)

    def _run(self, name: str, row: Rollout) -> Outcome:
        plan = RolloutPlan.of(row.plan)
        course = Course(row, plan, self._tools, Ground(self._tools.database, row))
        self._patiently(lambda: self._enter(name))
        stage = self._make(course, name)
        begun = False
        try:
            while True:
                self._tools.check()
                try:
                    if not begun:
                        outcome = self._standing(course)
                        if outcome is not None:
                            return outcome
                        stage.begin()
                        begun = True
                        self.log(f"{name}: begun")
                    outcome = self._look(name, course, stage)
                except StoreError as error:
                    self.log(f"waiting for the store: {error}")
                    self._tools.sleep(STORE_RETRY_S)
                    continue
                if outcome is not None:
                    return outcome
                if not stage.busy:
                    self._tools.sleep(plan.poll_s)
        finally:
            stage.close()

    def _look(self, name: str, course: Course, stage: Stage) -> Outcome | None:
        outcome = self._standing(course)
        if outcome is not None:
            return outcome
        row = self._row()
        outcome = stage.look(row)
        self._note(name, stage.told())
        seen, now = self._row().evidence[name], self._tools.clock()
        if row.wish == "pause":
            if row.status != PAUSED:
                self._note(name, {"paused_at": now})
                self._rollouts.write(self._id, status=PAUSED)
                self.log(f"{name}: paused by {row.wished_by}")
            # It stands still, and yet no harm may be done meanwhile.
            return outcome if outcome is not None and outcome.verdict == FAILED else None
        if row.status == PAUSED:
            paused_s = seen.get("paused_s", 0.0) + now - seen.get("paused_at", now)
            self._note(name, {"paused_s": paused_s, "paused_at": None})
            self._rollouts.write(self._id, status=RUNNING)
            self.log(f"{name}: goes on")
            return outcome
        if row.status != stage.status:
            self._rollouts.write(self._id, status=stage.status)
        took = now - seen["started_at"] - seen.get("paused_s", 0.0)
        if outcome is None and stage.timeout_s is not None and took > stage.timeout_s:
            return Outcome(FAILED, f"Not within {stage.timeout_s:.0f} s: {_open(stage)}")
        return outcome

    def _standing(self, course: Course) -> Outcome | None:
        """Return what ends the rollout from outside, or None."""
        row = self._row()
        if row.status in OVER:
            return Outcome(STOPPED, row.reason or "it is over")
        if row.wish == "abort":
            return Outcome(STOPPED, f"Aborted by {row.wished_by}.")
        if course.ground.is_moved():
            return Outcome(FAILED, f"`{row.alias}` does not point where the rollout put it.")
        return None

    def _enter(self, name: str) -> None:
        row = self._row()
        if name not in row.evidence:
            self._note(name, {"started_at": self._tools.clock()})
        if row.stage != name:
            self._rollouts.write(self._id, stage=name)

    def _note(self, name: str, told: dict[str, Any]) -> None:
        row = self._row()
        before = row.evidence.get(name, {})
        after = before | told
        if after != before:
            self._rollouts.write(self._id, evidence={**row.evidence, name: after})

    def _row(self) -> Rollout:
        row = self._rollouts.get(self._id)
        if row is None:
            raise LookupError(f"{self._id} is not in the store any more")
        return row

    def _patiently(self, do: Callable[[], T]) -> T:
        while True:
            self._tools.check()
            try:
                return do()
            except StoreError as error:
                self.log(f"waiting for the store: {error}")
                self._tools.sleep(STORE_RETRY_S)


def _open(stage: Stage) -> str:
    missing = stage.told().get("missing")
    return str(missing or "it is not done")
