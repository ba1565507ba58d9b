"""The recorder: batches, a bounded queue, a store that is away."""

import time
from collections.abc import Sequence
from typing import Any

from gateway.metrics import Metrics
from gateway.recorder import Recorder, Served
from gateway.store.database import StoreError
from gateway.store.traffic import TrafficRecord
from gateway.wire import parse
from tests.gateway.running import wait

_BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'


class _Log:
    """A traffic log in memory that can be away."""

    def __init__(self) -> None:
        self.records: list[TrafficRecord] = []
        self.batches = 0
        self.away = False

    def add(self, records: Sequence[TrafficRecord]) -> None:
        if self.away:
            raise StoreError("away")
        self.batches += 1
        self.records += records

    def purge(self, before: float, limit: int = 1000) -> int:
        return 0


def _recorder(log: Any, capacity: int = 100, keep: bool = True) -> tuple[Recorder, Metrics]:
    metrics = Metrics()
    recorder = Recorder(log, metrics, capacity=capacity, keep_texts=keep, retention_s=1e9)
    return recorder, metrics


def _served(number: int, answer: bytes = b"") -> Served:
    return Served(parse("chat", _BODY), f"c{number}", None, "m", "r", time.time(), answer=[answer])


def _count(metrics: Metrics, name: str) -> float:
    lines = metrics.render()[0].decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_records_are_written_in_batches() -> None:
    log = _Log()
    recorder, metrics = _recorder(log)
    for number in range(50):
        recorder.put(_served(number))
    recorder.start()
    wait(lambda: len(log.records) == 50)
    assert log.batches == 1
    recorder.close()
    assert _count(metrics, "driftgate_records_written_total") == 50


def test_a_full_queue_drops_and_counts() -> None:
    recorder, metrics = _recorder(_Log(), capacity=3)
    for number in range(5):
        recorder.put(_served(number))
    assert _count(metrics, "driftgate_records_dropped_total") == 2


def test_a_store_that_is_away_loses_nothing_that_fits() -> None:
    log = _Log()
    log.away = True
    recorder, metrics = _recorder(log)
    recorder.start()
    for number in range(20):
        recorder.put(_served(number))
        time.sleep(0.005)
    log.away = False
    wait(lambda: len(log.records) == 20)
    recorder.close()
    assert _count(metrics, "driftgate_records_dropped_total") == 0


def test_closing_writes_what_waits() -> None:
    log = _Log()
    recorder, _ = _recorder(log)
    recorder.start()
    recorder.put(_served(1))
    recorder.close()
    assert len(log.records) == 1


def test_an_answer_that_cannot_be_read_loses_only_itself() -> None:
    log = _Log()
    recorder, metrics = _recorder(log)
    recorder.put(_served(1, b'{"choices": [3]}'))
    recorder.put(_served(2, b'{"choices": []}'))
    recorder.start()
    wait(lambda: len(log.records) == 1)
    recorder.close()
    assert log.records[0].completion_id == "c2"
    assert _count(metrics, "driftgate_records_dropped_total") == 1


def test_texts_can_be_kept_out() -> None:
    log = _Log()
    recorder, _ = _recorder(log, keep=False)
    recorder.start()
    recorder.put(_served(1, b'{"choices": [{"index": 0, "message": {"content": "secret"}}]}'))
    recorder.close()
    (record,) = log.records
    assert record.messages is None
    assert record.answer is None
    assert "secret" not in repr(record)
