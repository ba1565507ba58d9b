"""Sends spans to a collector: OTLP over HTTP, in JSON, from a thread of the recorder.

A collector that is slow or away costs spans and nothing else: what does not fit is dropped and
counted. Tries and pauses are those of https://opentelemetry.io/docs/specs/otlp/#otlphttp-response.
"""

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from urllib.parse import unquote

import httpx

from gateway import __version__
from gateway.metrics import SpanMetrics
from gateway.tracing.spans import Span, request

_log = logging.getLogger(__name__)
_PATH = "/v1/traces"
_EVERY_S = 1.0
_BATCH = 500
_MOST_WAITING = 20_000
_TIMEOUT_S = 5.0
_TRIES = 3
_RETRIED = frozenset({429, 502, 503, 504})
_LONGEST_PAUSE_S = 10.0


class Exporter:
    """Sends spans in the background.

    Args:
        endpoint: The collector, such as `http://localhost:4318`; `/v1/traces` is added.
        headers: Sent along, such as a token of the collector.
        metrics: Where sent and dropped spans are counted.
    """

    def __init__(self, endpoint: str, headers: Mapping[str, str], metrics: SpanMetrics) -> None:
        self._url = endpoint.rstrip("/").removesuffix(_PATH) + _PATH
        self._headers = {**headers, "content-type": "application/json"}
        self._metrics = metrics
        self._waiting: deque[Span] = deque()
        self._stop = threading.Event()
        self._is_away = False
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def put(self, spans: Sequence[Span]) -> None:
        """Take spans; never blocks."""
        if len(self._waiting) + len(spans) > _MOST_WAITING:
            self._metrics.dropped.inc(len(spans))
            return
        self._waiting.extend(spans)

    def close(self) -> None:
        """Send what waits, each batch once."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(headers=self._headers, timeout=_TIMEOUT_S, trust_env=False) as client:
            while not self._stop.wait(_EVERY_S):
                self._send_all(client)
            self._send_all(client)

    def _send_all(self, client: httpx.Client) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            wrong = self._send(client, request(batch, __version__))
            (self._metrics.dropped if wrong else self._metrics.exported).inc(len(batch))
            if wrong and not self._is_away:
                _log.warning("spans are lost: %s: %s", self._url, wrong)
            self._is_away = wrong is not None
            if wrong and self._stop.is_set():
                self._metrics.dropped.inc(len(self._waiting))
                self._waiting.clear()

    def _send(self, client: httpx.Client, body: bytes) -> str | None:
        """Return why a batch could not be sent, or None."""
        wrong = ""
        for attempt in range(_TRIES):
            pause = min(2.0**attempt, _LONGEST_PAUSE_S)
            try:
                answer = client.post(self._url, content=body)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                wrong = f"{type(error).__name__}: {error}"
            else:
                if answer.status_code < 300:
                    return None
                wrong = f"HTTP {answer.status_code}"
                if answer.status_code not in _RETRIED:
                    return wrong
                pause = _asked_pause(answer, pause)
            if self._stop.is_set() or (attempt + 1 < _TRIES and self._stop.wait(pause)):
                break
        return wrong


def headers_of(text: str) -> dict[str, str]:
    """Read headers as `OTEL_EXPORTER_OTLP_HEADERS` has them: `name=value,name=value`, escaped.

    Raises:
        ValueError: A part is not `name=value`.
    """
    found = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise ValueError("headers are name=value, separated by commas")
        found[unquote(name.strip()).lower()] = unquote(value.strip())
    return found


def _asked_pause(answer: httpx.Response, otherwise: float) -> float:
    try:
        return min(max(0.0, float(answer.headers["retry-after"])), _LONGEST_PAUSE_S)
    except (KeyError, ValueError):
        return otherwise
