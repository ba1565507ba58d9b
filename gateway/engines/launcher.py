"""Keep one engine per release that an alias points at, in two slots, and say so in the store.

Every half second the launcher compares what the aliases want with what runs:

- a wanted release takes a free slot; one that finds none waits, and the log says so once;
- a release that no alias points at any more is stopped gracefully, after a moment in which the
  gateway's workers take notice of the moved alias;
- a release that is wanted keeps its slot, whatever else is wanted.

With one slot only (a machine without memory for two engines), a release that was trained from the
running one is served as an adapter in that engine (`adapters.py`). Once no alias wants the running
release any more, the wanted one takes its place: a row says that it is about to, and requests wait
for it in the gateway instead of failing.

Each change of an engine's state becomes a row at once. When the store fails, the engines keep
running and the rows are written when it is back.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from gateway.digests import FileDigests
from gateway.engines.adapters import Adapters, fits
from gateway.engines.base import SLOTS, EngineKind, EngineSpec, private_folder
from gateway.engines.process import EngineProcess, Timing
from gateway.engines.rows import EngineRows, RowWriter
from gateway.store.database import StoreError
from gateway.store.engines import Engine, EngineState
from gateway.store.releases import PREVIOUS, Release, Target

_log = logging.getLogger(__name__)

_RECONCILE_S = 0.5
# Longer than a gateway worker takes to read a moved alias (`DRIFTGATE_REFRESH_S`).
_LINGER_S = 2.0
_LAST_WRITES_S = 5.0
# The aliases of a rollout: what is tried out, and what served before and is kept warm.
_AT_ROLLOUT = frozenset({"candidate", PREVIOUS})
# A swap is over: the new engine serves, or nobody knows when it will.
_SWAPPED = frozenset({EngineState.READY, EngineState.FAILED})


class ReleaseSource(Protocol):
    """The part of `store.releases.Releases` that the launcher reads."""

    def aliases(self) -> dict[str, tuple[Target, ...]]: ...

    def get(self, id: str) -> Release | None: ...


class LauncherRunning(RuntimeError):
    """Another launcher already owns this run folder."""


class Launcher:
    """The engines of one host.

    Args:
        releases: Where aliases and releases are read.
        engines: Where the state of each engine is written.
        kind: How an engine is started.
        host: This host's name in the engines' rows.
        run_dir: The private folder of sockets and of the lock that keeps a second launcher out.
        addresses: Where the engine of each slot listens, see `base.engine_addresses`.
        logs: The folder of `engine-<slot>.log`.
        environment: What an engine's environment is built on.
        timing: The clock of the engines.
        slots: How many engines there is memory for, one or two.
        linger_s: How long a release that is no longer wanted still runs, in seconds.
        reconcile_s: How often aliases are read, in seconds.
        on_change: Called in the event loop with each new state.
    """

    def __init__(
        self,
        releases: ReleaseSource,
        engines: EngineRows,
        kind: EngineKind,
        *,
        host: str,
        run_dir: Path,
        addresses: Mapping[str, str],
        logs: Path,
        environment: Mapping[str, str],
        timing: Timing | None = None,
        slots: int = len(SLOTS),
        linger_s: float = _LINGER_S,
        reconcile_s: float = _RECONCILE_S,
        on_change: Callable[[Engine], None] | None = None,
    ) -> None:
        self._releases = releases
        self._rows = RowWriter(engines, host)
        self._kind = kind
        self._host = host
        self._run_dir = run_dir
        self._addresses = addresses
        self._logs = logs
        self._environment = environment
        self._timing = timing or Timing()
        self._slots = SLOTS[:slots]
        self._linger_s = linger_s
        self._reconcile_s = reconcile_s
        self._on_change = on_change
        self._files = FileDigests()
        self._running: dict[str, EngineProcess] = {}
        self._stopping: dict[str, asyncio.Task[None]] = {}
        self._unwanted_since: dict[str, float] = {}
        self._adapters: dict[str, Adapters] = {}  # by slot; with one slot only
        self._swapping: str | None = None  # the release that is about to take the only slot
        self._waiting: frozenset[str] = frozenset()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the engines until `stop` is set; returns when all of them are gone.

        Raises:
            LauncherRunning: Another launcher uses the same run folder.
            OSError: The run folder cannot be made private.
        """
        with _only_launcher(self._run_dir):
            writer = asyncio.create_task(self._rows.run(), name="engine-rows")
            try:
                # The guards of a launcher that crashed have killed its engines.
                await self._rows.clear(stop)
                await self._keep(stop, writer)
            finally:
                await self._end(writer)

    async def _keep(self, stop: asyncio.Event, writer: asyncio.Task[None]) -> None:
        stopped = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                # A store that hangs must not delay the stop.
                step = asyncio.create_task(self._reconcile())
                await asyncio.wait({step, stopped, writer}, return_when=asyncio.FIRST_COMPLETED)
                if writer.done():
                    writer.result()  # it only ends by an error that nobody foresaw
                if not step.done():
                    step.cancel()
                    break
                step.result()
                await asyncio.wait({stopped}, timeout=self._reconcile_s)
        finally:
            stopped.cancel()

    async def _reconcile(self) -> None:
        try:
            wanted = await self._wanted()
        except StoreError as error:
            _log.warning("the store does not answer, engines stay as they are: %s", error)
            return
        self._stop_unwanted(wanted)
        served = {
            process.spec.release.id
            for slot, process in self._running.items()
            if slot not in self._stopping
        }
        missing = [release for id, release in wanted.items() if id not in served]
        free = [slot for slot in self._slots if slot not in self._running]
        for slot, release in zip(free, missing, strict=False):
            self._start(slot, release)
        left = missing[len(free) :]
        if len(self._slots) == 1:
            left = self._host_adapters(left, wanted)
        waiting = frozenset(release.id for release in left)
        if waiting and waiting != self._waiting:
            _log.warning("no free engine slot for %s", ", ".join(sorted(waiting)))
        self._waiting = waiting

    def _stop_unwanted(self, wanted: Mapping[str, Release]) -> None:
        now = time.monotonic()
        for slot, process in self._running.items():
            if process.spec.release.id in wanted:
                self._unwanted_since.pop(slot, None)
            elif slot not in self._stopping:
                since = self._unwanted_since.setdefault(slot, now)
                if now - since >= self._linger_s:
                    self._stopping[slot] = asyncio.create_task(self._stop(slot, process))

    def _host_adapters(
        self, missing: Sequence[Release], wanted: Mapping[str, Release]
    ) -> list[Release]:
        """Serve what fits as adapters, or announce the swap; returns what has to wait."""
        (slot,) = self._slots
        hosted: list[Release] = []
        if slot in self._running and slot not in self._stopping:
            running = self._running[slot].spec.release
            if running.id not in wanted:
                # As long before the engine is stopped as the workers take to notice.
                self._announce_swap(next(iter(wanted), None))
            elif running.id != self._swapping:
                self._announce_swap(None)  # it is wanted again
                hosted = [release for release in missing if fits(release, running)]
            self._adapters[slot].want(hosted)
        return [r for r in missing if r not in hosted and r.id != self._swapping]

    def _announce_swap(self, release: str | None) -> None:
        if release == self._swapping:
            return
        (slot,) = self._slots
        row: Engine | None = None
        if release is not None:
            _log.info("%s takes the place of the running engine: requests for it wait", release)
            row = Engine(
                slot=f"{slot}+swap",
                host=self._host,
                release=release,
                address=self._addresses[slot],
                state=EngineState.SWAPPING,
                pid=None,
                restarts=0,
                error=None,
                updated_at=time.time(),
            )
        self._swapping = release
        self._rows.change(f"{slot}+swap", row)

    async def _wanted(self) -> dict[str, Release]:
        """Return the releases that aliases point at, those first that matter most.

        Live ones with most weight come first, those of a rollout's own aliases after the others.
        With one slot, what others can be served in comes before them.
        """
        aliases = await asyncio.to_thread(self._releases.aliases)
        targets = [(alias, target) for alias in sorted(aliases) for target in aliases[alias]]
        targets.sort(key=lambda at: (at[1].mode != "live", at[0] in _AT_ROLLOUT, -at[1].weight))
        wanted: dict[str, Release] = {}
        for id in dict.fromkeys(target.release for _, target in targets):
            release = await self._release(id)
            if release is None:
                _log.error("an alias points at %s, which is not registered", id)
            else:
                wanted[id] = release
        if len(self._slots) == 1:
            hosts = {id: sum(fits(r, host) for r in wanted.values()) for id, host in wanted.items()}
            wanted = {id: wanted[id] for id in sorted(wanted, key=lambda id: -hosts[id])}
        return wanted

    async def _release(self, id: str) -> Release | None:
        for process in self._running.values():
            if process.spec.release.id == id:
                return process.spec.release  # releases never change
        return await asyncio.to_thread(self._releases.get, id)

    def _start(self, slot: str, release: Release) -> None:
        process = EngineProcess(
            self._kind,
            EngineSpec(release, slot, self._addresses[slot], self._logs / f"engine-{slot}.log"),
            host=self._host,
            inherited=self._environment,
            timing=self._timing,
            on_change=self._changed,
            files=self._files,
        )
        self._running[slot] = process
        if len(self._slots) == 1:
            if self._swapping is not None:
                self._announce_swap(release.id)
            self._adapters[slot] = Adapters(
                process.spec,
                host=self._host,
                files=self._files,
                linger_s=self._linger_s,
                on_change=self._rows.change,
            )
        process.start()

    async def _stop(self, slot: str, process: EngineProcess) -> None:
        adapters = self._adapters.pop(slot, None)
        if adapters is not None:
            await adapters.close()
        await process.stop()
        del self._running[slot]
        self._unwanted_since.pop(slot, None)
        self._stopping.pop(slot, None)
        self._rows.change(slot, None)

    def _changed(self, engine: Engine) -> None:
        self._rows.change(engine.slot, engine)
        if engine.slot in self._adapters:
            self._adapters[engine.slot].engine_changed(engine.state)
        if engine.release == self._swapping and engine.state in _SWAPPED:
            self._announce_swap(None)  # after the row of the engine itself
        if self._on_change is not None:
            try:
                self._on_change(engine)
            except Exception:  # a display must not end an engine
                _log.exception("the progress display failed")

    async def _end(self, writer: asyncio.Task[None]) -> None:
        """Stop every engine, then write what is left to write within a limit."""
        for slot, process in list(self._running.items()):
            if slot not in self._stopping:
                self._stopping[slot] = asyncio.create_task(self._stop(slot, process))
        await asyncio.gather(*self._stopping.values())
        self._announce_swap(None)
        await self._rows.drain(_LAST_WRITES_S)
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


@contextlib.contextmanager
def _only_launcher(run_dir: Path) -> Iterator[None]:
    private_folder(run_dir)
    lock = os.open(run_dir / "launcher.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise LauncherRunning(f"another launcher already runs in {run_dir}") from error
        yield
    finally:
        os.close(lock)
