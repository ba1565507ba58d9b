"""Accounts for every request of the run: what the customers saw, beside what the gateway wrote."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway.store.database import Database
from gateway.store.releases import AliasMove, Releases
from gateway.store.traffic import Traffic

# Workers read a moved alias within this time, in seconds; until then both releases are right.
_MOVING_S = 2.0
_ENDS = ("stop", "length")
# From a kill until what was killed is back, in seconds: on two busy cores an engine takes longest.
KILLED_S = 180.0


@dataclass(frozen=True, slots=True)
class Accounts:
    """Requests by what became of them; each list holds the lines of the crowd's log.

    Attributes:
        asked: All requests.
        lost: Without an answer.
        truncated: Whose answer did not come to its end.
        wrong_release: Answered by a release that the alias did not point at.
        unrecorded: That the traffic log does not know, or knows otherwise than the customer.
    """

    asked: list[dict[str, Any]]
    lost: list[dict[str, Any]]
    truncated: list[dict[str, Any]]
    wrong_release: list[dict[str, Any]]
    unrecorded: list[dict[str, Any]]

    @property
    def clean(self) -> bool:
        """Return whether every request got a whole answer of the right release, and is known."""
        return not (self.lost or self.truncated or self.wrong_release or self.unrecorded)

    def beside(self, kills: Sequence[float]) -> "Accounts":
        """Return the accounts without what a kill explains; kills are Unix seconds.

        Whose process is killed gets no answer, or no whole one, and nobody else writes it down. A
        wrong release is explained by nothing.
        """

        def unexplained(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [
                line
                for line in lines
                if not any(k - line["seconds"] <= line["at"] <= k + KILLED_S for k in kills)
            ]

        return replace(
            self,
            lost=unexplained(self.lost),
            truncated=unexplained(self.truncated),
            unrecorded=unexplained(self.unrecorded),
        )


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of the crowd's log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def account(lines: list[dict[str, Any]], url: str, alias: str = "production") -> Accounts:
    """Compare what customers saw with the store at `url`."""
    database = Database(url)
    try:
        moves = list(reversed(Releases(database).moves(alias, 10_000)))
        traffic = Traffic(database)
        answered = [line for line in lines if "error" not in line]
        unrecorded = []
        for line in answered:
            record = traffic.get(line["id"])
            seen = record and (record.release, record.outcome, record.alias)
            if seen != (line["release"], "done", alias):
                unrecorded.append(line)
    finally:
        database.close()
    return Accounts(
        asked=lines,
        lost=[line for line in lines if "error" in line],
        truncated=[line for line in answered if line["finish"] not in _ENDS],
        wrong_release=[line for line in answered if line["release"] not in _allowed(moves, line)],
        unrecorded=unrecorded,
    )


def _allowed(moves: Sequence[AliasMove], line: dict[str, Any]) -> set[str]:
    """Return the releases that may answer a request: those of the alias while it was under way."""
    began, ended = line["at"], line["at"] + line["seconds"]
    allowed: set[str] = set()
    for place, move in enumerate(moves):
        until = moves[place + 1].at if place + 1 < len(moves) else float("inf")
        if move.at <= ended and until + _MOVING_S >= began:
            allowed |= {target.release for target in move.after if target.mode == "live"}
    return allowed
