import re

import pytest

from gateway.served import Served, decode, encode
from gateway.tracing.context import Sampler, Trace

_ID, _SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
_GIVEN = f"00-{_ID}-{_SPAN}-01".encode()


def test_the_clients_trace_goes_on() -> None:
    headers = [(b"host", b"x"), (b"traceparent", _GIVEN), (b"tracestate", b"a=1"),
               (b"tracestate", b"b=2")]  # fmt: skip
    trace = Sampler(0.0).begin(headers)
    assert (trace.trace_id, trace.parent_id) == (_ID, _SPAN)
    assert trace.state == "a=1,b=2"
    assert trace.sampled
    assert trace.span_id not in (_SPAN, "")
    lines = trace.asks().decode()
    (span_id,) = [id for _, id in trace.asked]
    assert lines == f"traceparent: 00-{_ID}-{span_id}-01\r\ntracestate: a=1,b=2\r\n"
    assert span_id not in (_SPAN, trace.span_id)


def test_each_engine_that_is_asked_has_a_span_of_its_own() -> None:
    trace = Sampler(1.0).begin([])
    first, second = trace.asks(), trace.asks()
    assert first != second
    assert len({id for _, id in trace.asked}) == 2
    assert Sampler(1.0).begin([]).asked == []


def test_a_client_that_is_not_sampled_stays_so_and_its_trace_is_passed_on() -> None:
    trace = Sampler(1.0).begin([(b"traceparent", _GIVEN[:-2] + b"00")])
    assert not trace.sampled
    assert re.fullmatch(rf"traceparent: 00-{_ID}-[0-9a-f]{{16}}-00\r\n", trace.asks().decode())


@pytest.mark.parametrize(
    "value",
    [
        b"", b"00", _GIVEN.upper(), _GIVEN[:-1], _GIVEN + b"-more", b"ff" + _GIVEN[2:],
        b"00-" + b"0" * 32 + _GIVEN[35:], _GIVEN[:36] + b"0" * 16 + b"-01", _GIVEN + b"\xff",
    ],
)  # fmt: skip
def test_what_is_no_traceparent_begins_a_trace_of_its_own(value: bytes) -> None:
    trace = Sampler(1.0).begin([(b"traceparent", value), (b"tracestate", b"a=1")])
    assert trace.trace_id != _ID
    assert (trace.parent_id, trace.state) == ("", "")
    assert re.fullmatch("[0-9a-f]{32}", trace.trace_id)


def test_a_later_version_may_say_more_and_two_headers_say_nothing() -> None:
    assert Sampler(1.0).begin([(b"traceparent", b"01" + _GIVEN[2:] + b"-more")]).trace_id == _ID
    twice = [(b"traceparent", _GIVEN)] * 2
    assert Sampler(1.0).begin(twice).trace_id != _ID
    long = [(b"traceparent", _GIVEN), (b"tracestate", b"a=" + b"x" * 600)]
    assert Sampler(1.0).begin(long).state == ""


def test_a_share_of_the_others_is_traced() -> None:
    sampler = Sampler(0.25)
    assert 150 < sum(sampler.begin([]).sampled for _ in range(1000)) < 350


def test_it_goes_through_the_spool() -> None:
    trace = Trace(_ID, _SPAN, asked=[(2.5, "aa")], started_at=1.5)
    served = Served("chat", b"{}", False, "c", None, "m", "r", 1.0, trace=trace)
    assert decode(encode(served)) == served
    served.trace = None
    assert decode(encode(served)).trace is None
