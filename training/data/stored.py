"""Reads answers and the feedback on them from the store, for curation."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from gateway.store.database import Database
from gateway.store.examples import Example, RowError, from_row
from gateway.store.feedback import FeedbackLog
from gateway.store.traffic import Traffic, TrafficRecord
from training.data.curation import ANONYMOUS, Judged
from training.data.source import Progress, silent

_PAGE = 500


def judged(
    database: Database,
    filters: Counter[str],
    *,
    model: str | None = None,
    since: float | None = None,
    until: float | None = None,
    on_progress: Progress = silent,
) -> Iterator[Judged]:
    """Read chat answers, oldest first, with the feedback on each.

    Args:
        database: The store.
        filters: Counts the records that are left out here, by reason.
        model: Only answers of this alias or release.
        since: Only answers from this time on, in Unix seconds.
        until: Only answers before this time, in Unix seconds.
        on_progress: Told how many records were read.

    Raises:
        StoreError: The store cannot be read.
    """
    traffic, log = Traffic(database), FeedbackLog(database)
    after: str | None = None
    more, read = True, 0
    while more:
        records, more = traffic.page(after=after, limit=_PAGE, model=model)
        for record in records:
            if until is not None and record.created_at >= until:
                return
            if since is None or record.created_at >= since:
                answer = _judged(record, log, filters)
                if answer is not None:
                    yield answer
        read += len(records)
        after = records[-1].completion_id if records else None
        more = more and after is not None
        on_progress("stored answers", read, 0)


def _judged(record: TrafficRecord, log: FeedbackLog, filters: Counter[str]) -> Judged | None:
    row = _row(record)
    if row is None:
        filters["without_text"] += 1
        return None
    try:
        example = from_row(row, 0)
    except RowError as error:
        filters[f"unusable_{error.code}"] += 1
        return None
    complete = record.outcome == "done" and record.finish_reason in ("stop", "tool_calls")
    grounded = (record.retrieval or {}).get("outcome") == "grounded"
    return Judged(_named(example, record), tuple(log.of(record.completion_id)), complete, grounded)


def _named(example: Example, record: TrafficRecord) -> Example:
    return Example(
        example.messages,
        slice=record.metadata.get("slice", ""),
        contributor=record.key_prefix or ANONYMOUS,
        source=record.completion_id,
        created_at=record.created_at,
    )


def _row(record: TrafficRecord) -> dict[str, Any] | None:
    """Return a record as a row, or None where it has no texts, or pictures among them."""
    choices = (record.answer or {}).get("choices") or []
    if not isinstance(record.messages, list) or not choices:
        return None
    turns = [_as_text(turn) for turn in (*record.messages, choices[0].get("message"))]
    if any(turn is None for turn in turns):
        return None
    return {"messages": turns}


def _as_text(turn: Any) -> dict[str, Any] | None:
    """Put the text parts of a turn together; None where it is no turn or has other parts."""
    if not isinstance(turn, dict):
        return None
    content = turn.get("content")
    if not isinstance(content, list):
        return turn
    texts = [part.get("text") if isinstance(part, dict) else None for part in content]
    if not all(isinstance(text, str) for text in texts):
        return None
    return turn | {"content": "".join(str(text) for text in texts)}
