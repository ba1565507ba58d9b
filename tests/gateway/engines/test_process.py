import asyncio
import hashlib
import os
import signal
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gateway.engines.base import EngineSpec
from gateway.engines.process import EngineProcess, Timing
from gateway.store.engines import Engine, EngineState
from gateway.store.releases import Release
from tests.gateway.engines.fakes import FakeKind, is_alive, make_release

FAST = Timing(
    start_timeout=5,
    stop_timeout=2,
    first_backoff=0.05,
    longest_backoff=0.2,
    start_poll=0.02,
    check_every=0.05,
    check_timeout=0.2,
)


class Watched:
    """An engine in a slot, with every state that it went through."""

    def __init__(
        self, kind: FakeKind, folder: Path, timing: Timing = FAST, release: Release | None = None
    ) -> None:
        self.seen: list[tuple[float, Engine]] = []
        self.log = folder / "logs" / "engine-blue.log"
        spec = EngineSpec(
            release or make_release("m-1"),
            "blue",
            f"unix:{folder}/run/engine-blue.sock",
            self.log,
        )
        self.process = EngineProcess(
            kind,
            spec,
            host="here",
            inherited=os.environ,
            timing=timing,
            on_change=lambda engine: self.seen.append((time.monotonic(), engine)),
        )
        self.process.start()

    @property
    def states(self) -> list[EngineState]:
        states = [engine.state for _, engine in self.seen]
        return [each for i, each in enumerate(states) if i == 0 or states[i - 1] is not each]

    async def reach(self, *states: EngineState, seconds: float = 5) -> Engine:
        """Wait until the states seen end with `states`."""
        async with asyncio.timeout(seconds):
            while self.states[-len(states) :] != list(states):
                await asyncio.sleep(0.005)
        return self.seen[-1][1]


S = EngineState


