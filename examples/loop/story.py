"""The run as one page: timeline, evidence, accuracy before, during and after, latency, requests."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from examples.loop.accounts import Accounts
from examples.loop.measure import Measured
from examples.loop.picture import draw
from examples.loop.timeline import Evidence, Moment

_FRAME = Path(__file__).parents[2] / "training" / "templates"
_KINDS = frozenset({"step", "health", "alias", "retraining", "rollout", "trouble", "kill"})


@dataclass(slots=True)
class Story:
    """What a run leaves to be told.

    Attributes:
        title: The one sentence.
        began: Unix seconds, as all times here.
        shifted: When the new topics came up.
        promoted: When the new release answered alone; None: never.
        moments: What happened.
        evidence: After each window.
        threshold: Evidence from which drift alarms.
        measured: Exact match, in the order of time.
        requests: Lines of the customers' log.
        accounts: What became of them.
        rollouts: Each as plain JSON, with its evidence.
        attribution: Which part was at fault, as the retraining found.
        wrong: What did not end as it must; empty where all did.
        versions: Of what ran.
        kills: How many processes were killed by -9.
    """

    title: str
    began: float
    shifted: float
    promoted: float | None
    moments: Sequence[Moment]
    evidence: Sequence[Evidence]
    threshold: float
    measured: Sequence[Measured]
    requests: Sequence[dict[str, Any]]
    accounts: Accounts
    rollouts: Sequence[dict[str, Any]]
    attribution: dict[str, Any] | None
    wrong: Sequence[str]
    versions: dict[str, str] = field(default_factory=dict)
    kills: int = 0

    def write(self, folder: Path) -> Path:
        """Write `story.html` and `story.json`; returns the page."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "story.json").write_text(json.dumps(self._plain(), indent=1) + "\n")
        page = folder / "story.html"
        page.write_text(self.page(), encoding="utf-8")
        return page

    def page(self) -> str:
        """Return the page: one file, without scripts or outside resources."""
        from jinja2 import Environment, FileSystemLoader
        from markupsafe import Markup

        folders = [Path(__file__).parent / "templates", _FRAME]
        environment = Environment(loader=FileSystemLoader(folders), autoescape=True)
        return environment.get_template("story.html").render(
            story=self,
            facts=self._facts(),
            shown=[moment for moment in self.moments if moment.kind in _KINDS],
            minutes=lambda at: f"{(at - self.began) / 60:.1f}",
            # Drawn by matplotlib of numbers alone.
            picture=Markup(draw(self)),  # noqa: S704
        )

    def _facts(self) -> list[tuple[str, str]]:
        accounts = self.accounts
        before, after = self.measured[0], self.measured[-1]
        found = [
            ("requests of customers", f"{len(accounts.asked):,}"),
            ("lost", f"{len(accounts.lost):,}"),
            ("truncated", f"{len(accounts.truncated):,}"),
            ("of a wrong release", f"{len(accounts.wrong_release):,}"),
            ("right on new topics", f"{before.new.value:.0%} → {after.new.value:.0%}"),
            ("right on known topics", f"{before.known.value:.0%} → {after.known.value:.0%}"),
        ]
        if self.kills:
            found.append(("processes killed by -9", f"{self.kills}"))
        if self.promoted is not None:
            took = (self.promoted - self.shifted) / 60
            found.append(("from the shift to the new release", f"{took:.0f} min"))
        return found

    def _plain(self) -> dict[str, Any]:
        accounts = self.accounts
        counts = {name: len(getattr(accounts, name)) for name in Accounts.__dataclass_fields__}
        return {
            "title": self.title, "began": self.began, "shifted": self.shifted,
            "promoted": self.promoted, "wrong": list(self.wrong), "kills": self.kills,
            "requests": counts,
            "measured": [asdict(each) for each in self.measured],
            "moments": [asdict(each) for each in self.moments],
            "evidence": [asdict(each) for each in self.evidence],
            "rollouts": list(self.rollouts), "attribution": self.attribution,
            "versions": self.versions,
        }  # fmt: skip
