import json

import pytest

from monitoring.requests import Request
from training.rollout.comparing import mirrored, ratio


def request(**fields: object) -> Request:
    values: dict[str, object] = {"answer": "a fine answer", "duration_s": 1.0, "ttft_s": 0.1}
    return Request("c", 0.0, "p", "r", **values | fields)  # type: ignore[arg-type]


def test_a_ratio_has_an_interval_that_holds_the_truth_and_narrows() -> None:
    times = [1.0 + 0.01 * (n % 17) for n in range(200)]
    few = ratio([2 * t for t in times[:20]], times[:20], 0.5)
    many = ratio([2 * t for t in times], times, 0.5)
    assert few.low <= 2.0 <= few.high
    assert many.value == pytest.approx(2.0)
    assert many.high - many.low < few.high - few.low or few.high - few.low < 0.1
    assert ratio([], [], 0.5).low == 0.0


def test_equal_requests_show_no_harm() -> None:
    pairs = [(request(duration_s=1 + n % 7), request(duration_s=1 + n % 7)) for n in range(100)]
    found = mirrored(pairs)
    assert found.harm(1.5, 3.0) is None
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_few_failures_more_are_chance_and_many_are_not() -> None:
    def pairs(bad: int) -> list[tuple[Request, Request]]:
        failed = [(request(outcome="error", status=500), request())] * bad
        return failed + [(request(), request())] * (100 - bad)

    assert mirrored(pairs(2)).harm(1.5, 3.0) is None
    assert "12 of 100" in str(mirrored(pairs(12)).harm(1.5, 3.0))


def test_failures_of_both_are_not_the_candidates() -> None:
    failed = request(outcome="error", status=500)
    assert mirrored([(failed, failed)] * 50 + [(request(), request())] * 50).harm(1.5, 3.0) is None


def test_slow_tails_and_other_lengths_are_told() -> None:
    slow = [(request(duration_s=3.0 if n % 5 == 0 else 1.0), request()) for n in range(200)]
    assert "too slow" in str(mirrored(slow).harm(1.5, 3.0))
    short = [(request(answer="ok"), request(answer="a much longer answer")) for _ in range(50)]
    assert "times as long" in str(mirrored(short).harm(1.5, 3.0))


def test_what_driftgate_declined_itself_compares_failures_alone() -> None:
    """No engine was asked for the first answer: its latency and its words say nothing."""
    said = request(
        answer="I cannot help with that.", duration_s=0.01, retrieval={"outcome": "said_so"}
    )
    slow = request(answer="A long and plain answer. " * 20, duration_s=2.0)
    found = mirrored([(slow, said)] * 50 + [(request(), request())] * 50)
    assert found.harm(1.5, 3.0) is None
    assert found.latency.n == 50
    declined = request(answer="I cannot help with that.")
    assert mirrored([(declined, said)] * 50).harm(1.5, 3.0) is None
    broken = request(outcome="error", status=500)
    assert "50 of 50" in str(mirrored([(broken, said)] * 50).harm(1.5, 3.0))


def test_nothing_that_both_answered_is_no_harm_by_itself() -> None:
    found = mirrored([(request(outcome="cancelled"), request(outcome="cancelled"))])
    assert found.harm(1.5, 3.0) is None
    json.dumps(found.as_dict(), allow_nan=False)
