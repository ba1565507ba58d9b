"""The recorder: a process that reads the spool into the traffic log, and deletes what is too old.

`python -m gateway.recorder` runs beside the workers, at a low priority, under their parent. Writing
a record twice is harmless, since the log knows its completion id: a file is deleted only after the
store has its records.
"""

import contextlib
import fcntl
import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import msgspec

from gateway import answers, spool, wire
from gateway.grounding.notes import generations_of, without_texts
from gateway.lifeline import die_with_parent
from gateway.metrics import RecordMetrics, SpanMetrics
from gateway.served import Served
from gateway.settings import Settings
from gateway.store.benefits import Benefits
from gateway.store.database import Database, StoreError
from gateway.store.traffic import Traffic, TrafficRecord
from gateway.tracing.spans import Span, spans

if TYPE_CHECKING:
    from gateway.tracing.exporter import Exporter

_log = logging.getLogger(__name__)
_BATCH = 200
_LOOK_EVERY_S = 0.1
_RETRY_S = 0.5
_PURGE_EVERY_S = 3600.0
_COUNT_EVERY_S = 10.0
_FINISH_WITHIN_S = 5.0
# It rests four times as long as it works: a fifth of a core, for the others are serving.
_REST = 4.0
_LONGEST_REST_S = 0.5


class Recorder:
    """Moves records from the spool to the traffic log.

    Args:
        folder: The spool.
        traffic: The log.
        metrics: Where written and lost records are counted.
        keep_texts: Whether prompts and answers are kept, or only the numbers.
        retention_s: Age at which records are deleted, in seconds.
        calm_bytes: While less than this waits, it takes its time.
        benefits: Where scores of answers are taken in.
        exporter: Takes the spans of requests that are traced.
    """

    def __init__(
        self,
        folder: Path,
        traffic: Traffic,
        metrics: RecordMetrics,
        *,
        keep_texts: bool,
        retention_s: float,
        calm_bytes: int = 0,
        benefits: Benefits | None = None,
        exporter: "Exporter | None" = None,
    ) -> None:
        self._folder = folder
        self._traffic = traffic
        self._metrics = metrics
        self._keep_texts = keep_texts
        self._retention_s = retention_s
        self._calm_bytes = calm_bytes
        self._next_purge = time.monotonic()
        self._benefits = benefits
        self._exporter = exporter
        self._next_count = 0.0

    def run(self, stop: Event) -> None:
        """Write until `stop` is set, then what is left, for at most 5 seconds."""
        while not stop.is_set():
            if not self.write_all(stop):
                stop.wait(_RETRY_S)
            if time.monotonic() >= self._next_purge:
                self._purge(stop)
            if self._benefits is not None and time.monotonic() >= self._next_count:
                self._count(self._benefits)
            stop.wait(_LOOK_EVERY_S)
        self.write_all(None, time.monotonic() + _FINISH_WITHIN_S)

    def write_all(self, stop: Event | None = None, until: float = float("inf")) -> bool:
        """Write every file that waits; returns False where the store is away."""
        waiting = spool.size(self._folder)
        self._metrics.spooled.set(waiting)
        for file in spool.files(self._folder):
            if (stop is not None and stop.is_set()) or time.monotonic() > until:
                break
            started = time.monotonic()
            if not self._write(file):
                return False
            file.unlink(missing_ok=True)
            if stop is not None and waiting < self._calm_bytes:
                stop.wait(min((time.monotonic() - started) * _REST, _LONGEST_REST_S))
        return True

    def _write(self, file: Path) -> bool:
        batch: list[TrafficRecord] = []
        traced: list[Span] = []
        try:
            for served in spool.read(file):
                record = self._read(served)
                if self._exporter is not None and served.trace is not None:
                    traced += spans(served)
                if record is not None:
                    batch.append(record)
                if len(batch) == _BATCH:
                    self._add(batch)
                    batch = []
            self._add(batch)
        except StoreError as error:
            _log.warning("traffic log: %s; %s waits", error, file.name)
            return False
        except FileNotFoundError:
            pass  # somebody has cleared the folder
        except (OSError, ValueError) as error:
            _log.error("spool: %s; kept as %s.bad", error, file.name)
            self._metrics.dropped.inc()
            with contextlib.suppress(OSError):
                file.rename(file.with_name(file.name + ".bad"))
        # Once its records are written: a file that is read again would send its spans again.
        if self._exporter is not None and traced:
            self._exporter.put(traced)
        return True

    def _add(self, batch: list[TrafficRecord]) -> None:
        self._traffic.add(batch)
        self._metrics.written.inc(len(batch))

    def _purge(self, stop: Event) -> None:
        try:
            while self._traffic.purge(time.time() - self._retention_s) and not stop.is_set():
                pass
        except StoreError as error:
            _log.warning("retention: %s; tried again later", error)
        self._next_purge = time.monotonic() + _PURGE_EVERY_S

    def _count(self, benefits: Benefits) -> None:
        """Take in the scores of answers with and without retrieval."""
        try:
            for topic in benefits.count(time.time()):
                _log.warning("retrieval was switched for the topic %s by its scores", topic)
        except StoreError as error:
            _log.warning("benefit of retrieval: %s; tried again later", error)
        self._next_count = time.monotonic() + _COUNT_EVERY_S

    def _read(self, served: Served) -> TrafficRecord | None:
        try:
            return self._record(served)
        except Exception:
            # One answer of a kind never seen must not end the log.
            _log.exception("traffic log: cannot read the answer of %s", served.completion_id)
            self._metrics.dropped.inc()
            return None

    def _record(self, served: Served) -> TrafficRecord:
        operation = served.operation
        request = wire.parse(operation, served.body)
        read = answers.from_stream if served.stream else answers.from_body
        answer = read(operation, served.answer) if served.answer else answers.Answer(None)
        keep = self._keep_texts and request.store
        notes = _decode(served.retrieval) if served.retrieval else None
        nll = notes.get("nll") if notes else None
        return TrafficRecord(
            completion_id=served.completion_id,
            created_at=served.created_at,
            operation=operation,
            key_prefix=served.key_prefix,
            alias=served.alias,
            release=served.release,
            index_generation=generations_of(notes) if notes else None,
            messages=_decode(request.prompt()) if keep else None,
            parameters=(
                {name: _decode(raw) for name, raw in request.parameters().items()} if keep else None
            ),
            answer=answer.content if keep else None,
            finish_reason=served.finish_reason,
            prompt_tokens=served.prompt_tokens,
            completion_tokens=served.completion_tokens,
            ttft_s=served.ttft_s,
            duration_s=served.duration_s,
            logprob_mean=-nll if answer.logprob_mean is None and nll else answer.logprob_mean,
            logprob_tail=answer.logprob_tail,
            retrieval=notes if keep or notes is None else without_texts(notes),
            outcome=served.outcome,
            status=served.status,
            metadata=request.metadata if keep else {},
            system_fingerprint=answer.system_fingerprint,
            conversation=served.conversation,
            shadow_of=served.shadow_of,
        )


