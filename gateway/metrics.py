"""Prometheus metrics with OpenTelemetry's GenAI names, correct over several worker processes.

Names, labels and buckets: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/, dots
written as underscores and the unit appended. Label values are bounded: models are known aliases
and releases only, errors are status codes.
"""

import os
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, NamedTuple

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from gateway.retrieval_metrics import RetrievalMetrics
from gateway.store.engines import Engine, EngineState

_DURATION_BUCKETS = tuple(0.01 * 2**i for i in range(14))
_TTFT_BUCKETS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
_PER_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_TOKEN_BUCKETS = tuple(4**i for i in range(14))
_OVERHEAD_BUCKETS = tuple(0.00005 * 2**i for i in range(14))
_OPERATIONS: Final = {"chat": "chat", "completion": "text_completion", "response": "responses"}
_MODEL_LABELS = ("gen_ai_operation_name", "gen_ai_request_model", "gen_ai_response_model")


class Tally:
    """Counts observations for a histogram between two flushes.

    `Histogram.observe` over several processes writes two values into a mapped file, 2.1 us each
    time; this adds to a list, 0.3 us. Relies on prometheus_client's `_buckets` and `_sum`, as
    its own multiprocess mode does; `tests/gateway/test_metrics.py` compares the two.
    """

    __slots__ = ("_bounds", "_counts", "_histogram", "_sum")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._bounds = list(histogram._upper_bounds)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def flush(self) -> None:
        for index, count in enumerate(self._counts):
            if count:
                self._histogram._buckets[index].inc(count)
                self._counts[index] = 0
        if self._sum:
            self._histogram._sum.inc(self._sum)
            self._sum = 0.0


class _Series(NamedTuple):
    """The tallies of one combination of labels."""

    duration: Tally
    first_token: Tally
    per_token: Tally
    input_tokens: Tally
    output_tokens: Tally


class RecordMetrics:
    """What becomes of traffic records; in workers and in the recorder.

    Args:
        registry: Where they are shown; a registry of their own by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.spooled = Gauge(
            "driftgate_records_spooled_bytes",
            "Traffic records on disk that wait to be written to the store.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.dropped = Counter(
            "driftgate_records_dropped",
            "Traffic records that were lost because the spool was full or could not be written.",
            registry=registry,
        )
        self.written = Counter(
            "driftgate_records_written", "Traffic records that were stored.", registry=registry
        )


class SpanMetrics:
    """Spans on their way to a collector; in the recorder.

    Args:
        registry: Where they are shown; a registry of their own by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.exported = Counter(
            "driftgate_spans_exported", "Spans that a collector has taken.", registry=registry
        )
        self.dropped = Counter(
            "driftgate_spans_dropped",
            "Spans that were lost because the collector was slow, away or refused them.",
            registry=registry,
        )


