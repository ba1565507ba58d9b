"""A collector for tests: takes OTLP over HTTP and reads it with OpenTelemetry's own messages."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Collector:
    """What was sent, and what it is answered with.

    Attributes:
        url: Its endpoint.
        spans: Spans by name, as OpenTelemetry reads them.
        statuses: Answers to the next requests; then 200.
        headers: Of each request.
    """

    url: str = ""
    spans: list[Any] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)

    def named(self, name: str) -> Any:
        """Return the one span of a name."""
        (span,) = [each for each in self.spans if each.name == name]
        return span


def read(body: bytes) -> tuple[list[Any], list[dict[str, Any]]]:
    """Return the spans and resources of an export, checked field by field."""
    document = json.loads(body)
    # OTLP has ids in hexadecimal, where the JSON of protobuf has bytes in base64.
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    raw = bytes.fromhex(span.get(name, ""))
                    span[name] = base64.b64encode(raw).decode()
    message = json_format.ParseDict(document, ExportTraceServiceRequest())
    spans = [s for r in message.resource_spans for c in r.scope_spans for s in c.spans]
    return spans, [attributes(r.resource) for r in message.resource_spans]


def attributes(span: Any) -> dict[str, Any]:
    """Return the attributes of a span."""
    return {each.key: _plain(each.value) for each in span.attributes}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    found = getattr(value, kind)
    return [_plain(each) for each in found.values] if kind == "array_value" else found


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            collector.headers.append({k.lower(): v for k, v in self.headers.items()})
            status = collector.statuses.pop(0) if collector.statuses else 200
            if status == 200:
                spans, resources = read(body)
                collector.spans += spans
                collector.resources += resources
            self.send_response(status)
            if status == 503:
                self.send_header("retry-after", "0")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
