"""Rolling an alias back: to what it served before, and with it whatever was on its way to it.

Where a rollout has put its candidate behind the alias, the candidate goes and the rollout with it.
Else the alias goes back to before the last promotion: the releases that led it, each with what was
served then, form a stack, on which going back to the one below is no promotion. What was gone back
from is not gone back to.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.store.database import Database
from gateway.store.engines import Engines, EngineState
from gateway.store.releases import (
    PREVIOUS,
    AliasMove,
    MovedMeanwhile,
    Releases,
    Target,
    leading,
)
from gateway.store.rollouts import PROMOTED, ROLLED_BACK, Rollout, Rollouts

_MOST_MOVES = 1000
_TRIES = 5


class CannotRollBack(Exception):
    """An alias stays where it is.

    Attributes:
        code: `alias_not_found`, `release_not_found`, `nothing_to_roll_back`, `rolled_back_already`,
            `release_not_leading`, `release_not_ready` or `moved_meanwhile`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class RolledBack:
    """An alias that was rolled back.

    Attributes:
        alias: The alias.
        gone: The release that is not behind it any more.
        targets: What it points at.
        moved: Whether it was this call that moved it.
        aborted: The rollout that was under way and is to be aborted.
        undone: The rollout whose promotion was taken back.
    """

    alias: str
    gone: str
    targets: tuple[Target, ...]
    moved: bool = True
    aborted: str | None = None
    undone: str | None = None


@dataclass(frozen=True, slots=True)
class Reign:
    """The time in which one release led an alias: the targets at its beginning and at its end."""

    leader: str
    first: tuple[Target, ...]
    last: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class History:
    """What led an alias.

    Attributes:
        stack: The present reign is the last; those that were gone back from are left out.
        went_back: The alias's last move, where that was a way back.
    """

    stack: tuple[Reign, ...]
    went_back: AliasMove | None


