"""The gate: who comes first, who waits, who is sent away, and that no place is ever lost."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator

import pytest

from gateway.call import ClientLeft
from gateway.errors import Unavailable
from gateway.flow import Deadlines, Flow
from gateway.gate import Gate


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    deadlines = Deadlines()
    deadlines.start()
    yield deadlines
    deadlines.close()


class _Visitor:
    """A request that passes the gate as the relay does, and stays inside until `finish`."""

    def __init__(self, deadlines: Deadlines, gate: Gate) -> None:
        self.inside = False
        self.waited = False
        self.outcome = ""
        self._gate = gate
        self._done = False
        self.flow = Flow(deadlines, asyncio.get_running_loop())
        self.entered_as = 0
        self.flow.start(self._visit())

    async def _visit(self) -> None:
        try:
            if not self._gate.enter():
                self.waited = True
                await self._gate.wait(self.flow)
            self.inside = True
            _Visitor.entered += 1
            self.entered_as = _Visitor.entered
            try:
                while not self._done:
                    await self.flow.wait(60)
                self.outcome = "served"
            finally:
                self.inside = False
                self._gate.leave()
        except ClientLeft:
            self.outcome = "left"
        except Unavailable as error:
            self.outcome = f"{error.code} {error.retry_after} {error.message}"

    entered = 0

    def finish(self) -> None:
        self._done = True
        self.flow.wake()

    def leave(self) -> None:
        self.flow.throw(ClientLeft())


def _free(gate: Gate, most: int) -> int:
    """Return how many places are free, by taking and returning them."""
    taken = 0
    while taken <= most and gate.enter():
        taken += 1
    for _ in range(taken):
        gate.leave()
    return taken


async def test_first_come_first_served(deadlines: Deadlines) -> None:
    gate = Gate(2, 10, 5)
    visitors = [_Visitor(deadlines, gate) for _ in range(6)]
    assert [v.inside for v in visitors] == [True, True, False, False, False, False]
    assert gate.waiting == 4
    for n in range(6):
        visitors[n].finish()
        await asyncio.sleep(0.001)
        assert [v.inside for v in visitors] == [n < k <= n + 2 for k in range(6)]
    assert [v.entered_as for v in visitors] == sorted(v.entered_as for v in visitors)
    assert _free(gate, 2) == 2


async def test_who_comes_later_does_not_slip_in_before_who_is_called(deadlines: Deadlines) -> None:
    gate = Gate(1, 10, 5)
    first, second = _Visitor(deadlines, gate), _Visitor(deadlines, gate)
    first.finish()  # calls the second, who has not yet gone on
    third = _Visitor(deadlines, gate)
    assert not third.inside
    await asyncio.sleep(0.001)
    assert second.inside
    assert not third.inside
    second.finish()
    await asyncio.sleep(0.001)
    assert third.inside
    third.finish()
    assert _free(gate, 1) == 1


@pytest.mark.parametrize("queue", [0, 2])
async def test_beyond_the_queue_the_answer_is_no_at_once(deadlines: Deadlines, queue: int) -> None:
    gate = Gate(1, queue, 5)
    visitors = [_Visitor(deadlines, gate) for _ in range(queue + 3)]
    assert [v.outcome for v in visitors[: queue + 1]] == [""] * (queue + 1)
    assert all("overloaded 1 Too many requests wait" in v.outcome for v in visitors[queue + 1 :])
    for visitor in visitors[: queue + 1]:
        visitor.finish()
        await asyncio.sleep(0.001)
    assert _free(gate, 1) == 1


async def test_who_waits_too_long_is_sent_away_and_the_others_move_up(deadlines: Deadlines) -> None:
    gate = Gate(1, 10, 0.1)
    inside = _Visitor(deadlines, gate)
    began = time.monotonic()
    late = _Visitor(deadlines, gate)
    while not late.outcome:
        late.flow.wake()  # being woken for no reason buys no time
        await asyncio.sleep(0.01)
        assert time.monotonic() - began < 1
    assert 0.09 < time.monotonic() - began < 0.25
    assert "within 0.1 s" in late.outcome
    following = _Visitor(deadlines, gate)
    inside.finish()
    await asyncio.sleep(0.001)
    assert following.inside
    following.finish()
    assert _free(gate, 1) == 1
    assert not deadlines.flows


async def test_who_leaves_while_waiting_takes_no_place(deadlines: Deadlines) -> None:
    gate = Gate(1, 10, 5)
    inside, leaving, staying = (_Visitor(deadlines, gate) for _ in range(3))
    leaving.leave()
    assert leaving.outcome == "left"
    assert gate.waiting == 1
    inside.finish()
    await asyncio.sleep(0.001)
    assert staying.inside
    staying.finish()
    assert _free(gate, 1) == 1


async def test_who_leaves_just_when_called_hands_the_place_on(deadlines: Deadlines) -> None:
    gate = Gate(1, 10, 5)
    inside, leaving, staying = (_Visitor(deadlines, gate) for _ in range(3))
    inside.finish()
    leaving.leave()
    assert (leaving.outcome, leaving.inside) == ("left", False)
    await asyncio.sleep(0.001)
    assert staying.inside
    staying.finish()
    assert _free(gate, 1) == 1


async def test_a_long_queue_of_failing_requests_does_not_nest(deadlines: Deadlines) -> None:
    """Each gives its place on as it ends; 3000 of them at once must not exhaust the stack."""
    gate = Gate(1, 3000, 5)
    inside = _Visitor(deadlines, gate)
    waiting = [_Visitor(deadlines, gate) for _ in range(3000)]
    for visitor in waiting:
        visitor._done = True
    inside.finish()
    for _ in range(3010):
        await asyncio.sleep(0)
    assert {v.outcome for v in waiting} == {"served"}
    assert _free(gate, 1) == 1


@pytest.mark.parametrize("seed", range(30))
async def test_no_place_is_lost_or_made_whatever_happens(deadlines: Deadlines, seed: int) -> None:
    chance = random.Random(seed)
    places, queue = chance.randint(1, 3), chance.randint(0, 4)
    gate = Gate(places, queue, chance.choice([0.02, 5.0]))
    everyone: list[_Visitor] = []
    woken = False
    for _ in range(150):
        present = [v for v in everyone if not v.outcome]
        inside = [v for v in present if v.inside]
        assert len(inside) <= places
        action = chance.randrange(7)
        if action < 3:
            everyone.append(_Visitor(deadlines, gate))
        elif action == 3 and inside:
            chance.choice(inside).finish()
        elif action == 4 and present:
            chance.choice(present).leave()
        elif action == 5 and present and seed % 2:
            woken = True
            chance.choice(present).flow.wake()
        elif action == 6:
            await asyncio.sleep(chance.choice([0, 0, 0, 0.001]))
    while present := [v for v in everyone if not v.outcome]:
        with contextlib.suppress(IndexError):
            chance.choice([v for v in present if v.inside]).finish()
        await asyncio.sleep(0)
    assert _free(gate, places) == places
    assert gate.waiting == 0
    assert not deadlines.flows
    if not woken:  # being woken for no reason, one who was called may go on before another
        waited = [v.entered_as for v in everyone if v.waited and v.entered_as]
        assert waited == sorted(waited), "somebody overtook"
