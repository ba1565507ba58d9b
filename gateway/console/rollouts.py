"""Rollouts: the steps of each, its evidence as curves; start, pause, go on, approve, abort."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response

from gateway.console import drawing
from gateway.console.access import Changing, Looking
from gateway.console.drawing import Level, Series
from gateway.console.parts import Parts
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.store.releases import Releases
from gateway.store.rollouts import OVER, Rollout, Rollouts
from gateway.store.steering import STEPS, CannotSteer, Steering

_DONE = {
    "pause": "The rollout pauses where it is.",
    "resume": "The rollout goes on.",
    "approve": "You approved the promotion. It is made once the evidence suffices.",
    "abort": "The rollout is being aborted: the old release serves alone again.",
}
# A stage without a plan of its own comes in this order.
_FIRST, _LAST = ("start", "staging"), ("approval", "promote")


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage as it is shown: what was measured in it, and how it ended.

    Attributes:
        name: Its name.
        state: `passed`, `failed`, `running`, or `to come`.
        told: Its evidence.
    """

    name: str
    state: str
    told: dict[str, Any]

    @property
    def figures(self) -> list[tuple[str, str]]:
        """What was measured, in words."""
        found = []
        for name, value in self.told.items():
            if name == "requests" and self.told.get("missing"):
                continue
            if name in ("requests", "questions", "answered", "files_checked"):
                found.append((name.replace("_", " "), f"{value:,}"))
            elif name in ("latency_ratio", "length_ratio") and isinstance(value, dict):
                middle, low, high = (value.get(key) for key in ("value", "low", "high"))
                if middle is not None:
                    between = f" ({low:.2f} to {high:.2f})" if None not in (low, high) else ""
                    found.append((name.replace("_", " "), f"{middle:.2f} times{between}"))
        return found


def router(parts: Parts) -> APIRouter:
    """Return the routes of rollouts."""
    pages = APIRouter(prefix="/rollouts")
    rollouts, steering = Rollouts(parts.database), Steering(parts.database)
    releases = Releases(parts.database)

    def known(id: str) -> Rollout:
        rollout = rollouts.get(id)
        if rollout is None:
            raise NotFound(f"There is no rollout `{id}`.")
        return rollout

    @pages.get("")
    def listing(request: Request, viewer: Looking, candidate: str = "") -> Response:
        return parts.pages.show(
            request,
            viewer,
            "rollouts.html",
            rollouts=rollouts.all(),
            aliases=sorted(releases.aliases()),
            releases=[release.id for release in reversed(releases.all())],
            candidate=candidate,
        )

    @pages.post("")
    def start(
        viewer: Changing,
        alias: Annotated[str, Form()],
        candidate: Annotated[str, Form()],
        approval: Annotated[str, Form(pattern="^(auto|human|comparison)$")] = "human",
    ) -> Response:
        try:
            made = steering.start(alias, candidate, {"approval": approval}, by=viewer.name)
        except CannotSteer as error:
            raise _refusal(error) from None
        told = f"{candidate} is on its way to {alias}. A worker (driftgate worker) takes it up."
        return parts.pages.told(f"/rollouts/{made.id}", told)

    @pages.get("/{id}")
    def one(request: Request, viewer: Looking, id: str) -> Response:
        return parts.pages.show(request, viewer, "rollout.html", **_shown(known(id)))

    @pages.get("/{id}/live")
    def live(request: Request, viewer: Looking, id: str) -> Response:
        return parts.pages.show(request, viewer, "part_rollout.html", **_shown(known(id)))

    @pages.get("/{id}/abort")
    def confirm(request: Request, viewer: Looking, id: str) -> Response:
        return parts.pages.show(request, viewer, "abort.html", rollout=known(id))

    @pages.post("/{id}/{step}")
    def steer(viewer: Changing, id: str, step: str) -> Response:
        if step not in STEPS:
            raise NotFound("There is no such step.")
        before = known(id)
        try:
            after = steering.steer(id, step, by=viewer.name)
        except CannotSteer as error:
            raise _refusal(error) from None
        if step == "approve" and before.approved_by is not None:
            told = f"{after.approved_by} had approved it already: nothing was changed."
            return parts.pages.told(f"/rollouts/{id}", told, "no")
        return parts.pages.told(f"/rollouts/{id}", _DONE[step])

    return pages


def _refusal(error: CannotSteer) -> Exception:
    if error.code.endswith("not_found") and error.param is None:
        return NotFound(str(error))
    kind = Conflict if error.param is None else InvalidRequest
    return kind(str(error), param=error.param)


def _shown(rollout: Rollout) -> dict[str, Any]:
    latest = latest_evidence(rollout)
    return {
        "rollout": rollout,
        "stages": stages(rollout),
        "is_over": rollout.status in OVER,
        "needs_approval": rollout.plan.get("approval") == "human",
        "evidence": latest,
        "promote": curves(latest, "promote", "shown that it is not worse"),
        "harm": curves(latest, "rollback", "roll back"),
    }


def stages(rollout: Rollout) -> list[Stage]:
    """Return the stages of a rollout in their order, those to come included."""
    shares = rollout.plan.get("shares") or (0.01, 0.05, 0.25)
    shadow = ("shadow",) if rollout.plan.get("shadow_share", 0.2) else ()
    canaries = [f"canary-{share * 100:.4g}" for share in shares]
    found = []
    for name in (*_FIRST, *shadow, *canaries, *_LAST):
        told = rollout.evidence.get(name)
        if isinstance(told, dict):
            state = told.get("verdict") or (rollout.status if rollout.status in OVER else "running")
        else:
            told, state = {}, "not reached" if rollout.status in OVER else "to come"
        found.append(Stage(name, state, told))
    return found


def latest_evidence(rollout: Rollout) -> dict[str, Any]:
    """Return the evidence of the last stage that bets; each goes on from the one before."""
    bets = [
        told
        for told in rollout.evidence.values()
        if isinstance(told, dict) and isinstance(told.get("curve"), list)
    ]
    return max(bets, key=lambda told: told.get("started_at") or 0.0, default={})


def curves(evidence: dict[str, Any], which: str, limit_name: str) -> str:
    """Return the e-processes of failures and scores as a picture, with their limit."""
    columns: Sequence[str] = evidence.get("curve_columns") or ()
    points: Sequence[Sequence[float]] = evidence.get("curve") or ()
    if len(points) < 2:
        return ""
    series = [
        Series(name, [(p[0], p[columns.index(column)]) for p in points], css)
        for name, column, css in (
            ("failures", f"failure_{which}", "s1"),
            ("scores", f"score_{which}", "s2"),
        )
        if column in columns
    ]
    limit = (evidence.get("needed") or {}).get(which)
    css = "limit good" if which == "promote" else "limit bad"
    levels = [] if limit is None else [Level(f"{limit:g}: {limit_name}", limit, css)]
    last = ", ".join(f"{each.name} {each.points[-1][1]:.3g}" for each in series)
    label = f"e-values to {which} over {points[-1][0]:.0f} requests: {last}, limit {limit}"
    return drawing.chart(series, label, levels=levels, x_name="requests", log=True)
