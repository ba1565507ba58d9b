"""What people do with rollouts: start, pause, resume, approve, abort; by the API or by command."""

from typing import Any

from gateway.store.database import Database
from gateway.store.releases import Releases, leading
from gateway.store.rollouts import OVER, Rollout, Rollouts, RolloutUnderWay, rollout_id

STEPS = ("pause", "resume", "approve", "abort")


class CannotSteer(Exception):
    """What is asked of a rollout cannot be done.

    Attributes:
        code: `alias_not_found`, `release_not_found`, `release_served_already`, `rollout_under_way`,
            `rollout_not_found` or `invalid_rollout_state`.
        param: The field at fault, where it is one.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class Steering:
    """Writes what people want of rollouts."""

    def __init__(self, database: Database) -> None:
        self._rollouts = Rollouts(database)
        self._releases = Releases(database)

    def start(self, alias: str, candidate: str, plan: dict[str, Any], *, by: str) -> Rollout:
        """Ask for a rollout of `candidate` to `alias`.

        Args:
            alias: Where it is to be served.
            candidate: The release.
            plan: Fields of `training.rollout.plan.RolloutPlan`, unread here.
            by: Who asks.

        Raises:
            CannotSteer: There is no such alias or release, it serves already, or another rollout
                of the alias is under way.
        """
        previous = leading(self._releases.aliases().get(alias, ()))
        if previous is None:
            raise CannotSteer("alias_not_found", f"There is no alias `{alias}`.", "alias")
        if self._releases.get(candidate) is None:
            raise CannotSteer(
                "release_not_found", f"There is no release `{candidate}`.", "candidate"
            )
        if candidate == previous:
            raise CannotSteer(
                "release_served_already", f"`{alias}` serves `{candidate}` already.", "candidate"
            )
        wanted = Rollout(
            rollout_id(), alias, candidate, previous, plan, evidence={"asked": {"by": by}}
        )
        try:
            return self._rollouts.add(wanted)
        except RolloutUnderWay:
            live = self._rollouts.live(alias)
            which = "Another" if live is None else f"`{live.id}`, of `{live.candidate}`,"
            raise CannotSteer(
                "rollout_under_way",
                f"{which} is on its way to `{alias}`. Wait for its end, or abort it.",
            ) from None

    def steer(self, id: str, step: str, *, by: str) -> Rollout:
        """Take one of `STEPS`; taken by another already, it changes nothing.

        Raises:
            CannotSteer: There is no such rollout, it is over, or being aborted.
        """
        done = {
            "pause": lambda: self._rollouts.ask(id, "pause", by),
            "resume": lambda: self._rollouts.ask(id, None, by),
            "approve": lambda: self._rollouts.approve(id, by),
            "abort": lambda: self._rollouts.ask(id, "abort", by),
        }[step]()
        rollout = self._rollouts.get(id)
        if rollout is None:
            raise CannotSteer("rollout_not_found", f"There is no rollout `{id}`.")
        if not done and not _is_so_already(rollout, step):
            state = rollout.status if rollout.status in OVER else "being aborted"
            reason = f" ({rollout.reason})" if rollout.reason else ""
            raise CannotSteer(
                "invalid_rollout_state",
                f"The rollout is {state}{reason}; it cannot {step} any more.",
            )
        return rollout


def _is_so_already(rollout: Rollout, step: str) -> bool:
    if rollout.status in OVER:
        return False
    if rollout.wish == "abort":
        return step == "abort"
    return step == "approve" and rollout.approved_by is not None
