"""The support and sufficiency checks on labelled passages: what they let through, with intervals.

`facts.jsonl` is what the checks were made with. `held_out.jsonl` was written before they were
finished and is only measured: its floors are what a change must not make worse.
"""

import pytest

from tests.retrieval.grounding.labelled import Tally, evaluate, exchanged, wilson


@pytest.fixture(scope="module")
def facts() -> Tally:
    return evaluate("facts")


@pytest.fixture(scope="module")
def held_out() -> Tally:
    return evaluate("held_out")


def test_no_contradiction_is_cited(facts: Tally) -> None:
    print(facts)
    assert facts.accepted["contradicted"] == 0
    assert facts.share("half", "unrelated", "garbled") <= 0.02
    assert facts.asked["contradicted"] >= 190


def test_most_of_what_a_passage_says_is_cited(facts: Tally) -> None:
    assert facts.share("supported") >= 0.95
    assert facts.dropped <= 1


def test_questions_that_a_passage_cannot_answer_are_known(facts: Tally) -> None:
    assert facts.share("answerable") >= 0.90
    assert facts.share("unanswerable") <= 0.10


def test_on_passages_that_nothing_was_tuned_on(held_out: Tally) -> None:
    print(held_out)
    assert held_out.share("contradicted") <= 0.08
    assert held_out.share("half", "unrelated", "garbled") <= 0.05
    assert held_out.share("supported") >= 0.85
    assert held_out.share("answerable") >= 0.85
    assert held_out.share("unanswerable") <= 0.15


@pytest.mark.slow
def test_few_claims_with_another_word_of_the_passage_are_cited() -> None:
    cited = [supported for _, supported in exchanged("facts")]
    print(f"{sum(cited)} of {len(cited)} claims with a word exchanged")
    assert len(cited) > 4000
    assert sum(cited) <= 0.04 * len(cited)


def test_wilson_intervals() -> None:
    low, high = wilson(0, 191)
    assert low == 0.0
    assert high == pytest.approx(0.0197, abs=1e-3)
    assert wilson(50, 100) == pytest.approx((0.404, 0.596), abs=1e-3)