class Rollback:
    """Rolls aliases back, for the API and the command line alike."""

    def __init__(self, database: Database) -> None:
        self._releases = Releases(database)
        self._rollouts = Rollouts(database)
        self._engines = Engines(database)

    def roll_back(
        self, alias: str, *, by: str, why: str, release: str | None = None, force: bool = False
    ) -> RolledBack:
        """Point an alias at what it served before.

        Args:
            alias: The alias.
            by: Who does it.
            why: Why, for people.
            release: The release that is to go. Naming it makes a repetition harmless, and allows
                to go further back than one step.
            force: Go back to a release that has no ready engine, too.

        Raises:
            CannotRollBack: Why the alias stays where it is.
        """
        for _ in range(_TRIES):
            with contextlib.suppress(MovedMeanwhile):
                return self._roll_back(alias, by, why, release, force)
        raise CannotRollBack(
            "moved_meanwhile", f"`{alias}` is being moved by others; look at it and try again."
        )

    def _roll_back(
        self, alias: str, by: str, why: str, release: str | None, force: bool
    ) -> RolledBack:
        aliases = self._releases.aliases()
        now = aliases.get(alias)
        if now is None:
            raise CannotRollBack("alias_not_found", f"There is no alias `{alias}`.")
        rollout = self._rollouts.live(alias)
        behind = _names(now)
        if release is not None and release not in behind:
            return self._gone_already(alias, release, now, rollout, by)
        gone, back = self._way_back(alias, now, rollout, release)
        if not force:
            self._check_ready(back)
        if rollout is not None:
            self._rollouts.ask(rollout.id, "abort", by)
        self._releases.point(alias, back, by=by, why=why, expected=now)
        self._let_go(aliases.get(PREVIOUS, ()), _names(back), by)
        return RolledBack(
            alias,
            gone,
            back,
            aborted=None if rollout is None else rollout.id,
            undone=self._undone(alias, gone, why),
        )

    def _way_back(
        self,
        alias: str,
        now: tuple[Target, ...],
        rollout: Rollout | None,
        release: str | None,
    ) -> tuple[str, tuple[Target, ...]]:
        """Return the release that goes, and the targets without it."""
        leader = str(leading(now))  # no alias is without a live release
        behind = _names(now)
        if (
            rollout is not None
            and rollout.candidate in behind
            and release in (None, rollout.candidate)
        ):
            return rollout.candidate, (Target(rollout.previous, 1.0, "live"),)
        if release not in (None, leader):
            raise CannotRollBack(
                "release_not_leading", f"`{leader}` leads `{alias}`, not `{release}`."
            )
        history = history_of(self._releases.moves(alias, _MOST_MOVES))
        last = history.went_back
        if last is not None and release is None:
            raise CannotRollBack(
                "rolled_back_already",
                f"`{alias}` was rolled back at {_clock(last.at)} by {last.by or 'somebody'}. To go "
                f" further back, name the release that is to go: `{leader}`.",
            )
        if len(history.stack) < 2:
            raise CannotRollBack(
                "nothing_to_roll_back", f"`{alias}` has served nothing before `{leader}`."
            )
        return leader, without(history.stack[-2].last, leader)

    def _gone_already(
        self,
        alias: str,
        release: str,
        now: tuple[Target, ...],
        rollout: Rollout | None,
        by: str,
    ) -> RolledBack:
        """Answer for a release that is not behind the alias, or not yet: nothing is moved."""
        if self._releases.get(release) is None:
            raise CannotRollBack("release_not_found", f"There is no release `{release}`.")
        aborted = None
        if rollout is not None and rollout.candidate == release:
            self._rollouts.ask(rollout.id, "abort", by)
            aborted = rollout.id
        return RolledBack(alias, release, now, moved=False, aborted=aborted)

    def _check_ready(self, targets: Sequence[Target]) -> None:
        ready = {e.release for e in self._engines.all() if e.state is EngineState.READY}
        for target in targets:
            if target.release not in ready:
                raise CannotRollBack(
                    "release_not_ready",
                    f"No engine of `{target.release}` is ready: requests would fail until one is. "
                    "Start one by another alias that points at it, or force the rollback.",
                )

    def _let_go(self, previous: Sequence[Target], back: set[str], by: str) -> None:
        """Drop the alias that kept a release warm which serves again."""
        if previous and _names(previous) <= back:
            with contextlib.suppress(MovedMeanwhile):
                self._releases.drop(PREVIOUS, by=by, why="it serves again", expected=previous)

    def _undone(self, alias: str, gone: str, why: str) -> str | None:
        """Mark the promotion of what is gone as taken back."""
        for rollout in self._rollouts.all(alias, {PROMOTED}):
            if rollout.candidate == gone:
                self._rollouts.write(rollout.id, {PROMOTED}, status=ROLLED_BACK, reason=why)
                return rollout.id
        return None


def history_of(moves: Sequence[AliasMove]) -> History:
    """Return what led an alias.

    Args:
        moves: Its moves, the newest first.
    """
    stack: list[Reign] = []
    went_back: AliasMove | None = None
    if moves and (leader := leading(moves[-1].before)) is not None:
        stack.append(Reign(leader, moves[-1].before, moves[-1].before))
    for move in reversed(moves):
        went_back = None
        leader = leading(move.after)
        if leader is None:  # the alias was dropped
            continue
        if stack and stack[-1].leader == leader:
            taken = _names(stack[-1].last) - _names(move.after)
            # What was there when the reign began goes with the end of a promotion.
            if taken and not taken & _names(stack[-1].first):
                went_back = move
            stack[-1] = replace(stack[-1], last=move.after)
        elif len(stack) > 1 and stack[-2].leader == leader:
            went_back = move
            stack[-2:] = [replace(stack[-2], last=move.after)]
        else:
            stack.append(Reign(leader, move.after, move.after))
    return History(tuple(stack), went_back)


def without(targets: Sequence[Target], release: str) -> tuple[Target, ...]:
    """Return the live targets but one, with weights that add up to 1 again."""
    left = [t for t in targets if t.mode == "live" and t.release != release and t.weight > 0]
    total = sum(target.weight for target in left)
    return tuple(replace(target, weight=target.weight / total) for target in left)


def _names(targets: Sequence[Target]) -> set[str]:
    return {target.release for target in targets}


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
