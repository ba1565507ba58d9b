"""Which requests of the canary count."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.store.releases import AliasMove, Target
from monitoring.requests import PROBE
from tests.training.rollout.world import World
from training.rollout.arms import Draws, Segment, segments

_ASKED = {"role": "user", "content": "a"}
_SAID = {"role": "assistant", "content": "b"}


def move(at: float, *targets: tuple[str, float, str]) -> AliasMove:
    return AliasMove("p", (), tuple(Target(*target) for target in targets), "rlt-1", "", at)


def test_shares_hold_from_a_move_to_the_next() -> None:
    moves = [
        move(1.0, ("old", 1.0, "live"), ("new", 0.2, "shadow")),
        move(5.0, ("old", 0.99, "live"), ("new", 0.01, "live")),
        move(9.0, ("old", 0.75, "live"), ("new", 0.25, "live")),
        move(12.0, ("new", 1.0, "live")),
    ]
    assert segments(moves, "new", 20.0) == [Segment(5.0, 9.0, 0.01), Segment(9.0, 12.0, 0.25)]
    assert segments(moves[:2], "new", 20.0) == [Segment(5.0, 20.0, 0.01)]
    assert segments(moves[:1], "new", 20.0) == segments([], "new", 20.0) == []


@pytest.mark.parametrize(
    ("fields", "first", "again"),
    [
        ({"messages": [_ASKED]}, True, True),  # many people open with the same words
        ({"messages": [{"role": "system", "content": "s"}, _ASKED]}, True, True),
        ({"messages": [_ASKED, _SAID, _ASKED]}, True, False),
        ({"messages": [_ASKED, _ASKED]}, True, False),
        ({"messages": [_ASKED], "metadata": {"conversation": "x"}}, True, False),
        ({"messages": None}, True, False),
        ({"messages": [_ASKED], "metadata": {PROBE: "1"}}, False, False),
        ({"messages": [_ASKED, _SAID, _ASKED], "conversation": None}, True, True),
    ],
)
def test_later_turns_were_not_drawn(
    world: World, fields: dict[str, Any], first: bool, again: bool
) -> None:
    record = replace(world.answered("old-1"), **{"conversation": "k", **fields})
    draws = Draws()
    assert [draws.is_drawn(record), draws.is_drawn(record)] == [first, again]


def test_a_conversation_from_before_the_canary_was_not_drawn(world: World) -> None:
    record = replace(world.answered("old-1"), messages=[_ASKED, _SAID, _ASKED], conversation="k")
    assert not Draws({"k"}).is_drawn(record)
