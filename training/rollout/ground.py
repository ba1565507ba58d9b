"""What a rollout moves: the alias, the aliases `candidate` and `previous`, and the health.

Every move is made only if the alias still points where the rollout put it last, in one transaction
(`Releases.point`), so a person who moves it meanwhile always wins. What the rollout has put there
is read from the log of moves, which the same transaction writes: a process that is killed between
two statements cannot be wrong about it.
"""

from collections.abc import Sequence
from typing import Any

from gateway.store.database import Database
from gateway.store.health import Healths
from gateway.store.releases import AliasMove, MovedMeanwhile, Releases, Target
from gateway.store.rollouts import Rollout

CANDIDATE, PREVIOUS = "candidate", "previous"


class Ground:
    """The aliases and the health that one rollout moves."""

    def __init__(self, database: Database, rollout: Rollout) -> None:
        self.releases = Releases(database)
        self._healths = Healths(database)
        self._rollout = rollout

    def moves(self) -> list[AliasMove]:
        """Return the moves of the alias that this rollout has made, the oldest first."""
        found = self.releases.moves(self._rollout.alias, limit=1000)
        return [move for move in reversed(found) if move.by == self._rollout.id]

    def placed(self) -> tuple[Target, ...]:
        """Return where this rollout has put the alias last; where it found it, if it has not."""
        moves = self.moves()
        return moves[-1].after if moves else alone(self._rollout.previous)

    def is_moved(self) -> bool:
        """Return whether somebody else has moved the alias since."""
        return set(self.releases.aliases().get(self._rollout.alias, ())) != set(self.placed())

    def put(self, targets: Sequence[Target], why: str) -> None:
        """Point the alias at these.

        Raises:
            MovedMeanwhile: Somebody else has moved it.
        """
        self.releases.point(
            self._rollout.alias, targets, by=self._rollout.id, why=why, expected=self.placed()
        )

    def back(self, why: str) -> bool:
        """Serve the old release alone, give up the candidate's slot, put back the health.

        Returns:
            False where somebody else has moved the alias, which then stays as it is.
        """
        mine = True
        try:
            self.put(alone(self._rollout.previous), why)
        except MovedMeanwhile:
            mine = False
        self.drop_candidate(why)
        # A promotion that was killed half-way has set it; nobody else names this release so.
        self._drop(PREVIOUS, self._rollout.previous, why)
        self.restore_health()
        return mine

    def drop_candidate(self, why: str) -> None:
        """Drop the alias `candidate` where it points at this candidate."""
        self._drop(CANDIDATE, self._rollout.candidate, why)

    def _drop(self, alias: str, release: str, why: str) -> None:
        try:
            self.releases.drop(alias, by=self._rollout.id, why=why, expected=alone(release))
        except MovedMeanwhile:
            return  # it is another's already, or was dropped before

    def put_health(self, state: str, told: dict[str, Any]) -> None:
        """Write the alias's health."""
        self._healths.put(self._rollout.alias, state, {"rollout": self._rollout.id, **told})

    def restore_health(self) -> None:
        """Put back what the health was before; the monitor goes on from there."""
        now = self._healths.get(self._rollout.alias)
        if now is not None and now.state == "CANARY":
            before = self._healths.settled(self._rollout.alias)
            self._healths.put(self._rollout.alias, before.state, before.evidence)


def alone(release: str) -> tuple[Target, ...]:
    """Return the targets of an alias that serves one release."""
    return (Target(release, 1.0, "live"),)
