"""Requests while one engine takes another's place: who waits, how long, and that none is lost."""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.call import ClientLeft
from gateway.engines.base import engine_addresses
from gateway.engines.echo import EchoEngine
from gateway.engines.launcher import Launcher
from gateway.errors import NotFound, Unavailable
from gateway.flow import Deadlines, Flow
from gateway.routing import Route, Routes
from gateway.store.engines import Engine, Engines, EngineState
from gateway.store.releases import Release, Releases, Target
from gateway.swaps import Swaps
from tests.gateway.flows import drive
from tests.gateway.running import RunningGateway, running_gateway

_ALIAS = "swapped"


def _engine(slot: str, release: str, state: EngineState) -> Engine:
    return Engine(slot, "h", release, f"unix:/{slot}", state, None, 0, None, 0.0)


def _known(routes: Routes, *engines: Engine) -> None:
    releases = [Release(name, "m", "r", "", {}, 0.0) for name in ("a", "b")]
    routes.update({"x": (Target("a", 1.0, "live"),)}, releases, engines)


async def _waits(deadlines: Deadlines, swaps: Swaps, release: str = "a") -> tuple[bool, float]:
    before = time.monotonic()
    served = await drive(deadlines, lambda flow: swaps.wait(flow, release))
    return served, time.monotonic() - before


async def test_a_request_waits_for_the_engine_that_is_announced(deadlines: Deadlines) -> None:
    routes = Routes()
    swaps = Swaps(routes, 5.0, 10)
    _known(routes, _engine("s", "a", EngineState.SWAPPING))
    assert routes.resolve("x") == Route("x", "a")
    assert routes.serves("x")
    waiting = asyncio.create_task(_waits(deadlines, swaps))
    await asyncio.sleep(0.1)
    starting = _engine("blue", "a", EngineState.STARTING)
    _known(routes, _engine("s", "a", EngineState.SWAPPING), starting)
    await asyncio.sleep(0.1)
    assert swaps.waiting == 1
    _known(routes, _engine("blue", "a", EngineState.READY))
    served, seconds = await waiting
    assert served
    assert 0.2 <= seconds < 1
    assert swaps.waiting == 0


async def test_it_waits_no_longer_than_it_may(deadlines: Deadlines) -> None:
    routes = Routes()
    swaps = Swaps(routes, 0.2, 10)
    _known(routes, _engine("s", "a", EngineState.SWAPPING))
    served, seconds = await _waits(deadlines, swaps)
    assert not served
    assert 0.2 <= seconds < 1


@pytest.mark.parametrize(
    "state", sorted({*EngineState} - {EngineState.READY, EngineState.SWAPPING})
)
async def test_nobody_waits_for_an_engine_that_crashed(
    deadlines: Deadlines, state: EngineState
) -> None:
    routes = Routes()
    swaps = Swaps(routes, 5.0, 10)
    _known(routes, _engine("blue", "a", state))
    served, seconds = await _waits(deadlines, swaps)
    assert not served
    assert seconds < 0.2


