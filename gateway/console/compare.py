"""Compare: blind comparisons, what people have shown, the raters; invite, close, export."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Request, Response

from gateway.api.comparisons import LINK, exported
from gateway.comparing.consensus import SPLIT
from gateway.console import drawing
from gateway.console.access import Changing, Looking
from gateway.console.drawing import Level, Series
from gateway.console.parts import Parts
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.store.comparisons import BASELINE, BOTH_BAD, CANDIDATE, TIE, Comparison, Comparisons
from gateway.store.raters import DAY_S, Invite, Raters

# Ends of the bar are what was won and lost; between them what decides nothing.
_PARTS = ((CANDIDATE, "p0"), (TIE, "p2"), (BOTH_BAD, "p3"), (SPLIT, "none"), (BASELINE, "p1"))
_LINES = (("better", "s1"), ("not worse", "s4"), ("worse", "s2"))


@dataclass(frozen=True, slots=True)
class Rater:
    """A rater as they are shown: the invite, what it has come to, and whether it still opens."""

    invite: Invite
    told: Mapping[str, Any] | None
    state: str


def router(parts: Parts) -> APIRouter:
    """Return the routes of comparisons."""
    pages = APIRouter(prefix="/compare")
    comparisons, raters = Comparisons(parts.database), Raters(parts.database)

    def known(id: str) -> Comparison:
        found = comparisons.get(id)
        if found is None:
            raise NotFound(f"There is no comparison `{id}`.")
        return found

    @pages.get("")
    def listing(request: Request, viewer: Looking) -> Response:
        found, more = comparisons.page(limit=100)
        return parts.pages.show(request, viewer, "compare.html", comparisons=found, more=more)

    @pages.get("/{id}")
    def one(request: Request, viewer: Looking, id: str) -> Response:
        shown = _shown(known(id), raters.invites(id))
        return parts.pages.show(request, viewer, "comparison.html", **shown)

    @pages.get("/{id}/live")
    def live(request: Request, viewer: Looking, id: str) -> Response:
        shown = _shown(known(id), raters.invites(id))
        return parts.pages.show(request, viewer, "part_comparison.html", **shown)

    @pages.get("/{id}/export.{format}")
    def export(_: Looking, id: str, format: Literal["jsonl", "csv"]) -> Response:
        return exported(known(id), format, comparisons, raters)

    @pages.post("/{id}/invites")
    def invite(
        request: Request,
        viewer: Changing,
        id: str,
        name: Annotated[str, Form(max_length=100)],
        days: Annotated[float, Form(ge=0.01, le=366)] = 14.0,
    ) -> Response:
        comparison = known(id)
        if comparison.closed_at is not None:
            raise Conflict("The comparison is closed: it takes no votes.")
        now = time.time()
        # A form that is sent twice must not leave a second link that nobody has noted.
        if any(i.name == name.strip() and i.is_open(now) for i in raters.invites(id)):
            raise Conflict(
                f"{name.strip()} is invited already; the link was shown when it was made. Revoke "
                "that one to make another."
            )
        try:
            made, token = raters.invite(id, name, by=viewer.name, lasts_s=days * DAY_S)
        except ValueError as error:
            raise InvalidRequest(f"{error}.".capitalize(), param="name") from None
        url = f"{request.url.scheme}://{request.url.netloc}{LINK}/{token}"
        return parts.pages.show(
            request, viewer, "invite_made.html", comparison=comparison, invite=made, url=url
        )

    @pages.post("/{id}/invites/{invite_id}/revoke")
    def revoke(viewer: Changing, id: str, invite_id: str) -> Response:
        found = raters.get(invite_id)
        if found is None or found.comparison != known(id).id:
            raise NotFound("There is no such invite.")
        raters.revoke(invite_id)
        told = f"{found.name}'s link opens nothing any more. What was said stays."
        return parts.pages.told(f"/compare/{id}", told)

    @pages.post("/{id}/close")
    def close(
        viewer: Changing, id: str, reason: Annotated[str, Form(max_length=2000)] = ""
    ) -> Response:
        known(id)
        if not comparisons.close(id, by=viewer.name, why=reason.strip()):
            return parts.pages.told(f"/compare/{id}", "It was closed already.", "no")
        return parts.pages.told(f"/compare/{id}", "The comparison takes no more votes.")

    return pages


def _shown(comparison: Comparison, invites: Sequence[Invite]) -> dict[str, Any]:
    standing = comparison.standing
    return {
        "comparison": comparison,
        "standing": standing,
        "bar": None if standing is None else _bar(standing["consensus"], standing["decided"]),
        "curve": None if standing is None else _curve(standing),
        "progress": drawing.progress(
            0 if standing is None else standing["decided"], comparison.items, "items decided"
        ),
        "raters": [_rater(invite, standing) for invite in invites],
    }


def _rater(invite: Invite, standing: Mapping[str, Any] | None) -> Rater:
    if invite.revoked_at is not None:
        state = "revoked"
    elif not invite.is_open(time.time()):
        state = "expired"
    else:
        state = "open" if invite.opened_at is None else "rating"
    return Rater(invite, (standing or {}).get("raters", {}).get(invite.id), state)


def _bar(consensus: Mapping[str, int], decided: int) -> str | None:
    """Return how the decided items are divided."""
    if not decided:
        return None
    parts = [(consensus[name] / decided, css) for name, css in _PARTS if consensus[name]]
    told = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in consensus.items())
    return drawing.shares(parts, f"of {decided} decided items: {told}")


def _curve(standing: Mapping[str, Any]) -> str | None:
    """Return the three bets over the decided items, with what they must reach."""
    points = standing["curve"]
    if len(points) < 2:
        return None
    series = [
        Series(name, [(0, 1.0), *((p[0], 10 ** p[place]) for p in points)], css)
        for place, (name, css) in enumerate(_LINES, 1)
    ]
    limit = standing["threshold"]
    last = ", ".join(f"{each.name} {each.points[-1][1]:.3g}" for each in series)
    return drawing.chart(
        series,
        f"evidence over {points[-1][0]} decided items: {last}; a verdict at {limit:g}",
        levels=[Level(f"{limit:g}: a verdict", limit)],
        x_name="decided items",
        log=True,
    )
