"""What opens requests to retrain: harm, drift that lasts, a timetable. And which may be taken up.

Alerts and people open theirs by other ways (`monitoring.webhook`, `driftgate retrain`, the API).
Everything is read from the store, so any number of workers may look, and a restart forgets nothing:
each cause has a name, and asks once (`store.retraining`).
"""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.store.database import Database
from gateway.store.health import AliasHealth, Healths
from gateway.store.loops import Loops, StoredLoop
from gateway.store.monitoring import Monitoring
from gateway.store.releases import Releases, Target, leading
from gateway.store.retraining import OPEN, Retraining, RetrainingRequest
from gateway.store.rollouts import Rollouts
from training.data.collecting import Parent, collect, trusted
from training.loop import LoopInvalid, LoopSettings
from training.pacing import Wait, wait
from training.rules import rules_of
from training.timetable import Timetable

# Counting the rows reads the traffic log.
_COUNT_S = 300.0

Aliases = Mapping[str, tuple[Target, ...]]


class Triggers:
    """Looks at what may retrain.

    Args:
        database: The store.
        home: The folder of jobs, for the data of the release in service.
        clock: Unix seconds.
    """

    def __init__(
        self, database: Database, home: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self._home, self._clock = database, home, clock
        self._releases, self._loops = Releases(database), Loops(database)
        self._healths, self._monitoring = Healths(database), Monitoring(database)
        self._requests, self._rollouts = Retraining(database), Rollouts(database)
        self._counted: dict[str, tuple[float, int]] = {}
        self._told: set[str] = set()

    def check(self) -> list[str]:
        """Open what is due; returns the ids of the open requests that may be taken up now.

        An open one that must wait gets a note of why, and until when.

        Raises:
            StoreError: The store is away.
        """
        aliases = self._releases.aliases()
        loops = {loop.alias: loop for loop in self._loops.all()}
        healths = {health.alias: health for health in self._healths.all()}
        for alias, loop in loops.items():
            settings = self._settings(loop)
            release = leading(aliases.get(alias, ()))
            if settings is not None and release is not None:
                self._ask(alias, release, settings, loop, healths.get(alias))
        ready = []
        for request in self._requests.all(status=OPEN, limit=1000):
            if self._is_stale(request, aliases):
                continue
            loop_of = loops.get(request.alias)
            settings = None if loop_of is None else self._settings(loop_of)
            waits = self.wait(request, settings)
            if waits is None:
                ready.append(request.id)
            elif request.told != waits.told():
                self._requests.wait(request.id, waits.told())
        return ready

    def wait(self, request: RetrainingRequest, settings: LoopSettings | None) -> Wait | None:
        """Return why an open request must wait, or None; StoreError where the store is away."""
        history = self._requests.all(request.alias, limit=1000)
        rollout = self._rollouts.live(request.alias)
        return wait(request, settings, history, rollout, self._clock())

    def _ask(
        self,
        alias: str,
        release: str,
        settings: LoopSettings,
        loop: StoredLoop,
        health: AliasHealth | None,
    ) -> None:
        if health is not None and health.state == "DEGRADED" and "act" in settings.sources:
            self._open(
                alias,
                release,
                "The answers got worse: harm was shown.",
                "act",
                health.evidence,
                f"act {alias} {health.since}",
            )
        if health is not None and health.state == "WARN" and "warn" in settings.sources:
            self._on_drift(alias, release, settings, health)
        if settings.schedule is not None and "schedule" in settings.sources:
            due = Timetable(settings.schedule).last(self._clock())
            # A timetable that was just set is not late for what was before it.
            if due > loop.updated_at:
                when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(due))
                told = f"Due on {when} by the timetable `{settings.schedule}`."
                evidence = {"schedule": settings.schedule, "due": due}
                self._open(alias, release, told, "schedule", evidence, f"schedule {alias} {due}")

    def _on_drift(
        self, alias: str, release: str, settings: LoopSettings, health: AliasHealth
    ) -> None:
        """Ask where drift lasts, and people have said enough to learn from."""
        state = self._monitoring.state(alias, release)
        if state is None:
            return
        last = self._monitoring.windows(
            alias, release, after=state.windows - settings.warn_windows - 1
        )
        since = [window for window in last if window.created_at >= health.since]
        if len(since) < settings.warn_windows:
            return
        rows = self._rows(alias, release, settings)
        if rows < settings.least_rows:
            return
        told = (
            f"Drift has lasted for {len(since)} windows, and there are {rows} rows to learn from."
        )
        evidence = {**health.evidence, "windows": len(since), "rows": rows}
        self._open(alias, release, told, "warn", evidence, f"warn {alias} {health.since}")

    def _rows(self, alias: str, release: str, settings: LoopSettings) -> int:
        now = self._clock()
        known = self._counted.get(alias)
        if known is not None and known[0] > now - _COUNT_S:
            return known[1]
        found = self._releases.get(release)
        if found is None:
            return 0
        parent = Parent.of(found, self._home)
        rules = rules_of(settings, trusted(self._database))
        rows = len(collect(self._database, alias, parent, rules).new)
        self._counted[alias] = (now, rows)
        return rows

    def _open(
        self,
        alias: str,
        release: str,
        reason: str,
        source: str,
        evidence: dict[str, Any],
        cause: str,
    ) -> None:
        self._requests.open(alias, release, reason, source, evidence, cause=cause)

    def _is_stale(self, request: RetrainingRequest, aliases: Aliases) -> bool:
        """Close a request about a release that the alias does not serve any more."""
        live = {t.release for t in aliases.get(request.alias, ()) if t.mode == "live"}
        if request.release in live or (live and request.source == "person"):
            return False
        told = (
            f"`{request.alias}` does not serve {request.release} any more."
            if live
            else f"There is no alias `{request.alias}` any more."
        )
        self._requests.close(request.id, "cancelled", told)
        return True

    def _settings(self, loop: StoredLoop) -> LoopSettings | None:
        try:
            return LoopSettings.stored(loop)
        except LoopInvalid as error:
            told = f"{loop.alias}: its loop cannot be used: {error}"
            if told not in self._told:
                self._told.add(told)
                print(told, file=sys.stderr, flush=True)
            return None