class ShadowMetrics:
    """Copies of requests for releases in shadow mode; no other metric counts them.

    Args:
        registry: Where they are shown; a registry of their own by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        of = ("alias", "release")
        self.requests = Counter(
            "driftgate_shadow_requests",
            "Copies of requests for a shadow: done, error, truncated; unavailable or dropped where "
            "they were not asked to the end.",
            (*of, "outcome"),
            registry=registry,
        )
        self.duration = Histogram(
            "driftgate_shadow_duration_seconds",
            "Time that a shadow's engine took for a whole answer.",
            of,
            buckets=_DURATION_BUCKETS,
            registry=registry,
        )
        self.first_token = Histogram(
            "driftgate_shadow_time_to_first_token_seconds",
            "Time to the first token of a shadow's streamed answer.",
            of,
            buckets=_TTFT_BUCKETS,
            registry=registry,
        )

    def observe(self, alias: str, release: str, duration_s: float, ttft_s: float | None) -> None:
        """Take in one good answer of a shadow."""
        self.duration.labels(alias, release).observe(duration_s)
        if ttft_s is not None:
            self.first_token.labels(alias, release).observe(ttft_s)


class Metrics:
    """The gateway's metrics; one object for a process.

    With `PROMETHEUS_MULTIPROC_DIR` set before this module is imported, `render` adds up the
    workers that share that folder; without it (tests) it shows this process.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.duration = Histogram(
            "gen_ai_server_request_duration_seconds",
            "Time from the request to the end of its answer.",
            (*_MODEL_LABELS, "error_type"),
            buckets=_DURATION_BUCKETS,
            registry=registry,
        )
        self.first_token = Histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Time from the request to the first token of a streamed answer.",
            _MODEL_LABELS,
            buckets=_TTFT_BUCKETS,
            registry=registry,
        )
        self.per_token = Histogram(
            "gen_ai_server_time_per_output_token_seconds",
            "Time per output token after the first one of a streamed answer.",
            _MODEL_LABELS,
            buckets=_PER_TOKEN_BUCKETS,
            registry=registry,
        )
        self.tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens of a request, by type.",
            (*_MODEL_LABELS, "gen_ai_token_type"),
            buckets=_TOKEN_BUCKETS,
            registry=registry,
        )
        self.overhead = Histogram(
            "driftgate_overhead_seconds",
            "Time that the gateway itself added to a request.",
            buckets=_OVERHEAD_BUCKETS,
            registry=registry,
        )
        self.refused = Counter(
            "driftgate_requests_refused",
            "Inference requests that were refused before any engine was asked, by status.",
            ("status",),
            registry=registry,
        )
        self.in_flight = Gauge(
            "driftgate_requests_in_flight",
            "Inference requests being served.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._overhead = Tally(self.overhead)
        self._series: dict[tuple[str, str, str, str], _Series] = {}
        self._ticks = 0
        self._lag_s = 0.0
        self._engines_shown: set[tuple[str, str]] = set()
        self.waiting = Gauge(
            "driftgate_requests_waiting",
            "Inference requests that wait for a place.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.loop_lag = Gauge(
            "driftgate_event_loop_lag_seconds",
            "Longest time that the event loop was held up, in the last quarter of a second.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.records = RecordMetrics(registry)
        self.retrieval = RetrievalMetrics(registry)
        self.shadows = ShadowMetrics(registry)
        self.store_up = Gauge(
            "driftgate_store_up",
            "1 while the store can be read, 0 while the gateway lives on what it knows.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self.engine_state = Gauge(
            "driftgate_engine_state",
            "1 for the state that an engine is in, 0 for the others.",
            ("host", "slot", "state"),
            registry=registry,
            multiprocess_mode="livemostrecent",
        )

    def observe(
        self,
        *,
        operation: str,
        alias: str,
        release: str,
        error: str,
        duration_s: float,
        ttft_s: float | None,
        overhead_s: float | None,
        prompt_tokens: int | None,
        completion_tokens: int | None,
    ) -> None:
        """Take in one finished request; `error` is empty for a good one."""
        key = (operation, alias, release, error)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._new_series(*key)
        series.duration.observe(duration_s)
        if overhead_s is not None:
            self._overhead.observe(overhead_s)
        if ttft_s is not None:
            series.first_token.observe(ttft_s)
            if completion_tokens is not None and completion_tokens > 1:
                series.per_token.observe((duration_s - ttft_s) / (completion_tokens - 1))
        if prompt_tokens is not None:
            series.input_tokens.observe(prompt_tokens)
        if completion_tokens is not None:
            series.output_tokens.observe(completion_tokens)

    def _new_series(self, operation: str, alias: str, release: str, error: str) -> _Series:
        labels = (_OPERATIONS[operation], alias, release)
        return _Series(
            Tally(self.duration.labels(*labels, error)),
            Tally(self.first_token.labels(*labels)),
            Tally(self.per_token.labels(*labels)),
            Tally(self.tokens.labels(*labels, "input")),
            Tally(self.tokens.labels(*labels, "output")),
        )

    def tick(self, in_flight: int, waiting: int, lag_s: float) -> None:
        """Take in what the worker is doing now; flushes four times a second."""
        self._lag_s = max(self._lag_s, lag_s)
        self._ticks += 1
        if self._ticks % 5:
            return
        self.in_flight.set(in_flight)
        self.waiting.set(waiting)
        self.loop_lag.set(self._lag_s)
        self._lag_s = 0.0
        self.flush()

    def flush(self) -> None:
        """Hand the observations so far to Prometheus' histograms; call it a few times a second."""
        self._overhead.flush()
        for series in self._series.values():
            for tally in series:
                tally.flush()

    def show_engines(self, engines: Iterable[Engine]) -> None:
        """Publish the state of each engine; one that is gone is in none."""
        shown = {(engine.host, engine.slot): engine.state for engine in engines}
        for host, slot in self._engines_shown | shown.keys():
            for state in EngineState:
                self.engine_state.labels(host, slot, state.value).set(
                    1 if shown.get((host, slot)) is state else 0
                )
        self._engines_shown = set(shown)

    def render(self) -> tuple[bytes, str]:
        """Return the exposition of all workers and its content type."""
        self.flush()
        registry = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST
