"""One engine kept alive: readiness, crash, restart with back-off, liveness, graceful stop.

The files of the release are checked against its digests before each start: what was changed is not
served.

starting ──ready──► ready ──crash, stuck──► restarting ──ready──► ready
                                                │ back-off at its maximum
                                                ▼
                                             failed ──ready──► ready     (never gives up)
stop() from anywhere ──► stopping
"""

import asyncio
import logging
import random
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.digests import FileDigests, differences
from gateway.engines.base import (
    EngineKind,
    EngineSpec,
    child_environment,
    private_folder,
    socket_path,
)
from gateway.engines.child import Child, last_lines, rotate
from gateway.engines.probe import is_healthy, is_taken
from gateway.store.engines import Engine, EngineState

_log = logging.getLogger(__name__)

# An engine that is not ready yet has no requests to finish.
_IDLE_STOP_S = 5.0


class FilesChanged(Exception):
    """A release's files are not what was registered; the message names them."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The clock of an engine's life; all values in seconds, `failures` in checks."""

    start_timeout: float = 600.0
    stop_timeout: float = 30.0
    first_backoff: float = 0.5
    longest_backoff: float = 30.0
    jitter: float = 0.1  # of the back-off, up or down
    settled: float = 60.0  # ready for this long: the next crash starts at `first_backoff`
    start_poll: float = 0.1
    check_every: float = 2.0
    check_timeout: float = 10.0
    failures: int = 3


