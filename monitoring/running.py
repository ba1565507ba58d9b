"""The composition root of the monitor: builds every part, and runs cycle after cycle."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.store.database import Database, StoreError
from gateway.store.health import Healths
from gateway.store.monitoring import Monitoring, MonitorState
from monitoring import reference, reporting
from monitoring.embedding import ServiceEmbedder
from monitoring.exporter import Exporter
from monitoring.judge import Judge, JudgeSettings
from monitoring.monitor import Monitor, MonitorRunning, alone, until
from monitoring.probing import Probing
from monitoring.reference import ReferenceUnusable
from monitoring.reports import NothingToReport
from monitoring.settings import MonitorSettings, slug
from monitoring.watcher import Watcher
from retrieval.client import RetrievalFailed, RetrievalUnavailable
from retrieval.places import retrieval_socket

FAILURES = (
    MonitorRunning, NothingToReport, OSError, ReferenceUnusable, RetrievalFailed,
    RetrievalUnavailable, StoreError,
)  # fmt: skip
"""What a command ends with in one line."""


async def run_until(
    stop: asyncio.Event,
    settings: MonitorSettings,
    database: Database,
    tell: Callable[[str], None],
) -> None:
    """Watch until `stop` is set; a cycle that is under way is finished.

    Raises:
        MonitorRunning: There is another monitor.
        OSError: The port is taken, or the token cannot be read.
    """
    with alone(settings.folder()):
        exporter = Exporter(
            database, settings.monitor_host, settings.monitor_port, _token(settings),
            settings.folder() / "reports", budgets=not settings.ledger_url,
        )  # fmt: skip
        exporter.start()
        tell(f"metrics: {exporter.url}/metrics")
        try:
            async with _monitor(settings, database) as monitor:
                # What was imported lives on: the collector need not walk it in every cycle.
                gc.collect()
                gc.freeze()
                while not stop.is_set():
                    await _cycle(monitor, exporter, tell)
                    await until(stop, settings.monitor_period_s)
        finally:
            exporter.close()


async def _cycle(monitor: Monitor, exporter: Exporter, tell: Callable[[str], None]) -> None:
    started = time.monotonic()
    before = monitor.health()
    written = await monitor.cycle()
    exporter.cycle_ended(time.monotonic() - started)
    if monitor.failures:
        exporter.cycle_failed()
    for alias, reason in monitor.failures.items():
        tell(f"{alias}: {reason}; tried again in the next cycle")
    for line in _lines(written):
        tell(line)
    for alias, state in monitor.health().items():
        if before.get(alias, "HEALTHY") != state:
            tell(f"{alias}: {before.get(alias, 'HEALTHY')} → {state}")


async def run_once(
    settings: MonitorSettings, database: Database
) -> tuple[list[MonitorState], dict[str, str]]:
    """Run one cycle; returns the states that were written, and what failed, by alias.

    Raises:
        MonitorRunning: There is another monitor.
    """
    with alone(settings.folder()):
        async with _monitor(settings, database) as monitor:
            return await monitor.cycle(), monitor.failures


async def write_report(
    settings: MonitorSettings, database: Database, alias: str, release: str
) -> Path:
    """Write a report of a release now; returns its page.

    Raises:
        NothingToReport: Nothing was judged yet.
        ReferenceUnusable: There is no reference, or it is damaged.
    """
    store = Monitoring(database)
    state = store.state(alias, release)
    found = reference.load(settings.folder() / "references" / slug(alias, release))
    if state is None or found is None:
        raise NothingToReport(f"{alias} has no reference of {release} yet")
    embedder = ServiceEmbedder(retrieval_socket(settings.home))
    try:
        written = await reporting.write_report(settings, store, state, found, embedder, time.time())
    finally:
        await embedder.close()
    return written.path


def cleared(
    settings: MonitorSettings, database: Database, alias: str, release: str, reason: str
) -> bool:
    """Begin the evidence about a release anew; returns whether there was any."""
    watcher = Watcher(
        alias, release, Monitoring(database), Healths(database),
        ServiceEmbedder(retrieval_socket(settings.home)), settings,
    )  # fmt: skip
    return watcher.restart(reason) is not None


def _lines(states: list[MonitorState]) -> list[str]:
    latest = {(state.alias, state.release): state for state in states}
    found = []
    for (alias, release), state in latest.items():
        drift = state.signals.get("all")
        shown = (
            f"drift {drift['evidence']:,.1f} of {drift['threshold']:,.0f}"
            if drift
            else state.stage.replace("_", " ")
        )
        found.append(f"{alias} {release}: {state.windows} windows, {shown}")
    return found


@asynccontextmanager
async def _monitor(settings: MonitorSettings, database: Database) -> AsyncIterator[Monitor]:
    embedder = ServiceEmbedder(retrieval_socket(settings.home), pause_s=0.005)
    probing = Probing(settings)
    judge = Judge(_judge_settings(settings)) if settings.monitor_judge_url else None
    try:
        yield Monitor(settings, database, embedder, probing, judge)
    finally:
        await embedder.close()
        await probing.close()
        if judge is not None:
            await judge.close()


def _judge_settings(settings: MonitorSettings) -> JudgeSettings:
    return JudgeSettings(
        settings.monitor_judge_url, settings.monitor_judge_key.get_secret_value(),
        settings.monitor_judge_model, settings.monitor_judge_share,
    )  # fmt: skip


def _token(settings: MonitorSettings) -> str | None:
    path: Path | None = settings.monitor_token_file
    return None if path is None else path.read_text(encoding="utf-8").strip()
