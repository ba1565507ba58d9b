from typing import Any

import msgspec
import pytest

from gateway.served import Served
from gateway.tracing.context import Trace
from gateway.tracing.spans import request, spans
from tests.gateway.tracing.collecting import attributes, read

_ID, _SPAN, _PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "1" * 16


def _served(**fields: Any) -> Served:
    trace = Trace(
        _ID, _SPAN, _PARENT, "a=1", started_at=1000.0, asked=[(1000.25, "2" * 16)]
    )  # fmt: skip
    known: dict[str, Any] = {
        "operation": "chat", "body": b'{"secret": 1}', "stream": True,
        "completion_id": "chatcmpl-1", "key_prefix": "0123abcd",
        "alias": "production", "release": "m-2", "created_at": 1000.1, "conversation": "c0",
        "outcome": "done", "status": 200, "duration_s": 2.0, "ttft_s": 0.5,
        "prompt_tokens": 11, "completion_tokens": 7, "finish_reason": "stop", "answer": b"secret",
        "trace": trace,
    }  # fmt: skip
    return Served(**known | fields)


def _read(served: Served) -> list[Any]:
    found, _ = read(request(spans(served), "1.2.3"))
    return found


def test_gateway_and_engine_are_told_with_their_times() -> None:
    gateway, engine = _read(_served())
    assert (gateway.name, engine.name) == ("POST /v1/chat/completions", "chat m-2")
    assert (gateway.kind, engine.kind) == (2, 3)  # server, client
    assert {span.trace_id.hex() for span in (gateway, engine)} == {_ID}
    assert (gateway.span_id.hex(), gateway.parent_span_id.hex()) == (_SPAN, _PARENT)
    assert (engine.span_id.hex(), engine.parent_span_id.hex()) == ("2" * 16, _SPAN)
    assert gateway.trace_state == "a=1"
    times = [(s.start_time_unix_nano / 1e9, s.end_time_unix_nano / 1e9) for s in (gateway, engine)]
    assert times == [(1000.0, 1002.0), (1000.25, 1002.0)]
    assert [(e.name, e.time_unix_nano / 1e9) for e in engine.events] == [("first token", 1000.5)]
    assert gateway.status.code == 0


def test_attributes_are_those_of_generative_ai() -> None:
    gateway, engine = (attributes(span) for span in _read(_served()))
    assert gateway == {
        "http.request.method": "POST", "url.path": "/v1/chat/completions",
        "http.response.status_code": 200, "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "production", "gen_ai.response.model": "m-2",
        "gen_ai.response.id": "chatcmpl-1", "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 7, "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.conversation.id": "c0", "driftgate.release": "m-2", "driftgate.key": "0123abcd",
        "driftgate.outcome": "done",
    }  # fmt: skip
    assert engine["gen_ai.provider.name"] == "vllm"
    assert engine["gen_ai.request.model"] == "m-2"
    assert "http.request.resend_count" not in engine
    assert b"secret" not in request(spans(_served()), "1.2.3")


def test_a_search_is_a_span_between_them() -> None:
    notes = {"outcome": "grounded", "reason": "freshness", "search_s": 0.04, "searched_at": 1000.1,
             "generations": {"docs": "g1", "a": "g2"}, "passages": [{}, {}]}  # fmt: skip
    gateway, search, _ = _read(_served(retrieval=msgspec.json.encode(notes)))
    assert search.name == "retrieval"
    assert search.parent_span_id.hex() == _SPAN
    assert search.end_time_unix_nano - search.start_time_unix_nano == pytest.approx(4e7, rel=0.01)
    assert attributes(search) == {
        "gen_ai.operation.name": "retrieval", "gen_ai.data_source.id": "a,docs",
        "driftgate.retrieval.passages": 2,
    }  # fmt: skip
    assert attributes(gateway)["driftgate.retrieval.outcome"] == "grounded"
    plain = msgspec.json.encode({"outcome": "plain", "reason": "none"})
    assert len(_read(_served(retrieval=plain))) == 2
    assert len(_read(_served(retrieval=b"{"))) == 2


def test_an_engine_that_failed_ends_where_the_next_begins() -> None:
    trace = Trace(_ID, _SPAN, started_at=1000.0, asked=[(1000.0, "2" * 16), (1001.5, "3" * 16)])
    gateway, first, second = _read(_served(trace=trace))
    assert first.end_time_unix_nano == second.start_time_unix_nano == int(1001.5e9)
    assert attributes(second)["http.request.resend_count"] == 1
    assert "gen_ai.usage.input_tokens" not in attributes(first)
    assert gateway.parent_span_id == b""


@pytest.mark.parametrize(
    ("outcome", "status", "told", "code"),
    [
        ("error", 503, "503", 2),
        ("truncated", 200, "truncated", 2),
        ("error", 200, "error", 2),
        ("cancelled", 499, "499", 0),
    ],
)
def test_what_went_wrong_is_told(outcome: str, status: int, told: str, code: int) -> None:
    for span in _read(_served(outcome=outcome, status=status, ttft_s=None)):
        assert attributes(span)["error.type"] == told
        assert span.status.code == code
        assert len(span.events) == 0


def test_who_is_not_sampled_has_no_spans() -> None:
    assert spans(_served(trace=None)) == []
    assert spans(_served(trace=Trace(_ID, _SPAN, sampled=False))) == []