async def test_a_release_that_no_launcher_knows_yet_gets_a_moment(
    deadlines: Deadlines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.swaps._GRACE_S", 0.3)
    routes = Routes()
    swaps = Swaps(routes, 5.0, 10)
    _known(routes)
    served, seconds = await _waits(deadlines, swaps)
    assert (served, 0.3 <= seconds < 1) == (False, True)
    waiting = asyncio.create_task(_waits(deadlines, swaps))
    await asyncio.sleep(0.1)
    _known(routes, _engine("s", "a", EngineState.SWAPPING))
    await asyncio.sleep(0.5)
    _known(routes, _engine("blue", "a", EngineState.READY))
    assert (await waiting)[0]


async def test_when_too_many_wait_the_next_is_told(deadlines: Deadlines) -> None:
    routes = Routes()
    swaps = Swaps(routes, 5.0, 2)
    _known(routes, _engine("s", "a", EngineState.SWAPPING))
    first = [asyncio.create_task(_waits(deadlines, swaps)) for _ in range(2)]
    await asyncio.sleep(0.05)
    with pytest.raises(Unavailable) as refused:
        await _waits(deadlines, swaps)
    assert refused.value.code == "overloaded"
    _known(routes, _engine("s", "a", EngineState.SWAPPING))  # a refresh sends nobody away
    await asyncio.sleep(0.05)
    assert swaps.waiting == 2
    _known(routes, _engine("blue", "a", EngineState.READY))
    assert [served for served, _ in await asyncio.gather(*first)] == [True, True]


async def test_a_client_that_leaves_waits_no_more(deadlines: Deadlines) -> None:
    routes = Routes()
    swaps = Swaps(routes, 5.0, 10)
    _known(routes, _engine("s", "a", EngineState.SWAPPING))
    left: list[bool] = []

    async def ask(flow: Flow) -> None:
        try:
            await swaps.wait(flow, "a")
        except ClientLeft:
            left.append(True)

    flow = Flow(deadlines, asyncio.get_running_loop())
    flow.start(ask(flow))
    assert swaps.waiting == 1
    flow.throw(ClientLeft())
    assert left
    assert swaps.waiting == 0


def test_an_unknown_name_is_still_unknown() -> None:
    routes = Routes()
    Swaps(routes, 5.0, 10)
    _known(routes)
    with pytest.raises(NotFound):
        routes.resolve("y")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    home = tmp_path_factory.mktemp("swap")
    with running_gateway(home, embedder="", slots="1", swap_wait_s="20") as running:
        Releases(running.database).drop("production")  # its engine is none of the launcher's
        yield running


def _register(gateway: RunningGateway, folder: Path) -> None:
    adapter = folder / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    tuned = {"base_release": "old-1", "adapter_path": str(adapter)}
    releases = Releases(gateway.database)
    releases.register(Release("old-1", "m", "r", "", {}, 1.0))
    releases.register(Release("new-1", "m", "r", str(folder), {}, 2.0, **tuned))  # type: ignore[arg-type]
    releases.point(_ALIAS, [Target("old-1", 1.0, "live")])


class _Users:
    """Users who ask without a pause; every answer is kept: status, release, seconds, text."""

    def __init__(self, gateway: RunningGateway, count: int = 12) -> None:
        self.answers: list[tuple[float, int, str, float, str]] = []
        self._stop = asyncio.Event()
        self._gateway = gateway
        self._tasks = [asyncio.create_task(self._ask(n)) for n in range(count)]

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def until(self, release: str, count: int, seconds: float = 20) -> None:
        """Wait until so many answers of a release have come."""
        async with asyncio.timeout(seconds):
            while sum(answer[2] == release for answer in self.answers) < count:
                await asyncio.sleep(0.02)

    async def _ask(self, number: int) -> None:
        headers = {"authorization": f"Bearer {self._gateway.key}"}
        url, turn = self._gateway.url, 0
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            while not self._stop.is_set():
                turn += 1
                body = {
                    "model": _ALIAS,
                    "stream": number % 2 == 0,
                    "messages": [{"role": "user", "content": f"user {number} turn {turn}"}],
                    "metadata": {"echo_delay_s": "0.03"},
                }
                before = time.monotonic()
                answer = await client.post("/v1/chat/completions", json=body)
                text = _text(answer) if answer.status_code == 200 else answer.text
                release = answer.headers.get("x-driftgate-release", "")
                seconds = time.monotonic() - before
                self.answers.append((before, answer.status_code, release, seconds, text))


def _text(answer: httpx.Response) -> str:
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return str(answer.json()["choices"][0]["message"]["content"])
    frames = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert frames[-1] == "[DONE]"
    deltas = [json.loads(frame)["choices"] for frame in frames[:-1]]
    return "".join(choices[0]["delta"].get("content", "") for choices in deltas if choices)


@pytest.mark.slow
async def test_no_request_is_lost_from_adapter_to_merged_release(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    _register(gateway, tmp_path)
    releases, engines = Releases(gateway.database), Engines(gateway.database)
    run_dir = tmp_path / "run"
    launcher = Launcher(
        releases,
        engines,
        EchoEngine(),
        host="here",
        run_dir=run_dir,
        addresses=engine_addresses(run_dir, "", 0),
        logs=tmp_path / "logs",
        environment=os.environ,
        slots=1,
        linger_s=0.5,
        reconcile_s=0.05,
    )
    stop = asyncio.Event()
    serving = asyncio.create_task(launcher.run(stop))
    async with asyncio.timeout(20):
        while not _is_alone(engines, "old-1"):
            await asyncio.sleep(0.02)
    await _until_served(gateway)
    users = _Users(gateway)
    try:
        await users.until("old-1", 50)
        both = [Target("old-1", 0.5, "live"), Target("new-1", 0.5, "live")]
        releases.point(_ALIAS, both)
        await users.until("new-1", 50)  # as an adapter
        releases.point(_ALIAS, [Target("new-1", 1.0, "live")])
        moved = time.monotonic()
        await asyncio.sleep(0.2)
        async with asyncio.timeout(20):
            while not _is_alone(engines, "new-1"):
                await asyncio.sleep(0.02)
        swapped = time.monotonic()
        count = sum(answer[2] == "new-1" for answer in users.answers)
        await users.until("new-1", count + 100)
        # A release that was never an adapter, straight away: back to the old one.
        releases.point(_ALIAS, [Target("old-1", 1.0, "live")])
        await asyncio.sleep(0.2)
        count = sum(answer[2] == "old-1" for answer in users.answers)
        await users.until("old-1", count + 50)
    finally:
        await users.stop()
        stop.set()
        await serving
    lost = [(at - moved, *answer) for at, *answer in users.answers if answer[0] != 200]
    assert lost == [], Counter(status for _, status, *_ in users.answers)
    for _, _, _, _, text in users.answers:
        assert text.startswith("user ")
        assert " turn " in text
    # Who asked while the engine was changed has waited for the new one, and was answered by it.
    waited = [a for a in users.answers if a[0] < swapped < a[0] + a[3]]
    assert len(waited) >= 6
    assert {release for _, _, release, *_ in waited} == {"new-1"}
    assert max(seconds for *_, seconds, _ in users.answers) < 15


async def _until_served(gateway: RunningGateway) -> None:
    """Wait until the gateway, too, knows that the first engine is ready."""
    async with asyncio.timeout(20):
        while (await asyncio.to_thread(gateway.post, model=_ALIAS)).status_code != 200:
            await asyncio.sleep(0.02)


def _is_alone(engines: Engines, release: str) -> bool:
    rows = [row for row in engines.all() if row.host == "here"]
    return [(row.slot, row.release, row.state) for row in rows] == [
        ("blue", release, EngineState.READY)
    ]
