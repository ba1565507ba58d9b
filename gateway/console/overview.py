"""Overview: each alias with what it serves, how it is and how busy; and what is under way."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from gateway.console import drawing
from gateway.console.access import Looking
from gateway.console.formats import lasting, number
from gateway.console.parts import Parts
from gateway.store.activity import Activity, Pace
from gateway.store.engines import Engines, EngineState
from gateway.store.health import AliasHealth, Healths
from gateway.store.monitoring import Monitoring, MonitorState
from gateway.store.overview import Overview
from gateway.store.releases import Releases, Target, leading
from gateway.store.retraining import CLOSED, Retraining
from gateway.store.rollouts import LIVE, Rollout, Rollouts

SPANS = {
    "1h": (3600.0, 60, "hour"),
    "24h": (86_400.0, 96, "24 hours"),
    "7d": (604_800.0, 84, "7 days"),
}
_SIGNALS = {
    "all": "drift",
    "feedback": "harm: scores",
    "failed": "harm: failures",
    "refusal": "harm: refusals",
    "probes": "harm: probes",
    "ungrounded": "harm: citations",
}


@dataclass(frozen=True, slots=True)
class Meter:
    """Evidence of the monitor on its way to its threshold; `picture` shows it."""

    name: str
    evidence: float
    threshold: float

    @property
    def said(self) -> str:
        """In words, such as `3.2 of 20`."""
        return f"{number(self.evidence)} of {number(self.threshold)}"

    @property
    def picture(self) -> str:
        """As a bar."""
        return drawing.meter(self.evidence, self.threshold, f"{self.name}: {self.said}")

    @property
    def is_high(self) -> bool:
        """Whether the threshold is reached."""
        return self.evidence >= self.threshold


@dataclass(frozen=True, slots=True)
class Served:
    """An alias as the overview shows it."""

    name: str
    targets: Sequence[Target]
    ready: Counter[str]
    health: AliasHealth
    monitored: MonitorState | None
    rollout: Rollout | None
    pace: Pace

    @property
    def leader(self) -> str | None:
        """The release that gets most of the traffic."""
        return leading(self.targets)

    @property
    def meters(self) -> list[Meter]:
        """The evidence that is collected, the drift of all signals first."""
        return [] if self.monitored is None else meters(self.monitored)

    @property
    def requests(self) -> str:
        """Requests as a picture."""
        steps = self.pace.steps
        label = f"{self.pace.requests:,} requests, {self.pace.failed:,} of them failed"
        return drawing.bars([s.requests for s in steps], [s.failed for s in steps], label)

    @property
    def latency(self) -> str:
        """The 95th percentile of durations as a picture."""
        label = f"95th percentile of durations, {lasting(self.pace.p95_s)} over all"
        return drawing.spark([step.p95_s for step in self.pace.steps], label)

    @property
    def split(self) -> str:
        """The shares of its releases as a picture."""
        live = [t for t in self.targets if t.mode == "live"]
        said = ", ".join(f"{t.release} {t.weight:.0%}" for t in live)
        return drawing.shares([(t.weight, f"p{n % 4}") for n, t in enumerate(live)], said)


def meters(state: MonitorState) -> list[Meter]:
    """Return the evidence of a monitored release, as far as there is any."""
    found = [
        Meter(shown, signal["evidence"], signal["threshold"])
        for name, shown in _SIGNALS.items()
        if (signal := state.signals.get(name)) is not None
        and isinstance(signal.get("evidence"), int | float)
        and math.isfinite(signal["threshold"])
    ]
    return found


def router(parts: Parts) -> APIRouter:
    """Return the route of the overview, and that of the part of it that renews itself."""
    pages = APIRouter()
    seen = _Reader(parts)

    @pages.get("/")
    def overview(request: Request, viewer: Looking, span: str = "1h") -> Response:
        span = span if span in SPANS else "1h"
        return parts.pages.show(request, viewer, "overview.html", **seen.read(span))

    @pages.get("/overview/live")
    def live(request: Request, viewer: Looking, span: str = "1h") -> Response:
        span = span if span in SPANS else "1h"
        return parts.pages.show(request, viewer, "part_overview.html", **seen.read(span))

    return pages


class _Reader:
    def __init__(self, parts: Parts) -> None:
        self._database = parts.database

    def read(self, span: str) -> dict[str, Any]:
        database, now = self._database, time.time()
        seconds, steps, _ = SPANS[span]
        engines = Engines(database).all()
        ready = Counter(e.release for e in engines if e.state is EngineState.READY)
        health = {each.alias: each for each in Healths(database).all()}
        states = {(s.alias, s.release): s for s in Monitoring(database).states()}
        rollouts = {each.alias: each for each in Rollouts(database).all(among=LIVE)}
        activity = Activity(database)
        aliases = [
            Served(
                name,
                targets,
                ready,
                health.get(name, AliasHealth(name, "HEALTHY", {}, 0.0)),
                states.get((name, leading(targets) or "")),
                rollouts.get(name),
                activity.pace(now - seconds, now, steps, name),
            )
            for name, targets in sorted(Releases(database).aliases().items(), key=_by_weight)
        ]
        return {
            "aliases": aliases,
            "engines": engines,
            "moves": Releases(database).moves(limit=6),
            "transitions": Healths(database).transitions(limit=6),
            "requests": [r for r in Retraining(database).all(limit=10) if r.status != CLOSED],
            "jobs": {k: v for k, v in Overview(database).jobs().items() if v},
            "span": span,
            "spans": SPANS,
        }


def _by_weight(item: tuple[str, Sequence[Target]]) -> tuple[bool, str]:
    # `production` is what people come for.
    return item[0] != "production", item[0]
