"""When a report is due, and what goes into it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from gateway.store.monitoring import Monitoring, MonitorState
from monitoring.embedding import Embedder
from monitoring.reference import Reference, Row
from monitoring.reports import Heading, Reports, Sample, Written
from monitoring.requests import of_record
from monitoring.rows import row_of
from monitoring.settings import MonitorSettings

_MOST_REQUESTS = 1000


def is_due(state: MonitorState, every: int) -> bool:
    """Return whether a report is due after this window: at an alarm of drift, and regularly."""
    signals = state.signals.get("all")
    alarmed = signals is not None and signals["evidence"] >= signals["threshold"]
    return state.windows > 1 and (alarmed or state.windows % every == 0)


async def write_report(
    settings: MonitorSettings,
    store: Monitoring,
    state: MonitorState,
    reference: Reference,
    embedder: Embedder,
    now: float,
) -> Written:
    """Write a report of a release's last requests, and note it in the state.

    Raises:
        NothingToReport: No request was judged yet, or none is in the traffic log any more.
        RetrievalUnavailable, RetrievalFailed: There are no vectors.
        StoreError: The store is away, or another monitor writes.
    """
    ids = store.last_requests(state.alias, state.release, _MOST_REQUESTS)
    records = {record.completion_id: record for record in store.requests(ids)}
    rows = [row_of(of_record(records[id])) for id in ids if id in records]
    vectors = await embedder.vectors([row.prompt for row in rows])
    reports = Reports(settings.folder() / "reports", settings.folder() / "workspace")
    notes = [topic["news"] for topic in state.topics if topic.get("news")]
    written = await asyncio.to_thread(
        reports.write,
        Heading(state.alias, state.release, now, notes),
        Sample(_columns(rows), vectors),
        Sample(_columns(reference.rows), reference.vectors),
    )
    store.write(replace(state, report=written.url))
    return written


def _columns(rows: Sequence[Row]) -> list[dict[str, float | str]]:
    return [{**row.numbers, "language": row.language} for row in rows]
