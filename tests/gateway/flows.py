"""Runs flows from within asyncio's tasks, for tests."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from gateway.flow import Deadlines, Flow

T = TypeVar("T")


async def drive(deadlines: Deadlines, work: Callable[[Flow], Coroutine[Any, Any, T]]) -> T:
    """Run a flow from within a task and return its result."""
    loop = asyncio.get_running_loop()
    flow = Flow(deadlines, loop)
    done: asyncio.Future[T] = loop.create_future()

    async def run() -> None:
        try:
            result = await work(flow)
        except BaseException as error:
            if not done.done():
                done.set_exception(error)
        else:
            if not done.done():
                done.set_result(result)

    flow.start(run())
    try:
        return await done
    except asyncio.CancelledError:
        flow.throw(asyncio.CancelledError())
        raise


def start(deadlines: Deadlines, work: Callable[[Flow], Coroutine[Any, Any, None]]) -> Flow:
    flow = Flow(deadlines, asyncio.get_running_loop())
    flow.start(work(flow))
    return flow
