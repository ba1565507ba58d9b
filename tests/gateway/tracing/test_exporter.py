import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.metrics import SpanMetrics
from gateway.served import Served
from gateway.tracing import exporter as module
from gateway.tracing.context import Trace
from gateway.tracing.exporter import Exporter, headers_of
from gateway.tracing.spans import Span, spans
from tests.gateway.running import wait
from tests.gateway.tracing.collecting import Collector, collecting


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY_S", 0.02)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def _spans(count: int = 1) -> list[Span]:
    trace = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", started_at=1.0)
    served = Served("chat", b"", False, "c", None, "m", "r", 1.0, trace=trace)
    return [span for _ in range(count) for span in spans(served)]


def _counts(metrics: SpanMetrics) -> tuple[Any, Any]:
    return metrics.exported._value.get(), metrics.dropped._value.get()


def test_spans_are_sent_with_the_headers_that_were_set(collector: Collector) -> None:
    metrics = SpanMetrics()
    exporter = Exporter(f"{collector.url}/", {"x-token": "s=1"}, metrics)
    exporter.put(_spans(3))
    wait(lambda: len(collector.spans) == 3)
    exporter.put(_spans(2))
    exporter.close()
    assert len(collector.spans) == 5
    assert collector.resources[0]["service.name"] == "driftgate-gateway"
    assert collector.headers[0]["x-token"] == "s=1"
    assert collector.headers[0]["content-type"] == "application/json"
    assert _counts(metrics) == (5, 0)


def test_a_collector_that_is_busy_is_asked_again_one_that_refuses_is_not(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = SpanMetrics()
    exporter = Exporter(collector.url, {}, metrics)
    collector.statuses = [503, 503]
    exporter.put(_spans())
    wait(lambda: len(collector.spans) == 1)
    collector.statuses = [400]
    exporter.put(_spans())
    wait(lambda: _counts(metrics) == (1, 1))
    assert len(collector.headers) == 4
    assert "HTTP 400" in caplog.text
    exporter.close()


def test_a_collector_that_is_away_costs_spans_and_no_time() -> None:
    metrics = SpanMetrics()
    made = _spans(1200)
    exporter = Exporter("http://127.0.0.1:9", {}, metrics)
    started = time.monotonic()
    exporter.put(made)
    assert time.monotonic() - started < 1
    exporter.close()
    assert time.monotonic() - started < 10
    assert _counts(metrics) == (0, 1200)


def test_what_does_not_fit_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY_S", 60)
    monkeypatch.setattr(module, "_MOST_WAITING", 10)
    metrics = SpanMetrics()
    exporter = Exporter("http://127.0.0.1:9", {}, metrics)
    exporter.put(_spans(8))
    exporter.put(_spans(3))
    assert _counts(metrics) == (0, 3)
    exporter.close()


def test_headers_are_read_as_opentelemetry_has_them() -> None:
    assert headers_of("Authorization=Bearer%20x, x-team = a%2Cb ,") == {
        "authorization": "Bearer x", "x-team": "a,b",
    }  # fmt: skip
    assert headers_of("") == {}
    for wrong in ("token", "=x"):
        with pytest.raises(ValueError, match="name=value"):
            headers_of(wrong)
