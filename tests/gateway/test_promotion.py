"""A promotion and a rollback under load: two gateways of two workers each, on one store.

Clients of the official library ask both gateways all the while, streamed and whole, each question
once. What counts: how long after the move of the alias an answer of the other release still began,
and that no answer was lost or cut off.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field

import httpx
import openai
import pytest

from gateway.store.database import Database
from gateway.store.keys import SCOPES, Keys
from gateway.store.releases import Releases, Target
from tests.gateway.running import RunningGateway, echo_engine, gateway_over, serve_release, wait

pytestmark = [pytest.mark.chaos, pytest.mark.slow]  # two seconds are measured
_WITHIN_S = 2.0
_CLIENTS = 6  # of each gateway
_PACE_S = "0.01"  # a word


@dataclass
class _Answer:
    """One answer; times of one clock, in seconds."""

    question: str
    began: float
    release: str = ""
    text: str = ""
    finish: str | None = None
    error: str | None = None


@dataclass
class _Load:
    """Clients that ask until they are told to stop, and what they got."""

    gateways: list[RunningGateway]
    answers: list[_Answer] = field(default_factory=list)
    _number: Iterator[int] = field(default_factory=itertools.count)

    async def ask(self, client: openai.AsyncOpenAI, words: int, *, stream: bool) -> None:
        question = " ".join([f"question-{next(self._number)}", *["word"] * words])
        answer = _Answer(question, time.monotonic())
        self.answers.append(answer)
        wanted = {
            "model": "production",
            "messages": [{"role": "user", "content": question}],
            "metadata": {"echo_delay_s": _PACE_S},
        }
        try:
            if not stream:
                whole = await client.chat.completions.create(**wanted)  # type: ignore[call-overload]
                answer.release = whole.model
                answer.text = whole.choices[0].message.content or ""
                answer.finish = whole.choices[0].finish_reason
                return
            chunks = await client.chat.completions.create(stream=True, **wanted)  # type: ignore[call-overload]
            async for chunk in chunks:
                if not answer.release:
                    answer.release, answer.began = chunk.model, time.monotonic()
                answer.text += chunk.choices[0].delta.content or ""
                answer.finish = chunk.choices[0].finish_reason
        except Exception as error:
            answer.error = f"{type(error).__name__}: {error}"

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[list[openai.AsyncOpenAI]]:
        """Let all clients ask while the block runs; yields one client of each gateway."""
        stopped = asyncio.Event()
        clients = [
            openai.AsyncOpenAI(base_url=f"{g.url}/v1", api_key=g.key, max_retries=0)
            for g in self.gateways
        ]

        async def keep_asking(client: openai.AsyncOpenAI, stream: bool) -> None:
            while not stopped.is_set():
                await self.ask(client, 3, stream=stream)

        async with asyncio.TaskGroup() as group:
            for client in clients:
                for number in range(_CLIENTS):
                    group.create_task(keep_asking(client, stream=number % 2 == 0))
            yield clients
            stopped.set()
        for client in clients:
            await client.close()

    def check(self) -> None:
        """Every question was answered, whole, with its own text."""
        assert [a for a in self.answers if a.error is not None] == []
        cut = [a for a in self.answers if a.finish != "stop" or a.text != a.question]
        assert cut == []

    def last_of(self, release: str, after: float) -> float:
        """Return how long after a time an answer of `release` still began."""
        return max([a.began - after for a in self.answers if a.release == release], default=-1.0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RunningGateway]]:
    """Two gateways on one store, as on two hosts, and the engines of two releases."""
    homes = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
    url = f"sqlite:///{homes[0] / 'driftgate.db'}"
    database = Database(url)
    database.migrate()
    _, key = Keys(database).create("test", SCOPES)
    # As often as a gateway reads the store that nobody has tuned.
    settings = {"database_url": url, "workers": "2", "embedder": "", "refresh_s": "0.5"}
    with ExitStack() as stack:
        for release in ("old-1", "new-1"):
            address = stack.enter_context(echo_engine(homes[0] / release, release))
            serve_release(database, release, address)
        Releases(database).point("production", [Target("old-1", 1.0, "live")])
        yield [stack.enter_context(gateway_over(database, key, home, **settings)) for home in homes]
    database.close()


@pytest.fixture(autouse=True)
def start(pair: list[RunningGateway]) -> None:
    """Every worker serves the old release."""
    Releases(pair[0].database).point("production", [Target("old-1", 1.0, "live")])
    time.sleep(1.2)  # two readings of the store
    for gateway in pair:
        wait(lambda gateway=gateway: gateway.post().status_code == 200)  # type: ignore[misc]


async def _while_long_streams_run(
    load: _Load, clients: list[openai.AsyncOpenAI]
) -> "asyncio.Future[list[None]]":
    """Begin streams that are still under way when the alias is moved."""
    long = [load.ask(client, 250, stream=True) for client in clients for _ in range(2)]
    task = asyncio.ensure_future(asyncio.gather(*long))
    await asyncio.sleep(1.0)
    return task


@pytest.mark.slow
async def test_a_promotion_reaches_every_worker_in_two_seconds_and_loses_nothing(
    pair: list[RunningGateway],
) -> None:
    load = _Load(pair)
    async with load.going_on() as clients:
        long = await _while_long_streams_run(load, clients)
        Releases(pair[0].database).point("production", [Target("new-1", 1.0, "live")])
        moved = time.monotonic()
        await asyncio.sleep(_WITHIN_S + 1)
        await long
    load.check()
    late = load.last_of("old-1", moved)
    counts = Counter(answer.release for answer in load.answers)
    print(f"promotion: {dict(counts)}, the last answer of the old one began after {late:.2f} s")
    assert late < _WITHIN_S
    assert min(counts["old-1"], counts["new-1"]) > 20
    # Those under way when it happened ended where they began.
    assert {a.release for a in load.answers if len(a.text.split()) > 100} == {"old-1"}


@pytest.mark.slow
async def test_a_rollback_by_one_call_reaches_every_worker_in_two_seconds(
    pair: list[RunningGateway],
) -> None:
    releases = Releases(pair[0].database)
    releases.point("production", [Target("new-1", 1.0, "live")])
    await asyncio.sleep(1.2)
    load = _Load(pair)
    async with load.going_on() as clients:
        long = await _while_long_streams_run(load, clients)
        headers = {"authorization": f"Bearer {pair[0].key}"}
        async with httpx.AsyncClient(base_url=pair[0].url, headers=headers) as caller:
            called = time.monotonic()
            answer = await caller.post(
                "/v1/aliases/production/rollback", json={"reason": "a drill"}
            )
        assert answer.status_code == 200, answer.text
        assert answer.json()["targets"][0]["release"] == "old-1"
        await asyncio.sleep(_WITHIN_S + 1)
        await long
    load.check()
    late = load.last_of("new-1", called)
    counts = Counter(answer.release for answer in load.answers)
    print(f"rollback: {dict(counts)}, the last answer of the new one began after {late:.2f} s")
    assert late < _WITHIN_S
    assert min(counts["old-1"], counts["new-1"]) > 20
    assert {a.release for a in load.answers if len(a.text.split()) > 100} == {"new-1"}


@pytest.mark.slow
async def test_a_canary_gets_its_share_from_every_worker(pair: list[RunningGateway]) -> None:
    """A tenth, within what chance allows; and each conversation has one release."""
    targets = [Target("old-1", 0.9, "live"), Target("new-1", 0.1, "live")]
    Releases(pair[0].database).point("production", targets)
    await asyncio.sleep(1.2)
    load = _Load(pair)
    async with load.going_on():
        async with asyncio.timeout(60):
            while len(load.answers) < 400:
                await asyncio.sleep(0.1)
    load.check()
    counts = Counter(answer.release for answer in load.answers)
    total = counts.total()
    print(f"canary: {dict(counts)}")
    # Five standard deviations on each side.
    off = 5 * (0.1 * 0.9 / total) ** 0.5
    assert abs(counts["new-1"] / total - 0.1) < off
