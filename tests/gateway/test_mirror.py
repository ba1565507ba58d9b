"""Shadow traffic: what is asked again, when, how much of it at once, and what becomes of it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import spool as spooled
from gateway.call import Call
from gateway.connection import UpstreamTimeout
from gateway.flow import Deadlines, Flow
from gateway.gate import Gate
from gateway.metrics import RecordMetrics, ShadowMetrics
from gateway.mirror import Mirrors
from gateway.routing import Route, Routes
from gateway.served import Served
from gateway.spool import Spool
from gateway.store.engines import Engine, EngineState
from gateway.store.releases import Release, Target
from gateway.task import Limits, Task
from gateway.wire import parse
from tests.gateway.flows import start

_LIMITS = Limits(
    response_bytes=10_000, record_bytes=10_000, connect_timeout_s=1.0, first_token_timeout_s=0.4,
    idle_timeout_s=0.4, reserve_tokens=10, prefix_affinity=False,
)  # fmt: skip
_WHOLE = b'{"id":"x","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'


def _answer(body: bytes = _WHOLE, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


class _World:
    """One alias with a live release and a shadow, whose engine is scripted."""

    def __init__(self, folder: Path, deadlines: Deadlines) -> None:
        self.metrics = ShadowMetrics()
        self.gate = Gate(1, 10, 5.0)
        self.routes = Routes()
        self.spool = Spool(folder / "spool", RecordMetrics(), 10**6)
        self.spool.start()
        self.draws: list[float] = []
        self.deadlines = deadlines
        self.mirrors = Mirrors(
            self.routes, self.gate, self.spool, self.metrics, _LIMITS, deadlines,
            lambda: self.draws.pop(0) if self.draws else 0.0,
        )  # fmt: skip
        deadlines.on_tick.append(self.mirrors.tick)
        self.asked: list[tuple[bytes, dict[str, Any]]] = []
        self.under_way = self.most = 0
        self.answer = _answer()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._folder = folder
        self._address = f"unix:{folder / 'engine.sock'}"
        self.point(EngineState.READY)

    def point(self, state: EngineState) -> None:
        targets = (Target("old", 1.0, "live"), Target("new", 0.5, "shadow"))
        engine = Engine("1", "h", "new", self._address, state, None, 0, None, 0.0)
        releases = [Release(name, "m", "r", "", {}, 0.0) for name in ("old", "new")]
        self.routes.update({"x": targets}, releases, [engine])

    async def engine(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.asked.append((head, json.loads(await reader.readexactly(length))))
                await self.go_on.wait()
                writer.write(self.answer)
        self.under_way -= 1
        writer.close()

    def offer(
        self, *, outcome: str = "done", ask: bytes | None = None, waited_s: float = 0, **fields: Any
    ) -> Task:
        request: dict[str, Any] = {"model": "x", "messages": [{"role": "user", "content": "hi"}]}
        body = json.dumps(request | fields).encode()
        parsed = parse("chat", body)
        flow = Flow(self.deadlines, asyncio.get_running_loop())
        served = Served(
            operation="chat", body=body, stream=parsed.stream, completion_id="chatcmpl-1",
            key_prefix="0123abcd", alias="x", release="old", created_at=1.0, conversation="c0",
            outcome=outcome, status=200, retrieval=b"{}",
        )  # fmt: skip
        call = Call(_Nobody(), flow, "/v1/chat/completions")  # type: ignore[arg-type]
        task = Task(call, parsed, Route("x", "old"), b"/v1/chat/completions", served)
        call.overhead_s = float(waited_s)
        if ask is not None:
            task.body = ask
        self.mirrors.offer(task)
        return task

    def count(self, outcome: str) -> int:
        labels = {"alias": "x", "release": "new", "outcome": outcome}
        for metric in self.metrics.requests.collect():
            for sample in metric.samples:
                if sample.name.endswith("_total") and sample.labels == labels:
                    return int(sample.value)
        return 0

    async def records(self) -> list[Served]:
        await asyncio.to_thread(self.spool.close)
        return [each for f in spooled.files(self._folder / "spool") for each in spooled.read(f)]


class _Nobody:
    """A connection that nothing is written to."""


@pytest.fixture
async def world(tmp_path: Path, deadlines: Deadlines) -> AsyncIterator[_World]:
    made = _World(tmp_path, deadlines)
    server = await asyncio.start_unix_server(made.engine, tmp_path / "engine.sock")
    yield made
    made.mirrors.close()
    made.go_on.set()
    made.routes.close()
    made.spool.close()
    server.close()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_copy_is_asked_of_the_shadow_and_recorded_as_its_own(world: _World) -> None:
    world.offer(metadata={"a": "b"}, temperature=0.5)
    await _until(lambda: world.count("done") == 1)
    ((head, body),) = world.asked
    assert head.startswith(b"POST /v1/chat/completions ")
    assert (body["model"], body["temperature"]) == ("new", 0.5)
    (record,) = await world.records()
    assert record.completion_id.startswith("shadow-")
    assert f"x-request-id: {record.completion_id}".encode() in head
    assert (record.alias, record.release, record.shadow_of) == ("x", "new", "chatcmpl-1")
    assert (record.outcome, record.status, record.finish_reason) == ("done", 200, "stop")
    assert (record.key_prefix, record.conversation) == ("0123abcd", "c0")
    assert record.created_at > 1.0
    assert 0 < record.duration_s < 1
    assert (record.answer, record.retrieval) == (_WHOLE, b"")


async def test_the_shadow_is_given_what_the_first_engine_was_given(world: _World) -> None:
    """A grounded request has passages in it that the client did not send."""
    grounded = b'{"model":"old","messages":[{"role":"user","content":"passages; hi"}],"n":1}'
    task = world.offer(ask=grounded)
    await _until(lambda: world.count("done") == 1)
    assert world.asked[0][1]["messages"][0]["content"] == "passages; hi"
    (record,) = await world.records()
    assert record.body == task.served.body, "the log has the client's own words"


async def test_a_streamed_copy_measures_the_first_token(world: _World) -> None:
    frames = (
        b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
        b"data: [DONE]\n\n"
    )
    world.answer = _answer(frames)
    world.offer(stream=True)
    await _until(lambda: world.count("done") == 1)
    (record,) = await world.records()
    assert (record.outcome, record.prompt_tokens, record.completion_tokens) == ("done", 3, 2)
    assert record.ttft_s is not None
    assert 0 < record.ttft_s <= record.duration_s


async def test_a_copy_is_charged_what_the_first_one_waited_for_its_engine(world: _World) -> None:
    """So that the records of both can be compared: the client waited for a place, or passages."""
    world.offer(waited_s=7)
    await _until(lambda: world.count("done") == 1)
    (record,) = await world.records()
    assert 7 < record.duration_s < 8
    (took,) = [
        sample.value
        for metric in world.metrics.duration.collect()
        for sample in metric.samples
        if sample.name.endswith("_sum")
    ]
    assert 0 < took < 1, "the metric is the engine's alone"


async def test_the_weight_is_the_share_that_is_repeated(world: _World) -> None:
    world.draws = [0.49, 0.5, 0.0, 0.99]
    for _ in range(4):
        world.offer()
    await _until(lambda: world.count("done") == 2)
    assert len(world.asked) == 2
    assert world.count("dropped") == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"store": False},
        {"outcome": "error"},
        {"outcome": "cancelled"},
        {"previous_response_id": "resp_1"},
    ],
)
async def test_what_says_nothing_of_the_shadow_is_not_repeated(
    world: _World, fields: dict[str, Any]
) -> None:
    world.offer(**fields)
    world.offer()
    await _until(lambda: world.count("done") == 1)
    assert len(world.asked) == 1


async def test_what_was_answered_without_an_engine_is_asked_plainly(world: _World) -> None:
    world.offer(ask=b"")
    await _until(lambda: world.count("done") == 1)
    assert len(world.asked) == 1


async def test_few_are_asked_at_once_few_wait_and_the_rest_is_dropped(world: _World) -> None:
    world.go_on.clear()
    for _ in range(100):
        world.offer()
    await _until(lambda: len(world.asked) == 2)
    await asyncio.sleep(0.12)  # two ticks more
    assert len(world.asked) == 2
    assert world.count("dropped") == 100 - 64
    world.go_on.set()
    await _until(lambda: world.count("done") == 64)
    assert world.most == 2


async def test_bodies_that_wait_are_bounded_in_bytes(world: _World) -> None:
    world.go_on.clear()
    for _ in range(10):
        world.offer(ask=b'{"model":"old","x":"%b"}' % (b"y" * 2**20))
    assert world.count("dropped") == 3
    world.go_on.set()
    await _until(lambda: world.count("done") == 7)
    world.offer()  # what is done makes room
    await _until(lambda: world.count("done") == 8)


async def test_none_is_asked_while_clients_wait(world: _World, deadlines: Deadlines) -> None:
    assert world.gate.enter()
    waiting = start(deadlines, world.gate.wait)
    world.offer()
    await asyncio.sleep(0.2)
    assert world.asked == []
    world.gate.leave()
    await _until(lambda: world.count("done") == 1)
    assert waiting.deadline == float("inf")


@pytest.mark.parametrize(
    ("answer", "stream", "outcome", "status"),
    [
        (_answer(b'{"error":{"message":"no"}}', b"400 Bad"), False, "error", 400),
        (_answer(b"{}", b"500 X"), True, "error", 500),
        (b"what?\r\n\r\n", False, "error", 502),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{", False, "error", 504),
        (
            b'HTTP/1.1 200 OK\r\n\r\ndata: {"choices":[{"delta":{"content":"h"}}]}\n\n',
            True,
            "truncated",
            200,
        ),
        (_answer(b'data: {"error":{"message":"CUDA"}}\n\n'), True, "error", 200),
    ],
)
async def test_a_shadow_that_fails_is_recorded_as_it_failed(
    world: _World, answer: bytes, stream: bool, outcome: str, status: int
) -> None:
    world.answer = answer
    world.offer(stream=stream)
    await _until(lambda: world.count(outcome) == 1)
    (record,) = await world.records()
    assert (record.outcome, record.status, record.shadow_of) == (outcome, status, "chatcmpl-1")
    assert len(world.asked) == 1, "it is not tried again"


async def test_a_shadow_without_an_engine_is_counted_apart(world: _World) -> None:
    world.point(EngineState.STARTING)
    world.offer()
    await _until(lambda: world.count("unavailable") == 1)
    assert await world.records() == []


async def test_the_end_of_the_gateway_is_no_fault_of_the_shadow(
    world: _World, deadlines: Deadlines
) -> None:
    world.go_on.clear()
    for _ in range(3):
        world.offer()
    await _until(lambda: len(world.asked) == 2)
    world.mirrors.close()
    for flow in list(deadlines.flows):
        flow.throw(UpstreamTimeout("the gateway stops"))
    assert world.count("dropped") == 3
    world.offer()
    assert world.count("dropped") == 4
    assert await world.records() == []
