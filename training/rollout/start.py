"""Start: the candidate's files are what was registered, and its engine gets ready."""

from pathlib import Path
from typing import Any

from gateway.store.engines import Engines, EngineState
from gateway.store.releases import Release
from gateway.store.rollouts import LIVE, RUNNING, Rollout, Rollouts
from training.rollout.ground import CANDIDATE, PREVIOUS, alone
from training.rollout.rolling import FAILED, PASSED, Course, Outcome
from training.run_folder import sha256


class Start:
    """Checks the digests, frees the slot, points `candidate`, waits for the engine."""

    status, busy = RUNNING, False

    def __init__(self, course: Course) -> None:
        self._course = course
        self.timeout_s = course.plan.start_timeout_s
        self._told: dict[str, Any] = {}
        self._problem: str | None = None

    def begin(self) -> None:
        course = self._course
        release = course.ground.releases.get(course.rollout.candidate)
        if release is None:
            self._problem = f"The release `{course.rollout.candidate}` is not registered."
        elif course.rollout.candidate == course.rollout.previous:
            self._problem = f"`{release.id}` is served already."
        else:
            self._problem = changed(release)
            self._told["files_checked"] = len(release.digests)

    def look(self, row: Rollout) -> Outcome | None:
        if self._problem is not None:
            return Outcome(FAILED, self._problem)
        first = self._first()
        if first is not None:
            self._told["missing"] = f"{first} is rolled out before it"
            return None
        self._point()
        engines = [
            e for e in Engines(self._course.tools.database).all() if e.release == row.candidate
        ]
        self._told["engines"] = {f"{e.host}/{e.slot}": str(e.state) for e in engines}
        self._told["missing"] = "its engine is not ready"
        if any(engine.state is EngineState.READY for engine in engines):
            self._told["missing"] = None
            return Outcome(PASSED, "The engine is ready.")
        broken = [e.error for e in engines if e.state is EngineState.FAILED]
        if broken:
            return Outcome(FAILED, f"Its engine does not start: {broken[0] or 'see its log'}")
        return None

    def told(self) -> dict[str, Any]:
        return self._told

    def close(self) -> None:
        return

    def _first(self) -> str | None:
        """Return a rollout that began before this one and is not over: there are two slots."""
        rollout = self._course.rollout
        live = Rollouts(self._course.tools.database).all(among=LIVE)
        mine = (rollout.created_at, rollout.id)
        before = [each.id for each in live if (each.created_at, each.id) < mine]
        return before[-1] if before else None

    def _point(self) -> None:
        rollout, releases = self._course.rollout, self._course.ground.releases
        aliases, wanted = releases.aliases(), alone(rollout.candidate)
        why = f"rollout of {rollout.candidate} to {rollout.alias}"
        if PREVIOUS in aliases and rollout.alias != PREVIOUS:
            releases.drop(PREVIOUS, by=rollout.id, why=f"its slot is needed: {why}")
        if aliases.get(CANDIDATE) != wanted:
            releases.point(CANDIDATE, wanted, by=rollout.id, why=why)


def changed(release: Release) -> str | None:
    """Return which file of a release is not what was registered, or None: all are."""
    for name, digest in sorted(release.digests.items()):
        path = Path(release.path) / name
        try:
            found = sha256(path)
        except OSError as error:
            return f"`{name}` of {release.id} cannot be read: {error.strerror or error}."
        if found != digest:
            return (
                f"`{name}` of {release.id} is not what was registered: its SHA-256 is {found}, "
                f"not {digest}."
            )
    return None
