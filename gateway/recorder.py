"""Writes traffic records off the request path: a bounded queue, one thread, batches.

A full queue drops records and counts them; it never holds up a request. A store that is away is
retried, while the queue takes what it can.
"""

import contextlib
import logging
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway import answers
from gateway.metrics import Metrics
from gateway.sse import Usage
from gateway.store.database import StoreError
from gateway.store.traffic import Traffic, TrafficRecord
from gateway.wire import InferenceRequest

_log = logging.getLogger(__name__)
_BATCH = 500
_LINGER_S = 0.1
_RETRY_S = 0.5
_PURGE_EVERY_S = 3600.0


@dataclass(slots=True)
class Served:
    """One request as the relay leaves it: raw bytes, to be read in the recorder's thread."""

    request: InferenceRequest
    completion_id: str
    key_prefix: str | None
    alias: str
    release: str
    created_at: float
    outcome: str = "error"
    status: int = 500
    duration_s: float = 0.0
    ttft_s: float | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    answer: list[bytes] = field(default_factory=list)
    answer_bytes: int = 0


class Recorder:
    """Takes `Served` requests and writes them to the traffic log.

    Args:
        traffic: The log.
        metrics: Where dropped and written records are counted.
        capacity: Records that may wait.
        keep_texts: Whether prompts and answers are kept, or only the numbers.
        retention_s: Age at which records are deleted, in seconds.
    """

    def __init__(
        self,
        traffic: Traffic,
        metrics: Metrics,
        *,
        capacity: int,
        keep_texts: bool,
        retention_s: float,
    ) -> None:
        self._traffic = traffic
        self._metrics = metrics
        self._queue: queue.Queue[Served] = queue.Queue(capacity)
        self._keep_texts = keep_texts
        self._retention_s = retention_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._next_purge = time.monotonic()

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def put(self, served: Served) -> None:
        """Queue a record, or drop and count it where the queue is full. Never blocks."""
        try:
            self._queue.put_nowait(served)
        except queue.Full:
            self._metrics.dropped.inc()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is queued, for at most `timeout_s` seconds; the rest counts as dropped."""
        self._stop.set()
        self._thread.join(timeout_s)
        self._metrics.dropped.inc(self._queue.qsize())

    def _run(self) -> None:
        while not (self._stop.is_set() and self._queue.empty()):
            batch = self._gather()
            self._metrics.queue_depth.set(self._queue.qsize())
            if batch:
                self._write([record for served in batch if (record := self._read(served))])
            if time.monotonic() >= self._next_purge:
                self._purge()

    def _gather(self) -> list[Served]:
        batch: list[Served] = []
        with contextlib.suppress(queue.Empty):
            batch.append(self._queue.get(timeout=_LINGER_S))
            while len(batch) < _BATCH:
                batch.append(self._queue.get_nowait())
        return batch

    def _write(self, records: list[TrafficRecord]) -> None:
        while True:
            try:
                self._traffic.add(records)
            except StoreError as error:
                _log.warning("traffic log: %s; %d records wait", error, len(records))
                if self._stop.wait(_RETRY_S):
                    self._metrics.dropped.inc(len(records))
                    return
            else:
                self._metrics.written.inc(len(records))
                return

    def _purge(self) -> None:
        try:
            while self._traffic.purge(time.time() - self._retention_s) and not self._stop.is_set():
                pass
        except StoreError as error:
            _log.warning("retention: %s; tried again later", error)
        self._next_purge = time.monotonic() + _PURGE_EVERY_S

    def _read(self, served: Served) -> TrafficRecord | None:
        try:
            return self._record(served)
        except Exception:
            # One answer of a kind never seen must not end the log.
            _log.exception("traffic log: cannot read the answer of %s", served.completion_id)
            self._metrics.dropped.inc()
            return None

    def _record(self, served: Served) -> TrafficRecord:
        request = served.request
        operation = request.operation
        raw = b"".join(served.answer)
        read = answers.from_stream if request.stream else answers.from_body
        answer = read(operation, raw) if raw else answers.Answer(None)
        keep = self._keep_texts and request.store
        return TrafficRecord(
            completion_id=served.completion_id,
            created_at=served.created_at,
            operation=operation,
            key_prefix=served.key_prefix,
            alias=served.alias,
            release=served.release,
            index_generation=None,
            messages=_decode(request.prompt()) if keep else None,
            parameters=(
                {name: _decode(raw) for name, raw in request.parameters().items()} if keep else None
            ),
            answer=answer.content if keep else None,
            finish_reason=served.finish_reason,
            prompt_tokens=served.usage.prompt_tokens if served.usage else None,
            completion_tokens=served.usage.completion_tokens if served.usage else None,
            ttft_s=served.ttft_s,
            duration_s=served.duration_s,
            logprob_mean=answer.logprob_mean,
            logprob_tail=answer.logprob_tail,
            retrieval=None,
            outcome=served.outcome,
            status=served.status,
            metadata=request.metadata if keep else {},
            system_fingerprint=answer.system_fingerprint,
            conversation=None,
        )


def _decode(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
