"""What happens while the loop closes, as the store says it: printed, and kept for the story.

Nothing here steers anything. A thread looks every second and tells what has changed.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.store.database import Database, StoreError
from gateway.store.health import Healths
from gateway.store.job_events import JobEvents
from gateway.store.jobs import Jobs
from gateway.store.monitoring import Monitoring
from gateway.store.releases import Releases, Target
from gateway.store.retraining import Retraining
from gateway.store.rollouts import Rollouts

_PERIOD_S = 1.0
# From the first alarm on, one window of these is told; all are kept.
_EVERY = 20
_ALIAS = "production"


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened: when (Unix seconds), of what kind, in words."""

    at: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence after a window: when it was judged, of which release, by signal."""

    at: float
    release: str
    number: int
    values: dict[str, float]


class Timeline:
    """Follows the store.

    Args:
        url: Of the store.
        show: Called with each moment.
    """

    def __init__(self, url: str, show: Callable[[Moment], None]) -> None:
        self._database = Database(url)
        self._show = show
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timeline", daemon=True)
        self._seen: dict[str, Any] = {}
        self.moments: list[Moment] = []
        self.evidence: list[Evidence] = []
        self.began = time.time()

    def start(self) -> None:
        """Follow from now on."""
        self._thread.start()

    def close(self) -> None:
        """Follow no more."""
        self._stop.set()
        self._thread.join(10)
        self._database.close()

    def tell(self, text: str, kind: str = "step", at: float | None = None) -> None:
        """Add a moment."""
        moment = Moment(time.time() if at is None else at, kind, text)
        self.moments.append(moment)
        self._show(moment)

    def _run(self) -> None:
        while not self._stop.wait(_PERIOD_S):
            try:
                self._look()
            except StoreError as error:
                self.tell(f"the store is away: {error}", "trouble")

    def _look(self) -> None:
        self._look_at_health()
        self._look_at_windows()
        self._look_at_aliases()
        self._look_at_requests()
        self._look_at_jobs()
        self._look_at_rollouts()

    def _look_at_health(self) -> None:
        changes = Healths(self._database).transitions(_ALIAS, 1000)
        for change in reversed(changes[: len(changes) - self._seen.get("health", 0)]):
            harm = ", ".join(change.evidence.get("harm") or {})
            drift = change.evidence.get("drift")
            why = [f"harm shown by {harm}"] if harm else []
            why += [f"evidence of drift {drift:,.1f}"] if isinstance(drift, int | float) else []
            told = f"health {change.before} → {change.after}"
            self.tell(f"{told}: {', '.join(why)}" if why else told, "health", change.at)
        self._seen["health"] = len(changes)

    def _look_at_windows(self) -> None:
        monitoring = Monitoring(self._database)
        for state in monitoring.states():
            if state.alias != _ALIAS:
                continue
            place = f"windows {state.release}"
            after = self._seen.get(place, -1)
            for window in monitoring.windows(_ALIAS, state.release, after=after):
                self._seen[place] = window.number
                one = Evidence(window.created_at, state.release, window.number, window.evidence)
                self.evidence.append(one)
                if not self._seen.get("health") or window.number % _EVERY == 0:
                    values = ", ".join(f"{name} {value:,.3g}" for name, value in one.values.items())
                    told = f"window {window.number} of {_short(state.release)}: {values}"
                    self.tell(told, "window")

    def _look_at_aliases(self) -> None:
        moves = [m for m in Releases(self._database).moves(None, 1000) if m.at >= self.began]
        for move in reversed(moves[: len(moves) - self._seen.get("moves", 0)]):
            now = ", ".join(map(_target, move.after)) or "nothing"
            why = f" ({move.why})" if move.why else ""
            self.tell(f"`{move.alias}` → {now}{why}", "alias", move.at)
        self._seen["moves"] = len(moves)

    def _look_at_requests(self) -> None:
        for request in reversed(Retraining(self._database).all()):
            shown = (request.status, request.step, request.outcome)
            if self._seen.get(request.id) == shown:
                continue
            self._seen[request.id] = shown
            if request.outcome:
                self.tell(f"retraining: {request.outcome}; {request.told}", "retraining")
            elif request.step:
                self.tell(f"retraining: {request.step.replace('_', ' ')}", "retraining")
            else:
                told = f"retraining asked for ({request.source}): {request.reason}"
                self.tell(told, "retraining")

    def _look_at_jobs(self) -> None:
        events = JobEvents(self._database)
        jobs, _ = Jobs(self._database).page(limit=20)
        for job in reversed(jobs):
            place = f"events {job.id}"
            page, _ = events.page(job.id, after=self._seen.get(place), limit=200, ascending=True)
            for event in page:
                self._seen[place] = event.id
                if not event.message.startswith("line "):  # findings about single rows
                    self.tell(event.message, "job", event.created_at)

    def _look_at_rollouts(self) -> None:
        for rollout in reversed(Rollouts(self._database).all()):
            shown = (rollout.status, rollout.stage)
            if self._seen.get(rollout.id) == shown:
                continue
            self._seen[rollout.id] = shown
            told = f"rollout of {_short(rollout.candidate)}: {rollout.stage}"
            if rollout.status != "running":
                told += f", {rollout.status}"
            self.tell(f"{told}; {rollout.reason}" if rollout.reason else told, "rollout")


def _target(target: Target) -> str:
    share = "" if target.weight == 1 and target.mode == "live" else f" {target.weight:.0%}"
    return f"{_short(target.release)}{share}{' shadow' if target.mode == 'shadow' else ''}"


def _short(release: str) -> str:
    return release.removeprefix("smollm2-135m-instruct-")
