"""Traffic that goes on while something fails, each answer judged as its client saw it."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import httpx

from loadtests.chaos.score import Sample, Verdict
from loadtests.chaos.targets import Running

PATH = "/v1/chat/completions"
_TIMEOUT_S = 30.0
# A refused client of ours comes back after so long.
_PAUSE_S = 0.05
_GOOD_WITHIN_S = 60.0
_TIMEOUTS = (408, 504)
# (streamed, seconds a word, words): what the clients ask for, in turn.
_KINDS = ((True, 0.02, 12), (False, 0.0, 5), (False, 0.02, 8), (True, 0.0, 5))
_numbers = itertools.count(1)


def text(pace: float, words: int) -> str:
    """Return a message that no other request has."""
    number = next(_numbers)
    return " ".join([f"pace={pace}", *(f"w{number}-{at}" for at in range(words))])


def fields(running: Running, message: str, stream: bool = False) -> dict[str, Any]:
    """Return the body of a chat completion."""
    body: dict[str, Any] = {
        "model": running.model, "messages": [{"role": "user", "content": message}],
    }  # fmt: skip
    return {**body, "stream": True} if stream else body


async def ask(
    client: httpx.AsyncClient, running: Running, message: str, stream: bool = False
) -> Sample:
    """Send one request and judge its answer."""
    started = time.monotonic()
    first, status, id = 0.0, 0, ""
    parts: list[bytes] = []
    error = ""
    try:
        async with client.stream(
            "POST", running.url + PATH, json=fields(running, message, stream),
            headers=running.headers,
        ) as answer:  # fmt: skip
            status, id = answer.status_code, answer.headers.get("x-request-id", "")
            async for part in answer.aiter_raw():
                first = first or time.monotonic()
                parts.append(part)
    except httpx.HTTPError as failed:
        error = type(failed).__name__
    sample = Sample(Verdict.LOST, started, time.monotonic(), first, status, stream, id)
    verdict, why = judge(status, b"".join(parts), message, stream, error)
    return replace(sample, verdict=verdict, why=why)


def judge(
    status: int, body: bytes, message: str, stream: bool, error: str = ""
) -> tuple[Verdict, str]:
    """Return what became of a request, and why if it is not good.

    Args:
        status: Of the answer; 0: there was none.
        body: What came of its body.
        message: What was asked, and is to be echoed.
        stream: Whether a stream was asked for.
        error: How the connection failed, if it did.
    """
    if not status:
        return Verdict.LOST, f"no answer ({error})"
    if status != 200:
        if error:
            return Verdict.LOST, f"a {status} that was cut ({error})"
        if told(body):
            return Verdict.TOLD, str(status)
        return Verdict.WRONG, f"a {status} without OpenAI's error object"
    if not stream:
        if error:
            return Verdict.LOST, f"a cut answer ({error})"
        with contextlib.suppress(ValueError, LookupError, TypeError):
            if json.loads(body)["choices"][0]["message"]["content"] == message:
                return Verdict.GOOD, ""
        return Verdict.WRONG, f"200 with {body[:60]!r}"
    return _judge_stream(body, message, error)


def _judge_stream(body: bytes, message: str, error: str) -> tuple[Verdict, str]:
    said, ended = "", False
    for frame in body.split(b"\n\n"):
        data = frame.partition(b"data: ")[2]
        if data == b"[DONE]":
            ended = True
        elif data:
            try:
                event = json.loads(data)
            except ValueError:
                return Verdict.WRONG, "a frame that is not JSON"
            if "error" in event:
                if told(data) and not error:
                    return Verdict.TOLD, "error frame"
                return Verdict.WRONG, f"a strange error frame ({error or data[:60]!r})"
            for choice in event.get("choices") or []:
                said += choice["delta"].get("content") or ""
    if ended and said == message and not error:
        return Verdict.GOOD, ""
    if ended and not error:
        return Verdict.WRONG, "a stream that claims to be whole and is not"
    return Verdict.LOST, f"a stream cut in silence ({error or 'a clean end'})"


def told(document: bytes) -> bool:
    """Return whether this is OpenAI's error object with words in it."""
    try:
        error = json.loads(document)["error"]
        return isinstance(error["message"], str) and bool(error["message"])
    except (ValueError, LookupError, TypeError):
        return False


class Load:
    """Clients that ask again and again, until the `async with` block ends.

    Args:
        running: Whom they ask.
        clients: How many.
        keep_alive: Whether each keeps its connection, or takes a new one for each request.
    """

    def __init__(self, running: Running, clients: int = 8, *, keep_alive: bool = True) -> None:
        self._running = running
        self._count = clients
        self._kept = 1 if keep_alive else 0
        self._stop = False
        self._tasks: list[asyncio.Task[None]] = []
        self.samples: list[Sample] = []
        self.open = 0
        self.began = time.time()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._ask(at)) for at in range(self._count)]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Let every client finish what it asked for."""
        self._stop = True
        await asyncio.gather(*self._tasks)

    async def good(self, after: float) -> float | None:
        """Return how long after a moment a request that began after it was answered well."""
        deadline = time.monotonic() + _GOOD_WITHIN_S
        while time.monotonic() < deadline:
            ends = [s.ended for s in self.samples
                    if s.verdict is Verdict.GOOD and s.started >= after]  # fmt: skip
            if ends:
                return min(ends) - after
            await asyncio.sleep(0.01)
        return None

    async def _ask(self, at: int) -> None:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=self._kept)
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, limits=limits) as client:
            await asyncio.sleep(0.02 * at)
            for stream, pace, words in itertools.cycle(_KINDS):
                if self._stop:
                    return
                self.open += 1
                sample = await ask(client, self._running, text(pace, words), stream)
                self.open -= 1
                self.samples.append(sample)
                if sample.verdict is not Verdict.GOOD:
                    await asyncio.sleep(_PAUSE_S)


def with_failover(samples: Iterable[Sample]) -> list[Sample]:
    """Count as lost what got an error although another engine could have answered.

    Not what had begun (an engine cannot go on with another one's answer), nor what timed out.
    """
    return [
        replace(s, verdict=Verdict.LOST, why=f"a {s.status} although another engine was there")
        if s.verdict is Verdict.TOLD and s.status != 200 and s.status not in _TIMEOUTS
        else s
        for s in samples
    ]
