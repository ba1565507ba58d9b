"""The page: safe with hostile texts, readable numbers, the worst first."""

from pathlib import Path

import pytest

from training.evaluation.differing import pieces
from training.evaluation.gates import Compared, Verdict, paired_gate
from training.evaluation.intervals import Interval, wilson
from training.evaluation.paired import Pairs
from training.evaluation.plots import forest, latency
from training.evaluation.report import case_groups, interval_text, render
from training.evaluation.result import (
    CheckItem,
    Compare,
    Evaluation,
    Failure,
    Said,
    Score,
    SystemSummary,
)

pytestmark = pytest.mark.slow

HOSTILE = '<script>alert(1)</script> $x^2$ & "quotes" ]]>'


def case(id: str, candidate: bool | None, baseline: bool | None) -> Compare:
    said = (Said("baseline", HOSTILE, baseline), Said("candidate", HOSTILE, candidate))
    return Compare(id, "test", HOSTILE, HOSTILE, "expected", said)


def evaluation(folder: Path) -> Evaluation:
    summary = {
        "spec": HOSTILE,
        "served": True,
        "asked": 9,
        "answered": 8,
        "latency_p50_s": None,
        "latency_p95_s": Interval(0.1, 0.05, float("inf"), 20),
        "ttft_p50_s": None,
        "prompt_tokens": None,
        "completion_tokens": 1234,
        "truncated": 1,
    }
    systems = tuple(
        SystemSummary(name, failures=(Failure("test:1", HOSTILE),), **summary)  # type: ignore[arg-type]
        for name in ("baseline", "candidate")
    )
    return Evaluation(
        folder=folder,
        created_at=0,
        settings={"data": HOSTILE, "sampling": {"temperature": 0, "seed": 0}, "max_tokens": 9},
        versions={"driftgate": "1"},
        systems=systems,
        scores=(Score("test", HOSTILE, "right", "candidate", wilson(3, 4)),),
        gates=(paired_gate([Compared(HOSTILE, Pairs(100, 20, 5))], [], 0.03),),
        not_run={"hallucination": "no truth set"},
        checklist=(CheckItem("Loss converged", None, HOSTILE),),
        cases=(case("b", True, True), case("a", False, True), case("c", None, True)),
        latencies_s={"candidate": (0.1, 0.2, 9.0), "baseline": ()},
    )


def test_what_models_and_files_say_is_never_markup(tmp_path: Path) -> None:
    page = render(evaluation(tmp_path))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "1970-01-01 00:00 UTC" in page
    assert page.count("<svg") == 2
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    assert evaluation(tmp_path).as_dict()["systems"][0]["latency_p95_s"]["high"] is None


def test_the_worst_cases_come_first(tmp_path: Path) -> None:
    cases = [*evaluation(tmp_path).cases, *[case(str(n), True, False) for n in range(70)]]
    groups = case_groups(cases)
    assert [(group["title"].split(":")[0], group["total"]) for group in groups] == [
        ("Lost", 1),
        ("No answer", 1),
        ("Gained", 70),
        ("Right in all", 1),
    ]
    assert len(groups[2]["cases"]) == 60


@pytest.mark.parametrize(
    ("metric", "signed", "text"),
    [
        ("right", False, "73.5 % (67.0 to 79.1)"),
        ("right", True, "+73.5 (+67.0 to +79.1)"),
        ("rouge_l", False, "0.735 (0.670 to 0.791)"),
        ("bleu", True, "+0.7 (+0.7 to +0.8)"),
    ],
)
def test_intervals_as_people_read_them(metric: str, signed: bool, text: str) -> None:
    assert interval_text(Interval(0.735, 0.67, 0.791, 200), metric, signed=signed) == text
    assert interval_text(None, metric) == interval_text(wilson(0, 0), metric) == "–"  # noqa: RUF001


def test_differences_are_marked() -> None:
    assert pieces("at 10 pm", "at 11 pm") == [
        ("same", "at "),
        ("missing", "10"),
        ("added", "11"),
        ("same", " pm"),
    ]
    long = "word " * 2000
    assert pieces(long, long + "x") == [("same", long + "x")]


def test_pictures_take_the_colour_of_the_page() -> None:
    tests = [Compared(f"slice {n}", Pairs(100, n, 3)) for n in range(5)]
    picture = forest([paired_gate(tests, [], 0.03)])
    assert "currentColor" in picture
    assert "#010203" not in picture
    assert all(f"slice {n}" in picture for n in range(5))
    assert forest([paired_gate(tests, [], 0.03)]) == picture  # nothing random, no date
    assert forest([paired_gate([], [], 0.03)]) == latency({}, 1.0) == ""


def test_many_slices_are_cut_to_the_worst() -> None:
    good = [Compared(f"good {n}", Pairs(5000, 9, 9)) for n in range(80)]
    bad = Compared("bad", Pairs(300, 0, 90))
    gate = paired_gate([*good, bad], [], 0.03)
    assert gate.verdict is Verdict.FAIL
    picture = forest([gate])
    assert "bad" in picture
    assert "good 79" not in picture
