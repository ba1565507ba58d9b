"""Drift: what the monitor knows of an alias: its evidence over time, its topics, its report."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response

from gateway.console import drawing
from gateway.console.access import Changing, Looking
from gateway.console.drawing import Level, Series
from gateway.console.overview import meters
from gateway.console.pages import BASE
from gateway.console.parts import Parts
from gateway.errors import NotFound
from gateway.store.health import AliasHealth, Healths
from gateway.store.monitoring import Monitoring, MonitorState, StoredWindow
from gateway.store.releases import Releases, leading
from gateway.store.retraining import Retraining

_WINDOWS = 400


def router(parts: Parts) -> APIRouter:
    """Return the routes of drift."""
    pages = APIRouter(prefix="/drift")
    monitoring, releases = Monitoring(parts.database), Releases(parts.database)

    @pages.get("")
    def drift(request: Request, viewer: Looking, alias: str = "", release: str = "") -> Response:
        states = monitoring.states()
        aliases = releases.aliases()
        names = sorted(
            {s.alias for s in states} | set(aliases), key=lambda n: (n != "production", n)
        )
        if not alias and names:
            alias = names[0]
        mine = [state for state in states if state.alias == alias]
        state = chosen(mine, release or leading(aliases.get(alias, ())) or "")
        windows = [] if state is None else _last_windows(monitoring, state)
        health = Healths(parts.database).get(alias) or AliasHealth(alias, "HEALTHY", {}, 0.0)
        return parts.pages.show(
            request,
            viewer,
            "drift.html",
            aliases=names,
            alias=alias,
            states=mine,
            state=state,
            meters=[] if state is None else meters(state),
            curve="" if state is None else curve(state, windows),
            windows=windows,
            topics=[] if state is None else topics(state),
            report=None if state is None else report(state),
            health=health,
            transitions=Healths(parts.database).transitions(alias, 8),
            is_served=alias in aliases,
        )

    @pages.post("/retrain")
    def retrain(
        viewer: Changing,
        alias: Annotated[str, Form(max_length=200)],
        reason: Annotated[str, Form(max_length=2000)] = "",
    ) -> Response:
        release = leading(releases.aliases().get(alias, ()))
        if release is None:
            raise NotFound(f"There is no alias `{alias}`.")
        why = reason.strip() or "asked for in the console"
        request, new = Retraining(parts.database).open(
            alias, release, why, "person", {"by": viewer.name}
        )
        if not new:
            told = f"A retraining of {alias} is asked for already ({request.id})."
            return parts.pages.told(f"/drift?alias={alias}", told, "no")
        told = f"A retraining of {alias} is asked for ({request.id}). A worker takes it up."
        return parts.pages.told(f"/drift?alias={alias}", told)

    return pages


def chosen(states: Sequence[MonitorState], release: str) -> MonitorState | None:
    """Return the state of a release, or of the one that was watched most."""
    named = [state for state in states if state.release == release]
    return next(iter(named), None) or max(states, key=lambda s: s.windows, default=None)


def _last_windows(monitoring: Monitoring, state: MonitorState) -> list[StoredWindow]:
    after = state.windows - _WINDOWS - 1
    return monitoring.windows(state.alias, state.release, after=after, limit=_WINDOWS + 1)


def curve(state: MonitorState, windows: Sequence[StoredWindow]) -> str:
    """Return the evidence of drift and of harm by scores over the windows, as a picture."""
    series, levels = [], []
    for name, shown, css in (("all", "drift", "s1"), ("feedback", "harm: scores", "s2")):
        points = [(float(w.number), w.evidence[name]) for w in windows if name in w.evidence]
        if len(points) > 1:
            first = points[0][0]
            series.append(Series(shown, [(x - first, min(y, 1e12)) for x, y in points], css))
            threshold = (state.signals.get(name) or {}).get("threshold")
            if threshold:
                levels.append(Level(f"{threshold:,.0f}: {shown}", threshold, "limit bad"))
    if not series:
        return ""
    label = "Evidence over the last windows: " + ", ".join(
        f"{each.name} {each.points[-1][1]:.3g}" for each in series
    )
    return drawing.chart(series, label, levels=levels, x_name="windows", log=True)


def topics(state: MonitorState) -> list[dict[str, Any]]:
    """Return the topics with pictures of their shares, the largest first."""
    return [
        topic
        | {
            "now": drawing.shares(
                [(topic["share"], "p1" if topic.get("news") else "p0"),
                 (1 - topic["share"], "none")],
                f"{topic['share']:.0%} of the requests now",
            ),
            "before": drawing.shares(
                [(topic["reference_share"], "p2"), (1 - topic["reference_share"], "none")],
                f"{topic['reference_share']:.0%} in the reference",
            ),
        }
        for topic in sorted(state.topics, key=lambda topic: -topic["share"])
    ]  # fmt: skip


def report(state: MonitorState) -> str | None:
    """Return where the last report is shown."""
    parts = (state.report or "").split("/")
    return (
        None
        if len(parts) != 4 or parts[1] != "reports"
        else f"{BASE}/reports/{parts[2]}/{parts[3]}"
    )
