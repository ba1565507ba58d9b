"""Spans of a running gateway, as a collector gets them."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.running import MESSAGES, RunningGateway, running_gateway, serve_release, wait
from tests.gateway.tracing.collecting import Collector, attributes, collecting

_ID, _SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
_BODY = (
    b'{"id":"chatcmpl-x","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}'
)
_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(
    collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    home: Path = tmp_path_factory.mktemp("tracing")
    with running_gateway(home, embedder="", tracing_endpoint=collector.url) as running:
        yield running


@pytest.fixture(autouse=True)
def _empty(collector: Collector) -> None:
    collector.spans.clear()


def test_the_clients_trace_goes_through_the_gateway_to_the_engine(
    gateway: RunningGateway, collector: Collector
) -> None:
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        heads.append(connection.recv(65536))
                        connection.sendall(_ANSWER)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        serve_release(gateway.database, "seen-1", f"http://127.0.0.1:{server.getsockname()[1]}")
        with gateway.client() as client:
            wait(lambda: client.get("/v1/models/seen").status_code == 200)
            headers = {"traceparent": f"00-{_ID}-{_SPAN}-01", "tracestate": "a=1"}
            body = {"model": "seen", "messages": MESSAGES}
            answer = client.post("/v1/chat/completions", json=body, headers=headers)
        server.shutdown(socket.SHUT_RDWR)
    assert answer.status_code == 200
    wait(lambda: len(collector.spans) == 2)
    span, engine = collector.named("POST /v1/chat/completions"), collector.named("chat seen-1")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (_ID, _SPAN)
    assert engine.parent_span_id == span.span_id
    told = f"traceparent: 00-{_ID}-{engine.span_id.hex()}-01\r\ntracestate: a=1\r\n"
    (head,) = [each for each in heads if each.startswith(b"POST")]
    assert told.encode() in head
    assert attributes(span)["gen_ai.usage.output_tokens"] == 1
    assert span.start_time_unix_nano <= engine.start_time_unix_nano
    assert engine.end_time_unix_nano <= span.end_time_unix_nano


def test_a_stream_tells_when_its_first_token_came(
    gateway: RunningGateway, collector: Collector
) -> None:
    assert gateway.post(stream=True).status_code == 200
    wait(lambda: len(collector.spans) == 2)
    engine = collector.named("chat production-1")
    (event,) = engine.events
    assert engine.start_time_unix_nano <= event.time_unix_nano <= engine.end_time_unix_nano


def test_who_is_not_sampled_leaves_no_span(gateway: RunningGateway, collector: Collector) -> None:
    with gateway.client() as client:
        body = {"model": "production", "messages": MESSAGES}
        headers = {"traceparent": f"00-{_ID}-{_SPAN}-00"}
        first = client.post("/v1/chat/completions", json=body, headers=headers)
        second = client.post("/v1/chat/completions", json=body)
    assert (first.status_code, second.status_code) == (200, 200)
    wait(lambda: len(collector.spans) >= 2)
    span = collector.named("POST /v1/chat/completions")
    assert attributes(span)["gen_ai.response.id"] == second.json()["id"]
