"""Flows that await futures: results, errors, timeouts, departures, connections made too late."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from gateway.call import ClientLeft
from gateway.flow import Deadlines, Flow
from gateway.upstream import Upstream
from tests.gateway.flows import drive, start


async def test_a_future_that_others_share_outlives_a_departure(deadlines: Deadlines) -> None:
    shared: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    got: list[int] = []

    async def work(_: Flow) -> None:
        with contextlib.suppress(ClientLeft):
            got.append(await shared)

    leaving, staying = start(deadlines, work), start(deadlines, work)
    leaving.throw(ClientLeft())
    assert not shared.cancelled()
    assert deadlines.flows == {staying}
    shared.set_result(7)
    await asyncio.sleep(0.01)
    assert got == [7]
    assert not deadlines.flows


async def test_a_future_gives_its_result_its_error_or_a_timeout(deadlines: Deadlines) -> None:
    loop = asyncio.get_running_loop()
    good: asyncio.Future[int] = loop.create_future()
    bad: asyncio.Future[int] = loop.create_future()
    never: asyncio.Future[int] = loop.create_future()
    loop.call_later(0.01, good.set_result, 3)
    loop.call_later(0.02, bad.set_exception, OSError("no"))

    async def work(flow: Flow) -> int:
        result = await flow.result_of(good, 1)
        with pytest.raises(OSError, match="no"):
            await flow.result_of(bad, 1)
        with pytest.raises(TimeoutError):
            await flow.result_of(never, 0.05)
        return result

    assert await drive(deadlines, work) == 3
    assert never.cancelled()


async def test_a_future_that_is_done_already_costs_no_turn(deadlines: Deadlines) -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(1)
    got: list[int] = []

    async def work(flow: Flow) -> None:
        got.append(await flow.result_of(future, 1))

    start(deadlines, work)
    assert got == [1]


async def test_an_old_future_does_not_resume_what_waits_for_another(deadlines: Deadlines) -> None:
    """A future gets its result in the turn in which its flow is thrown out of waiting for it.

    So it is when a connect succeeds as its time limit passes, and the next engine is tried.
    """
    loop = asyncio.get_running_loop()
    first: asyncio.Future[int] = loop.create_future()
    second: asyncio.Future[int] = loop.create_future()
    outcome: list[object] = []

    async def work(_: Flow) -> None:
        with contextlib.suppress(TimeoutError):
            await first
        try:
            outcome.append(await second)
        except RuntimeError as error:
            outcome.append(error)

    flow = start(deadlines, work)
    first.set_result(1)
    flow.throw(TimeoutError())
    await asyncio.sleep(0.01)
    assert outcome == []
    second.set_result(2)
    await asyncio.sleep(0.01)
    assert outcome == [2]


async def test_a_connection_made_as_the_client_leaves_is_closed(
    deadlines: Deadlines, tmp_path: Path
) -> None:
    """The connect ends in the turn in which the client leaves, and before the flow sees it."""
    loop = asyncio.get_running_loop()
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        closed.set()
        writer.close()

    class Loop:
        """The running loop, where the client leaves just before a connect ends."""

        def __getattr__(self, name: str) -> Any:
            return getattr(loop, name)

        async def create_unix_connection(self, *arguments: Any) -> Any:
            made = await loop.create_unix_connection(*arguments)
            transports.append(made[0])
            loop.call_soon(flow.throw, ClientLeft())
            return made

    transports: list[asyncio.Transport] = []
    server = await asyncio.start_unix_server(serve, tmp_path / "s")
    flow = Flow(deadlines, loop)
    flow.loop = Loop()  # type: ignore[assignment]
    upstream = Upstream(f"unix:{tmp_path / 's'}")

    async def work() -> None:
        with contextlib.suppress(ClientLeft):
            timeouts = {"connect_timeout_s": 1.0, "head_timeout_s": 1.0}
            await upstream.request(flow, b"POST", b"/", b"", b"", **timeouts)

    flow.start(work())
    try:
        await asyncio.wait_for(closed.wait(), 1)
    finally:
        transports[0].abort()
        upstream.close()
        server.close()
        await asyncio.sleep(0.01)
    assert not deadlines.flows