async def test_ready_when_health_answers_and_gone_after_stop(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    engine = Watched(fake("slow-exit"), tmp_path)
    row = await engine.reach(S.STARTING, S.READY)
    assert row.pid is not None
    assert row.release == "m-1"
    assert row.restarts == 0
    folder = tmp_path / "run"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    await engine.process.stop()
    assert engine.states == [S.STARTING, S.READY, S.STOPPING]
    assert not is_alive(row.pid)
    assert "finished its requests" in engine.log.read_text()


async def test_killed_engine_is_restarting_at_once_and_comes_back(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    engine = Watched(fake("forks"), tmp_path)
    first = await engine.reach(S.READY)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    killed = time.monotonic()
    second = await engine.reach(S.READY, S.RESTARTING, S.READY)
    noticed = next(at for at, seen in engine.seen if seen.state is S.RESTARTING)
    assert noticed - killed < 0.5
    assert second.pid != first.pid
    assert second.restarts == 1
    assert second.error is None
    reasons = [seen.error or "" for _, seen in engine.seen if seen.state is S.RESTARTING]
    assert any("was killed by SIGKILL while it served" in reason for reason in reasons)
    await engine.process.stop()


async def test_an_engine_that_cannot_start_is_tried_again_and_explains_itself(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    kind = fake("crash")
    engine = Watched(kind, tmp_path)
    row = await engine.reach(S.STARTING, S.RESTARTING, S.FAILED)
    assert row.error is not None
    assert "ended with status 3 before it was ready" in row.error
    assert "out of memory, or so" in row.error
    starts = [at for at, seen in engine.seen if seen.state is S.RESTARTING and not seen.pid]
    assert starts[1] - starts[0] > 0.04  # the first back-off
    kind.mode = "plain"  # failed is not final
    await engine.reach(S.FAILED, S.READY)
    await engine.process.stop()


async def test_an_engine_that_never_gets_ready_is_killed_and_tried_again(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    kind = fake("deaf")
    engine = Watched(kind, tmp_path, replace(FAST, start_timeout=0.3))
    await engine.reach(S.RESTARTING)
    first = next(seen.pid for _, seen in engine.seen if seen.pid)
    assert not is_alive(first)
    assert "was not ready within 0.3 s" in (engine.seen[-1][1].error or "")
    kind.mode = "plain"
    await engine.reach(S.READY)
    await engine.process.stop()


async def test_an_engine_that_stops_answering_is_restarted(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    kind = fake("stuck")
    engine = Watched(kind, tmp_path, replace(FAST, check_timeout=0.05))
    first = await engine.reach(S.READY)
    assert first.pid is not None
    kind.mode = "plain"
    second = await engine.reach(S.READY, S.RESTARTING, S.READY)
    assert second.pid != first.pid
    assert not is_alive(first.pid)
    reasons = [seen.error or "" for _, seen in engine.seen]
    assert any("did not answer 3 health checks in a row" in reason for reason in reasons)
    await engine.process.stop()


async def test_an_engine_that_ignores_sigterm_is_killed_after_the_stop_timeout(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    engine = Watched(fake("stubborn"), tmp_path, replace(FAST, stop_timeout=0.3))
    row = await engine.reach(S.READY)
    assert row.pid is not None
    begun = time.monotonic()
    await engine.process.stop()
    assert 0.3 <= time.monotonic() - begun < 1.5
    assert not is_alive(row.pid)


async def test_stop_during_start_and_during_back_off_is_prompt(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    starting = Watched(fake("deaf"), tmp_path)
    while not starting.seen or starting.seen[-1][1].pid is None:
        await asyncio.sleep(0.005)
    begun = time.monotonic()
    await starting.process.stop()
    waiting = Watched(fake("crash"), tmp_path, replace(FAST, first_backoff=20))
    await waiting.reach(S.STARTING, S.FAILED)
    await waiting.process.stop()
    assert time.monotonic() - begun < 10  # not the 20 s of the back-off


async def test_a_stale_socket_does_not_keep_an_engine_from_starting(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "engine-blue.sock").touch()
    engine = Watched(fake("plain"), tmp_path)
    row = await engine.reach(S.STARTING, S.READY)
    assert row.restarts == 0
    await engine.process.kill()
    assert row.pid is not None
    assert not is_alive(row.pid)


async def test_a_large_log_is_moved_aside(fake: Callable[[str], FakeKind], tmp_path: Path) -> None:
    log = tmp_path / "logs" / "engine-blue.log"
    log.parent.mkdir()
    with log.open("wb") as file:
        file.truncate(50 * 2**20 + 1)
    engine = Watched(fake("plain"), tmp_path)
    await engine.reach(S.READY)
    assert log.stat().st_size < 1000
    assert log.with_name("engine-blue.log.1").stat().st_size > 50 * 2**20
    await engine.process.stop()


async def test_back_off_doubles_and_starts_anew_after_a_settled_life(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    kind = fake("plain")
    timing = replace(FAST, first_backoff=0.2, longest_backoff=10, jitter=0, settled=0.3)
    engine = Watched(kind, tmp_path, timing)
    pauses = []
    for life_s in (0.0, 0.0, 0.4):
        row = await engine.reach(S.READY)
        await asyncio.sleep(life_s)
        assert row.pid is not None
        os.kill(row.pid, signal.SIGKILL)
        await engine.reach(S.RESTARTING)
        down = len(engine.seen)
        await engine.reach(S.READY)
        again = next(at for at, seen in engine.seen[down:] if seen.pid)
        pauses.append(again - engine.seen[down - 1][0])
    assert 0.2 <= pauses[0] < 0.4 <= pauses[1] < 0.8
    assert 0.2 <= pauses[2] < 0.4
    await engine.process.stop()


def _with_weights(folder: Path) -> tuple[Release, Path]:
    model = folder / "model"
    model.mkdir()
    weights = model / "model.safetensors"
    weights.write_bytes(b"weights" * 1000)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return replace(make_release("m-1"), path=str(model), digests={weights.name: digest}), weights


async def test_changed_weights_are_not_served_until_they_are_as_registered(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    release, weights = _with_weights(tmp_path)
    right = weights.read_bytes()
    weights.write_bytes(b"W" + right[1:])
    engine = Watched(fake("plain"), tmp_path, release=release)
    row = await engine.reach(S.STARTING, S.FAILED)
    assert row.error is not None
    assert row.error.startswith("the files of m-1 are not what was registered:\nmodel.safetensors")
    assert all(seen.pid is None for _, seen in engine.seen)  # nothing was started
    weights.write_bytes(right)
    row = await engine.reach(S.STARTING, S.FAILED, S.READY)
    assert row.error is None
    await engine.process.stop()


async def test_weights_that_change_while_it_runs_are_not_loaded_after_a_crash(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    release, weights = _with_weights(tmp_path)
    engine = Watched(fake("plain"), tmp_path, release=release)
    row = await engine.reach(S.STARTING, S.READY)
    (weights.parent / "added.safetensors").write_bytes(b"x")
    assert row.pid is not None
    os.kill(row.pid, signal.SIGKILL)
    row = await engine.reach(S.READY, S.RESTARTING, S.FAILED)
    assert "added.safetensors: added" in (row.error or "")
    await engine.process.stop()


async def test_a_stop_does_not_wait_for_the_digests(
    fake: Callable[[str], FakeKind], tmp_path: Path
) -> None:
    release, weights = _with_weights(tmp_path)
    with weights.open("r+b") as file:
        file.truncate(8 * 2**30)  # a hole: seconds of hashing
    engine = Watched(fake("plain"), tmp_path, release=release)
    await engine.reach(S.STARTING)
    await asyncio.sleep(0.2)
    before = time.monotonic()
    await engine.process.stop()
    assert time.monotonic() - before < 1
