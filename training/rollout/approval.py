"""Approval: people agree, where the plan asks for them; the canary goes on watching meanwhile.

With `human` one person approves. With `comparison` people have compared answers of both releases
blindly (`driftgate compare`): a verdict of better or not worse passes, worse fails, and as long as
the votes show neither, it waits for more of them. The newest comparison of the two releases counts;
earlier ones are told with it, so that nobody compares until it fits.
"""

from typing import Any

from gateway.store.comparisons import Comparison, Comparisons
from gateway.store.rollouts import RUNNING, WAITING, Rollout
from training.rollout.evidence import Evidence
from training.rollout.rolling import FAILED, PASSED, Course, Outcome

_TOLD = (
    "verdict", "shown", "reason", "decided", "votes", "consensus", "preference", "agreement",
    "evidence", "threshold", "missing",
)  # fmt: skip


class Approval:
    """Waits for people, and for none where the plan says `auto`."""

    busy, timeout_s = False, None

    def __init__(self, course: Course, evidence: Evidence) -> None:
        self._course, self._evidence = course, evidence
        self._by = course.plan.approval
        self.status = RUNNING if self._by == "auto" else WAITING
        self._told: dict[str, Any] = {"approval": self._by}

    def begin(self) -> None:
        return

    def look(self, row: Rollout) -> Outcome | None:
        if self._by == "auto":
            return Outcome(PASSED, "No approval is asked for.")
        self._evidence.read(self._course.tools.clock())
        self._told |= self._evidence.told()
        harm = self._evidence.harm()
        if harm is not None:
            return Outcome(FAILED, harm)
        return self._compared(row) if self._by == "comparison" else self._approved(row)

    def told(self) -> dict[str, Any]:
        return self._told

    def close(self) -> None:
        return

    def _approved(self, row: Rollout) -> Outcome | None:
        if row.approved_by is None:
            return None
        self._told["approved_by"] = row.approved_by
        return Outcome(PASSED, f"Approved by {row.approved_by}.")

    def _compared(self, row: Rollout) -> Outcome | None:
        found = Comparisons(self._course.tools.database).between(row.previous, row.candidate)
        if not found:
            self._told["missing"] = (
                "people have not compared the two releases: "
                f"driftgate compare create {row.alias} --candidate {row.candidate}"
            )
            return None
        newest, *earlier = found
        self._told["comparison"] = compared(newest)
        self._told["earlier_comparisons"] = [compared(one) for one in earlier]
        standing = newest.standing or {}
        verdict, reason = standing.get("verdict"), standing.get("reason", "nobody has voted yet")
        self._told["missing"] = None
        if verdict == "PASS":
            return Outcome(PASSED, f"People compared blindly ({newest.id}): {reason}")
        if verdict == "FAIL":
            return Outcome(FAILED, f"People compared blindly ({newest.id}): {reason}")
        is_closed = newest.closed_at is not None
        ended = "is closed without a verdict; make another" if is_closed else "needs more votes"
        self._told["missing"] = f"{newest.id} {ended}: {reason}"
        return None


def compared(comparison: Comparison) -> dict[str, Any]:
    """Return what a rollout and its certificate keep of a comparison."""
    names = ("id", "items", "golds", "raters", "margin", "alpha", "created_at", "closed_at")
    kept = {name: getattr(comparison, name) for name in names}
    standing = comparison.standing or {}
    people = standing.get("raters", {}).values()
    return kept | {name: standing.get(name) for name in _TOLD} | {
        "people": len(people), "people_counted": sum(each["counts"] for each in people),
    }  # fmt: skip
