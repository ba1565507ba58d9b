"""How the stage decides: the hold-out, topics that are off, health, and what is drawn by chance."""

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from gateway import wire
from gateway.auth import Principal
from gateway.bodies import Retrieval
from gateway.flow import Deadlines, Flow
from gateway.grounding.books import Books, Standing
from gateway.grounding.stage import GroundingLimits, GroundingStage
from gateway.retrieval_metrics import RetrievalMetrics
from gateway.routing import Route
from gateway.served import Served
from retrieval.gate import Calibration
from retrieval.records import Area, Found, Search
from tests.gateway.flows import drive
from tests.gateway.grounding.scripted import hit

_FACT = "The Karlsruhe office opens at 9:30 on Mondays."
_ASKED = "When does the Karlsruhe office open on Mondays?"
_CALLER = Principal("me", frozenset({"inference"}))


class _Client:
    def __init__(self, found: Found) -> None:
        self.found = found

    async def search(self, search: Search, *, deadline_s: float) -> Found:
        if not search.areas:
            return self.found
        inside = any(area.least < 0.5 for area in search.areas)
        return msgspec.structs.replace(self.found, inside=inside)


async def _ask(
    deadlines: Deadlines,
    books: Books,
    *,
    draw: float = 1.0,
    holdout: float = 0.05,
    question: str = _ASKED,
    **retrieval: Any,
) -> dict[str, Any]:
    """Answer one request; returns its notes."""
    fields = {"mode": "auto", "vector_store_ids": ["vs_mine"]} | retrieval
    messages = [{"role": "user", "content": question}]
    body = msgspec.json.encode({"model": "m", "messages": messages, "retrieval": fields})
    request = wire.parse("chat", body)
    found = Found(hits=(hit("hours", _FACT, updated_at=4e9, topic="hours"),))
    stage = GroundingStage(
        _Client(found),
        lambda: asyncio.to_thread(dict),
        RetrievalMetrics(),
        GroundingLimits(holdout=holdout, deadline_s=2.0),
        lambda: draw,
    )
    stage.learn(books)
    asked: list[bytes] = []

    async def forward(task: Any) -> None:
        asked.append(task.body)

    async def run(flow: Flow) -> dict[str, Any]:
        call = SimpleNamespace(
            flow=flow, limits=b"", begun=False, started=0.0, overhead_s=0.0, whole=lambda *_: None
        )
        served = Served("chat", body, False, "c", "me", "m", "m-1", 0.0)
        task: Any = SimpleNamespace(
            call=call, request=request, route=Route("m", "m-1"), served=served,
            body=request.for_engine("m-1"), editor=None, frames=0,
        )  # fmt: skip
        await stage.answer(task, _CALLER, forward)
        notes: dict[str, Any] = msgspec.json.decode(served.retrieval)
        notes["grounded_prompt"] = bool(asked) and b"<passages>" in asked[-1]
        notes["header"] = call.limits.decode()
        return notes

    return await drive(deadlines, run)


def _books(
    off: bool = False,
    health: str = "HEALTHY",
    cutoff: float | None = 1e9,
    drifted: tuple[Area, ...] = (),
    of: str | None = "m-1",
) -> Books:
    return Books(
        calibrations={"m-1": Calibration(data_cutoff=cutoff)},
        health={"m": Standing(health, of, drifted)},
        switched_off=frozenset({"vs_mine/hours"} if off else ()),
        owners={"vs_mine": "me"},
    )


@pytest.mark.parametrize(
    ("off", "draw", "outcome"),
    [
        (False, 0.9, "grounded"),
        (False, 0.01, "held_out"),
        (True, 0.9, "switched_off"),
        (True, 0.01, "grounded"),
    ],
)
async def test_chance_decides_for_a_small_share_and_says_so(
    deadlines: Deadlines, off: bool, draw: float, outcome: str
) -> None:
    notes = await _ask(deadlines, _books(off), draw=draw)
    assert notes["outcome"] == outcome
    assert notes["drawn"] is True
    assert notes["topic"] == "vs_mine/hours"
    assert notes["grounded_prompt"] is (outcome == "grounded")
    assert f"{outcome};reason=freshness" in notes["header"]


async def test_who_says_always_is_never_held_out(deadlines: Deadlines) -> None:
    notes = await _ask(deadlines, _books(off=True), draw=0.0, mode="always")
    assert notes["outcome"] == "grounded"
    assert "drawn" not in notes


async def test_without_a_hold_out_nothing_counts_as_measured(deadlines: Deadlines) -> None:
    notes = await _ask(deadlines, _books(), draw=0.0, holdout=0.0)
    assert notes["outcome"] == "grounded"
    assert "drawn" not in notes


async def test_an_alias_that_is_warned_of_retrieves_for_what_drifted(deadlines: Deadlines) -> None:
    here, elsewhere = Area((1.0, 0.0), 0.4), Area((0.0, 1.0), 0.9)
    for areas, reason in (((), "health"), ((here, elsewhere), "health"), ((elsewhere,), "none")):
        warned = _books(health="WARN", cutoff=None, drifted=areas)
        assert (await _ask(deadlines, warned))["reason"] == reason
    named = await _ask(deadlines, _books(health="WARN", drifted=(elsewhere,)), mode="always")
    assert named["outcome"] == "grounded"


async def test_a_degraded_alias_retrieves_and_never_guesses(deadlines: Deadlines) -> None:
    assert (await _ask(deadlines, _books(cutoff=None)))["outcome"] == "plain"
    degraded = _books(health="DEGRADED", cutoff=None)
    assert (await _ask(deadlines, degraded))["reason"] == "health"
    notes = await _ask(
        deadlines, degraded, question="Who invented the zeppelin?", insufficient="plain"
    )
    assert notes["outcome"] == "said_so"


async def test_what_is_known_of_one_release_does_not_weigh_on_another(deadlines: Deadlines) -> None:
    """A candidate in canary answers by itself, or nobody would learn what it can."""
    candidate = _books(health="DEGRADED", cutoff=None, of="m-0")
    assert (await _ask(deadlines, candidate))["outcome"] == "plain"
    cleared_by_hand = _books(health="DEGRADED", cutoff=None, of=None)
    assert (await _ask(deadlines, cleared_by_hand))["reason"] == "health"


async def test_a_policy_may_take_passages_that_say_little(deadlines: Deadlines) -> None:
    degraded = _books(health="DEGRADED", cutoff=None)
    notes = await _ask(deadlines, degraded, question="Who invented the zeppelin?", sufficient=0.0)
    assert notes["outcome"] == "grounded"


async def test_hits_below_the_threshold_are_left_out(deadlines: Deadlines) -> None:
    notes = await _ask(deadlines, _books(), mode="always", score_threshold=0.9)
    assert notes["outcome"] == "said_so"


def test_a_request_goes_before_its_key_and_that_before_its_alias() -> None:
    books = Books(
        policies={
            ("key", "me"): Retrieval(top_k=7, insufficient="plain"),
            ("alias", "m"): Retrieval(mode="auto", top_k=9, vector_store_ids=("vs_a",)),
        }
    )
    plan = books.plan(Retrieval(insufficient="say_so"), "me", "m", "m-1")
    assert (plan.policy.mode, plan.policy.top_k) == ("auto", 7)
    assert plan.policy.insufficient == "say_so"
    assert (plan.named, plan.granted) == ((), ("vs_a",))
    assert books.plan(None, "you", "m", "m-1").policy.top_k == 9
    assert books.plan(None, None, "other", "m-1").policy.mode == "off"
