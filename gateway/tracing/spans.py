"""The spans of a request, as OTLP has them in JSON, made of its record once it is over.

    POST /v1/chat/completions      the gateway: from the whole request to the end of its answer
      retrieval                    the search for passages, where there was one
      chat RELEASE                 each engine that was asked, until the next one or the end

Attributes follow the semantic conventions of OpenTelemetry for HTTP and for generative AI
(https://opentelemetry.io/docs/specs/semconv/gen-ai/); ours begin with `driftgate.`. No text of a
prompt or an answer is in any. vLLM's own spans hang below those of the engines.

The encoding: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.bodies import Operation
from gateway.served import Served
from gateway.tracing.context import Trace, random_id

Span = dict[str, Any]
_INTERNAL, _SERVER, _CLIENT = 1, 2, 3
_ERROR: Final = {"code": 2}
_PATHS: Final[dict[Operation, str]] = {
    "chat": "/v1/chat/completions", "completion": "/v1/completions", "response": "/v1/responses",
}  # fmt: skip
# As the metrics name them.
_NAMES: Final[dict[Operation, str]] = {
    "chat": "chat", "completion": "text_completion", "response": "responses",
}  # fmt: skip


def spans(served: Served) -> list[Span]:
    """Return the spans of a request; none where it is not traced."""
    trace = served.trace
    if trace is None or not trace.sampled:
        return []
    end = trace.started_at + served.duration_s
    notes = _notes(served.retrieval)
    found = [_gateway(served, trace, end, notes)]
    searched_at, search_s = notes.get("searched_at"), notes.get("search_s")
    if isinstance(searched_at, float) and isinstance(search_s, float):
        attributes = {
            "gen_ai.operation.name": "retrieval",
            "gen_ai.data_source.id": ",".join(sorted(notes.get("generations") or {})),
            "driftgate.retrieval.passages": len(notes.get("passages") or ()),
        }
        found.append(
            _span("retrieval", trace, _INTERNAL, searched_at, searched_at + search_s, attributes)
        )
    ends = [at for at, _ in trace.asked[1:]] + [end]  # one too many where none was asked
    for number, ((at, id), until) in enumerate(zip(trace.asked, ends, strict=False), 1):
        is_last = number == len(trace.asked)
        found.append(_engine(served, trace, id, at, until, number, is_last))
    return found


def request(spans: Sequence[Span], version: str) -> bytes:
    """Return what is sent to a collector."""
    resource = {"service.name": "driftgate-gateway", "service.version": version}
    scope = {"name": "driftgate.gateway", "version": version}
    of_scope = {"scope": scope, "spans": spans}
    of_resource = {"resource": {"attributes": _attributes(resource)}, "scopeSpans": [of_scope]}
    return msgspec.json.encode({"resourceSpans": [of_resource]})


def _gateway(served: Served, trace: Trace, end: float, notes: Mapping[str, Any]) -> Span:
    attributes = {
        "http.request.method": "POST",
        "url.path": _PATHS[served.operation],
        "http.response.status_code": served.status,
        **_model(served, served.alias),
        **_usage(served),
        "gen_ai.conversation.id": served.conversation,
        "driftgate.release": served.release,
        "driftgate.key": served.key_prefix,
        "driftgate.outcome": served.outcome,
        "driftgate.retrieval.outcome": notes.get("outcome"),
        "driftgate.retrieval.reason": notes.get("reason"),
    }
    name = f"POST {_PATHS[served.operation]}"
    span = _span(name, trace, _SERVER, trace.started_at, end, attributes)
    span |= {"spanId": trace.span_id, "parentSpanId": trace.parent_id}
    return _told(span, served, trace)


def _engine(
    served: Served, trace: Trace, id: str, begin: float, end: float, number: int, is_last: bool
) -> Span:
    attributes = {
        "gen_ai.provider.name": "vllm",
        **_model(served, served.release),
        **(_usage(served) if is_last else {}),
        "http.request.resend_count": number - 1 or None,
    }
    name = f"{_NAMES[served.operation]} {served.release}"
    span = _span(name, trace, _CLIENT, begin, end, attributes) | {"spanId": id}
    return _told(span, served, trace) if is_last else span


def _told(span: Span, served: Served, trace: Trace) -> Span:
    """Tell how it ended, and when the first token came."""
    if served.outcome != "done":
        failed = str(served.status) if served.status != 200 else served.outcome
        span["attributes"] += _attributes({"error.type": failed})
        # Who leaves early is no error of ours.
        if served.outcome != "cancelled":
            span["status"] = _ERROR
    if served.ttft_s is not None:
        at = trace.started_at + served.ttft_s
        span["events"] = [{"name": "first token", "timeUnixNano": _nano(at)}]
    return span


def _model(served: Served, asked: str) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": _NAMES[served.operation],
        "gen_ai.request.model": asked,
        "gen_ai.response.model": served.release,
        "gen_ai.response.id": served.completion_id,
    }


def _usage(served: Served) -> dict[str, Any]:
    reason = served.finish_reason
    return {
        "gen_ai.usage.input_tokens": served.prompt_tokens,
        "gen_ai.usage.output_tokens": served.completion_tokens,
        "gen_ai.response.finish_reasons": None if reason is None else [reason],
    }


def _span(
    name: str, trace: Trace, kind: int, begin: float, end: float, attributes: Mapping[str, Any]
) -> Span:
    """Return a span below the gateway's own."""
    span: Span = {
        "traceId": trace.trace_id,
        "spanId": random_id(8),
        "parentSpanId": trace.span_id,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": _nano(begin),
        "endTimeUnixNano": _nano(max(begin, end)),
        "attributes": _attributes(attributes),
    }
    return span | ({"traceState": trace.state} if trace.state else {})


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(v)} for key, v in values.items() if v is not None]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}  # 64 bits, which JSON's numbers do not hold
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    return {"stringValue": str(value)}


def _nano(at: float) -> str:
    return str(int(at * 1e9))


def _notes(retrieval: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(retrieval) if retrieval else {}
    except (msgspec.DecodeError, RecursionError):
        found = {}
    return found if isinstance(found, dict) else {}
