"""The judge of `loadtests/chaos`: what counts as good, told, lost and wrong."""

import pytest

from loadtests.chaos.score import Sample, Verdict, tally
from loadtests.chaos.traffic import judge, with_failover

_ERROR = b'{"error": {"message": "gone", "type": "x", "param": null, "code": null}}'
_WHOLE = b'{"choices": [{"message": {"content": "a b"}}]}'
_FIRST = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
_SECOND = b'data: {"choices": [{"delta": {"content": " b"}}]}\n\n'
_END = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("status", "body", "error", "expected"),
    [
        (200, _WHOLE, "", Verdict.GOOD),
        (200, b"", "", Verdict.WRONG),
        (200, _WHOLE.replace(b"a b", b"a c"), "", Verdict.WRONG),
        (200, _WHOLE[:20], "ReadError", Verdict.LOST),
        (0, b"", "ConnectError", Verdict.LOST),
        (503, _ERROR, "", Verdict.TOLD),
        (503, b"Service Unavailable", "", Verdict.WRONG),
    ],
)
def test_a_whole_answer(status: int, body: bytes, error: str, expected: Verdict) -> None:
    assert judge(status, body, "a b", False, error)[0] is expected


@pytest.mark.parametrize(
    ("body", "error", "expected"),
    [
        (_FIRST + _SECOND + _END, "", Verdict.GOOD),
        (_FIRST + _SECOND, "", Verdict.LOST),
        (_FIRST, "RemoteProtocolError", Verdict.LOST),
        (b"", "", Verdict.LOST),
        (_FIRST + _END, "", Verdict.WRONG),
        (_FIRST + b"data: {half\n\n", "", Verdict.WRONG),
        (_FIRST + b"data: " + _ERROR + b"\n\n", "", Verdict.TOLD),
    ],
)
def test_a_stream(body: bytes, error: str, expected: Verdict) -> None:
    assert judge(200, body, "a b", True, error)[0] is expected


def test_an_error_beside_a_healthy_engine_is_a_loss_but_not_a_timeout() -> None:
    samples = [Sample(Verdict.TOLD, 0.0, 1.0, status=status) for status in (200, 502, 504)]
    assert [s.verdict for s in with_failover(samples)] == ["told", "lost", "told"]


def test_mistakes_found_elsewhere_count_as_wrong() -> None:
    score = tally("x", [Sample(Verdict.GOOD, 0.0, 1.0)], mistakes=["a record is missing"])
    assert (score.good, score.wrong) == (1, 1)
    assert score.problems == ["1 times wrong: a record is missing"]