class EngineProcess:
    """One engine in one slot.

    Args:
        kind: How it is started.
        spec: What is started, where it listens and logs.
        host: The host's name, for the engine's record.
        inherited: The environment on which the engine's own is built.
        timing: Its clock.
        on_change: Called in the event loop with each new record.
        files: What computes digests, shared by the engines of a host; a file that it has read is
            read again only once it was written.
    """

    def __init__(
        self,
        kind: EngineKind,
        spec: EngineSpec,
        *,
        host: str,
        inherited: Mapping[str, str],
        timing: Timing,
        on_change: Callable[[Engine], None],
        files: FileDigests | None = None,
    ) -> None:
        self._kind = kind
        self._files = files or FileDigests()
        self.spec = spec
        self._host = host
        self._inherited = inherited
        self._timing = timing
        self._on_change = on_change
        self._child: Child | None = None
        self._state = EngineState.STARTING
        self._restarts = 0
        self._error: str | None = None
        self._unfit = False  # its files were changed
        self._stop_asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start it and keep it running until `stop`."""
        self._task = asyncio.create_task(self._run(), name=f"engine-{self.spec.slot}")

    async def stop(self) -> None:
        """Let it finish its requests within the stop timeout, then kill it; returns when gone."""
        self._stop_asked.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def kill(self) -> None:
        """Kill it at once; returns when it is gone."""
        self._stop_asked.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        backoff = self._timing.first_backoff
        self._publish(EngineState.STARTING)
        while not self._stop_asked.is_set():
            reason, ready_s = await self._one_life()
            if self._stop_asked.is_set():
                break
            if ready_s >= self._timing.settled:
                backoff = self._timing.first_backoff
            state = self._state
            if self._unfit or backoff >= self._timing.longest_backoff:
                state = EngineState.FAILED
            elif state is not EngineState.FAILED:
                state = EngineState.RESTARTING
            self._restarts += 1
            _log.warning("engine %s %s: %s", self.spec.slot, state, reason)
            self._error = reason
            self._publish(state)
            wait = backoff * (1 + self._timing.jitter * random.uniform(-1, 1))  # noqa: S311
            await self._pause(wait)
            backoff = min(backoff * 2, self._timing.longest_backoff)

    async def _one_life(self) -> tuple[str, float]:
        """Run the command once; returns why it ended and for how many seconds it was ready."""
        log_start, ready_at = 0, None
        self._unfit = False
        try:
            log_start = await self._prepare()
            await self._check_files()
            self._child = await Child.start(
                self._kind.command(self.spec),
                child_environment(self._kind, self.spec, self._inherited),
                self.spec.log,
            )
            self._publish(self._state)
            reason = await self._until_ready(self._child)
            if reason is None:
                ready_at = time.monotonic()
                self._error = None
                self._publish(EngineState.READY)
                reason = await self._while_ready(self._child)
        except FilesChanged as changed:
            self._unfit = True
            return str(changed), 0.0
        except Exception as error:  # whatever it is, the engine is tried again
            reason = f"could not run: {type(error).__name__}: {error}"
        finally:
            ready_s = 0.0 if ready_at is None else time.monotonic() - ready_at
            child, self._child = self._child, None
            if ready_at is not None and not self._stop_asked.is_set():
                # Before cleaning up: the gateway must not send it another request.
                self._publish(EngineState.RESTARTING)
            if child is not None:
                await child.kill()
        tail = last_lines(self.spec.log, log_start)
        return (f"{reason}\n{tail}" if tail else reason), ready_s

    async def _prepare(self) -> int:
        """Make way for the engine's socket and log; returns where its output will begin."""
        path = socket_path(self.spec.address)
        if path is not None:
            private_folder(path.parent)
            path.unlink(missing_ok=True)
        elif await is_taken(self.spec.address):
            # Its answers to /health would be taken for the engine's.
            raise OSError(f"something else already listens on {self.spec.address}")
        rotate(self.spec.log)
        return self.spec.log.stat().st_size if self.spec.log.exists() else 0

    async def _check_files(self) -> None:
        """Compare the release's files with its digests; one without digests has no files."""
        release = self.spec.release
        if not release.digests:
            return
        started = time.monotonic()
        changed = await asyncio.to_thread(
            differences,
            Path(release.path),
            release.digests,
            self._files,
            stopped=self._stop_asked.is_set,
        )
        if changed:
            listed = "\n".join(changed)
            raise FilesChanged(f"the files of {release.id} are not what was registered:\n{listed}")
        seconds = time.monotonic() - started
        _log.info("the files of %s are as registered (%.2f s)", release.id, seconds)

    async def _until_ready(self, child: Child) -> str | None:
        """Poll until the engine answers; returns the reason when it does not come to that."""
        deadline = time.monotonic() + self._timing.start_timeout
        ended = asyncio.create_task(child.wait())
        try:
            while (left := deadline - time.monotonic()) > 0:
                if await self._healthy(ended, child, min(self._timing.check_timeout, left)):
                    return None
                if await self._ended_within(ended, child, {ended}, self._timing.start_poll):
                    return _describe(ended.result(), "before it was ready")
            return f"was not ready within {self._timing.start_timeout:g} s"
        finally:
            ended.cancel()

    async def _while_ready(self, child: Child) -> str:
        """Watch a ready engine; returns why it has to be started again."""
        ended = asyncio.create_task(child.wait())
        failures = 0
        try:
            while failures < self._timing.failures:
                if await self._ended_within(ended, child, {ended}, self._timing.check_every):
                    return _describe(ended.result(), "while it served")
                healthy = await self._healthy(ended, child, self._timing.check_timeout)
                failures = 0 if healthy else failures + 1
            return f"did not answer {failures} health checks in a row"
        finally:
            ended.cancel()

    async def _healthy(self, ended: asyncio.Task[int], child: Child, limit: float) -> bool:
        """Ask the engine for its health; the child's end or a stop cuts the question short."""
        check = asyncio.create_task(is_healthy(self.spec.address, limit))
        try:
            if await self._ended_within(ended, child, {ended, check}, None):
                return False
            return await check
        finally:
            check.cancel()

    async def _ended_within(
        self,
        ended: asyncio.Task[int],
        child: Child,
        events: set[asyncio.Task[Any]],
        wait: float | None,
    ) -> bool:
        """Wait for one of `events`; returns whether the child has ended.

        A stop that is asked for meanwhile is carried out here.
        """
        stop = asyncio.create_task(self._stop_asked.wait())
        try:
            await asyncio.wait({*events, stop}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
        if self._stop_asked.is_set() and not ended.done():
            serving = self._state is EngineState.READY
            self._publish(EngineState.STOPPING)
            child.terminate()
            limit = self._timing.stop_timeout
            await asyncio.wait({ended}, timeout=limit if serving else min(limit, _IDLE_STOP_S))
            if not ended.done():
                _log.warning("engine %s did not stop in time: killed", self.spec.slot)
                await child.kill()
            await ended
        return ended.done()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop_asked.wait()
        except TimeoutError:
            return

    def _publish(self, state: EngineState) -> None:
        self._state = state
        self._on_change(
            Engine(
                slot=self.spec.slot,
                host=self._host,
                release=self.spec.release.id,
                address=self.spec.address,
                state=state,
                pid=self._child.pid if self._child is not None else None,
                restarts=self._restarts,
                error=self._error,
                updated_at=time.time(),
            )
        )


def _describe(status: int, when: str) -> str:
    if status >= 0:
        return f"ended with status {status} {when}"
    try:
        return f"was killed by {signal.Signals(-status).name} {when}"
    except ValueError:
        return f"was killed by signal {-status} {when}"
