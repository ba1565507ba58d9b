"""From a worker's records to the traffic log: batches, bounds, a store or a disk that is away."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway import spool
from gateway.grounding.notes import NotedPassage, Notes
from gateway.metrics import Metrics
from gateway.recorder import Recorder
from gateway.served import Served
from gateway.spool import Spool
from gateway.store.database import StoreError
from gateway.store.traffic import TrafficRecord
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


def _recorder(folder: Path, log: Any, keep: bool = True) -> tuple[Recorder, Metrics]:
    metrics = Metrics()
    return Recorder(folder, log, metrics.records, keep_texts=keep, retention_s=1e9), metrics


def _served(number: int, answer: bytes = b"") -> Served:
    return Served("chat", _BODY, False, f"c{number}", None, "m", "r", time.time(), answer=answer)


def _spool(folder: Path, *served: Served, limit_bytes: int = 2**20) -> Metrics:
    metrics = Metrics()
    writer = Spool(folder, metrics.records, limit_bytes)
    writer.start()
    for each in served:
        writer.put(each)
    writer.close()
    return metrics


def _count(metrics: Metrics, name: str) -> float:
    lines = metrics.render()[0].decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_records_reach_the_log_in_batches_and_their_files_go(tmp_path: Path) -> None:
    _spool(tmp_path, *(_served(number) for number in range(50)))
    log = _Log()
    recorder, metrics = _recorder(tmp_path, log)
    assert recorder.write_all()
    assert [r.completion_id for r in log.records] == [f"c{n}" for n in range(50)]
    assert log.batches == 1
    assert spool.files(tmp_path) == []
    assert _count(metrics, "driftgate_records_written_total") == 50


def test_a_worker_writes_without_being_closed(tmp_path: Path) -> None:
    writer = Spool(tmp_path, Metrics().records, 2**20)
    writer.start()
    writer.put(_served(1))
    wait(lambda: len(spool.files(tmp_path)) == 1)
    writer.close()


def test_a_full_spool_drops_and_counts(tmp_path: Path) -> None:
    metrics = Metrics()
    writer = Spool(tmp_path, metrics.records, limit_bytes=10)
    writer.start()
    writer.put(_served(1))
    wait(lambda: len(spool.files(tmp_path)) == 1)
    time.sleep(1.3)  # it looks at the folder once a second
    writer.put(_served(2))
    writer.close()
    assert len(spool.files(tmp_path)) == 1
    assert _count(metrics, "driftgate_records_dropped_total") == 1


def test_a_disk_that_takes_nothing_costs_records_not_requests(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    metrics = Metrics()
    writer = Spool(folder, metrics.records, 2**20)
    writer.start()
    folder.rmdir()
    writer.put(_served(1))
    writer.close()
    assert _count(metrics, "driftgate_records_dropped_total") == 1


def test_a_store_that_is_away_loses_nothing(tmp_path: Path) -> None:
    _spool(tmp_path, *(_served(number) for number in range(20)))
    log = _Log()
    log.away = True
    recorder, metrics = _recorder(tmp_path, log)
    assert not recorder.write_all()
    assert len(spool.files(tmp_path)) == 1
    log.away = False
    assert recorder.write_all()
    assert len(log.records) == 20
    assert _count(metrics, "driftgate_records_dropped_total") == 0


def test_an_answer_that_cannot_be_read_loses_only_itself(tmp_path: Path) -> None:
    _spool(tmp_path, _served(1, b'{"choices": [3]}'), _served(2, b'{"choices": []}'))
    log = _Log()
    recorder, metrics = _recorder(tmp_path, log)
    recorder.write_all()
    assert [r.completion_id for r in log.records] == ["c2"]
    assert _count(metrics, "driftgate_records_dropped_total") == 1


@pytest.mark.parametrize("content", [b"\x00\x00", b"\x00\x00\x00\x02hi", b"\x00\x00\x00\x09hi"])
def test_a_broken_file_is_put_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1.spool").write_bytes(content)
    _spool(tmp_path, _served(1))
    log = _Log()
    recorder, _ = _recorder(tmp_path, log)
    assert recorder.write_all()
    assert len(log.records) == 1
    assert (tmp_path / "1.spool.bad").exists()


def test_texts_can_be_kept_out(tmp_path: Path) -> None:
    served = _served(1, b'{"choices": [{"index": 0, "message": {"content": "secret"}}]}')
    notes = Notes("always", "grounded", passages=[NotedPassage("vs", "d", 0, 0.8, "t", "secret")])
    served.retrieval = notes.encode()
    _spool(tmp_path, served)
    log = _Log()
    recorder, _ = _recorder(tmp_path, log, keep=False)
    recorder.write_all()
    (record,) = log.records
    assert record.messages is None
    assert record.answer is None
    assert record.retrieval is not None
    assert record.retrieval["passages"][0]["document"] == "d"
    assert "secret" not in repr(record)