def _decode(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


@contextlib.contextmanager
def _alone(folder: Path, stop: Event) -> Iterator[None]:
    """Wait until no other recorder works on the folder."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(folder / "lock", "w") as lock:
        while not stop.is_set():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                stop.wait(_RETRY_S)
        yield


def main() -> None:
    """Run until SIGTERM."""
    die_with_parent()
    settings = Settings()
    # Behind the workers. Not SCHED_IDLE: the scheduler would take its core for a free one and wake
    # workers there (measured: twice their latency).
    os.nice(19)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    database = Database(settings.resolved_database_url())
    exporter = None
    if settings.tracing_endpoint:
        # Only here: its HTTP client is a quarter of what the recorder has to import.
        from gateway.tracing.exporter import Exporter, headers_of

        headers = headers_of(settings.tracing_headers)
        exporter = Exporter(settings.tracing_endpoint, headers, SpanMetrics())
    recorder = Recorder(
        settings.spool_dir(),
        Traffic(database),
        RecordMetrics(),
        keep_texts=settings.record_texts,
        retention_s=settings.retention_days * 86400,
        calm_bytes=settings.record_spool_bytes // 2,
        benefits=Benefits(database),
        exporter=exporter,
    )
    with _alone(settings.spool_dir(), stop):
        recorder.run(stop)
    if exporter is not None:
        exporter.close()
    database.close()


if __name__ == "__main__":
    main()
