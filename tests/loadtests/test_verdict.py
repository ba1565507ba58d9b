"""From samples to a verdict."""

import json
from pathlib import Path

import pytest

from loadtests.sla import plots
from loadtests.sla.agreement import Limits, Scenario
from loadtests.sla.measured import gather, read
from loadtests.sla.verdict import judge

TIMES = {"ttft_ms": {"p50": 50.0, "p99": 99.5}}


def _scenario(limits: Limits) -> Scenario:
    return Scenario("chat", "Some chat", "ChatUser", "steady", 2, 30.0, limits)


def _rows(count: int = 100, failed: int = 0) -> list[list[object]]:
    rows: list[list[object]] = [[1000.0, "users", "", 2.0, ""]]
    for number in range(count):
        at = 1000 + number * 0.3
        rows.append([at, "TTFT", "chat stream", float(number + 1), ""])
        error = "status 503" if number < failed else ""
        rows.append([at, "total", "chat stream", 2.0 * (number + 1), error])
    return rows


def test_percentiles_are_of_the_samples() -> None:
    measured = gather(_rows())
    ttft = measured.figures["ttft_ms"]
    assert ttft.percentile("p50") == pytest.approx(50.5)
    assert ttft.percentile("p99") == pytest.approx(99.01)
    assert measured.seconds == pytest.approx(29.7)
    assert measured.users.value.tolist() == [2.0]


def test_a_limit_that_is_passed_breaks_the_verdict_and_the_others_are_kept() -> None:
    verdict = judge(_scenario(Limits(TIMES, 0.01)), gather(_rows()))
    assert [(c.figure, c.kept) for c in verdict.checks] == [
        ("time to first token p50", False),
        ("time to first token p99", True),
        ("errors", True),
    ]
    assert not verdict.kept


def test_failures_count_as_errors_and_have_no_times() -> None:
    measured = gather(_rows(failed=2))
    assert len(measured.figures["total_ms"].value) == 98
    assert measured.errors == {"status 503": 2}
    kept, broken = (
        judge(_scenario(Limits({}, rate)), measured).checks[-1] for rate in (0.02, 0.019)
    )
    assert (kept.kept, broken.kept) == (True, False)
    assert broken.show(broken.measured) == "2.00 %"


def test_what_limits_refuse_is_no_error() -> None:
    rows = [*_rows(), [1001.0, "refused", "tenant small", 3.0, ""]]
    measured = gather(rows)
    assert (measured.count, measured.refused, measured.failed) == (100, 1, 0)
    for least, kept in ((1, True), (2, False)):
        limits = Limits({}, 0.0, refused_least=least)
        assert judge(_scenario(limits), measured).kept is kept


def test_nothing_measured_is_broken() -> None:
    verdict = judge(_scenario(Limits(TIMES, 0.01)), gather([]))
    assert not any(check.kept for check in verdict.checks)
    assert verdict.checks[0].show(None) == "nothing measured"
    assert plots.as_svg(verdict).startswith("<svg")


def test_growth_compares_the_last_third_with_the_first() -> None:
    verdict = judge(_scenario(Limits({}, 1.0, growth=4.9)), gather(_rows(99)))
    (_, growth) = verdict.checks
    assert growth.measured == pytest.approx(83 / 17)
    assert growth.kept
    assert not judge(_scenario(Limits({}, 1.0, growth=4.8)), gather(_rows(99))).kept


def test_a_search_is_not_counted_as_an_answer() -> None:
    measured = gather([[1.0, "total", "documents search", 5.0, ""]])
    assert measured.figures["search_ms"].value.tolist() == [5.0]
    assert not len(measured.figures["total_ms"].value)


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text(json.dumps([1.0, "TTFT", "chat", 2.0, ""]) + '\n[2.0, "TT')
    assert read(path).figures["ttft_ms"].value.tolist() == [2.0]
