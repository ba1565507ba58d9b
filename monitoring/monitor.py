"""The monitor: in each cycle it looks at every release that answers, and at nothing twice.

    probes → aliases → watchers (windows → evidence → health) → judge → reports

An alias whose step fails is told, counted and tried again in the next cycle; the others go on.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.store.database import Database, StoreError
from gateway.store.health import Healths
from gateway.store.monitoring import Monitoring, MonitorState
from gateway.store.releases import Releases
from monitoring.embedding import Embedder
from monitoring.judge import Judge
from monitoring.probing import Probing
from monitoring.reference import ReferenceUnusable
from monitoring.reporting import is_due, write_report
from monitoring.reports import NothingToReport
from monitoring.settings import MonitorSettings
from monitoring.watcher import Watcher
from retrieval.client import RetrievalFailed, RetrievalUnavailable

_log = logging.getLogger(__name__)
JUDGED = "judge"
_MOST_WINDOWS = 50
_FAILURES = (ReferenceUnusable, RetrievalFailed, RetrievalUnavailable, StoreError, OSError)


class MonitorRunning(Exception):
    """Another monitor works in this folder."""


class Monitor:
    """Watches all aliases.

    Args:
        settings: The monitor's settings.
        database: The store.
        embedder: Makes vectors of prompts.
        probing: Asks golden probes; None: none are asked.
        judge: Scores a sample of the answers; None: nobody does.
        clock: Unix seconds.
    """

    def __init__(
        self,
        settings: MonitorSettings,
        database: Database,
        embedder: Embedder,
        probing: Probing | None = None,
        judge: Judge | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._embedder, self._clock = settings, embedder, clock
        self._probing, self._judge = probing, judge
        self._releases = Releases(database)
        self._store = Monitoring(database)
        self._healths = Healths(database)
        self.watchers: dict[tuple[str, str], Watcher] = {}
        self.failures: dict[str, str] = {}
        self.failed = 0
        self._next_purge = 0.0

    async def cycle(self) -> list[MonitorState]:
        """Judge every full window; returns the states that were written.

        What fails is in `failures`, by alias, until the next cycle.
        """
        self.failures = {}
        written: list[MonitorState] = []
        try:
            self._look()
            self._purge()
        except StoreError as error:
            self._fail("store", error)
            return written
        if self._probing is not None:
            self.failures |= await self._probing.ask_due(self.watchers.values())
        for watcher in list(self.watchers.values()):
            try:
                written += await self._watch(watcher)
            except _FAILURES as error:
                self._fail(watcher.alias, error)
        return written

    async def _watch(self, watcher: Watcher) -> list[MonitorState]:
        """Judge every full window of a release."""
        written: list[MonitorState] = []
        for _ in range(_MOST_WINDOWS):
            state = await watcher.step()
            if state is None:
                break
            written.append(state)
            if state.stage != "watching":
                break
            if self._judge is not None:
                verdicts = await self._judge.judge(watcher.judged)
                watcher.add_losses(JUDGED, [1 - verdict.score for verdict in verdicts])
        if any(is_due(state, self._settings.monitor_report_windows) for state in written):
            await self._report(watcher, written[-1])
        return written

    async def _report(self, watcher: Watcher, state: MonitorState) -> None:
        if watcher.reference is None:
            return
        with contextlib.suppress(NothingToReport):
            await write_report(
                self._settings, self._store, state, watcher.reference, self._embedder,
                self._clock(),
            )  # fmt: skip

    def health(self) -> dict[str, str]:
        """Return the state of each alias that has one; none while the store is away."""
        try:
            return {health.alias: health.state for health in self._healths.all()}
        except StoreError:
            return {}

    def _look(self) -> None:
        """Keep a watcher for each release that gets live traffic."""
        wanted: dict[tuple[str, str], bool] = {}
        for alias, targets in self._releases.aliases().items():
            live = [t for t in targets if t.mode == "live" and t.weight > 0]
            most = max(live, key=lambda target: (target.weight, target.release), default=None)
            wanted |= {(alias, t.release): t is most for t in live}
        for gone in self.watchers.keys() - wanted.keys():
            del self.watchers[gone]
        for (alias, release), leads in wanted.items():
            watcher = self.watchers.get((alias, release))
            if watcher is None:
                watcher = Watcher(
                    alias, release, self._store, self._healths, self._embedder, self._settings,
                    clock=self._clock,
                )  # fmt: skip
                self.watchers[alias, release] = watcher
            watcher.leads = leads

    def _purge(self) -> None:
        now = self._clock()
        if now >= self._next_purge:
            self._store.purge(now - self._settings.monitor_keep_days * 86400)
            self._next_purge = now + 3600

    def _fail(self, name: str, error: Exception) -> None:
        self.failed += 1
        self.failures[name] = f"{error}"
        _log.warning("%s: %s; tried again in the next cycle", name, error)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the place of the one monitor of a folder.

    Raises:
        MonitorRunning: There is another.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(folder / "monitor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MonitorRunning(f"another monitor works in {folder}") from None
        yield
    finally:
        os.close(lock)


async def until(stop: asyncio.Event, seconds: float) -> bool:
    """Wait, at most until `stop`; returns whether it is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()
