from collections.abc import Iterable

import pytest

from gateway.store.examples import Example, Message
from gateway.store.feedback import Feedback
from training.data.curation import Curated, Judged, Rules, curate

_IDS = iter(range(10**6))


def said(key: str | None, score: float | None = None, correction: str | None = None) -> Feedback:
    number = next(_IDS)
    return Feedback(f"fb{number:06}", "c", key, number, score, None, correction, None, {})


def answer(
    question: str, text: str, *feedback: Feedback, key: str = "asker", complete: bool = True
) -> Judged:
    number = next(_IDS)
    messages = (Message("user", question), Message("assistant", text))
    example = Example(messages, contributor=key, source=f"c{number}", created_at=float(number))
    return Judged(example, feedback, complete)


def rows(curated: Curated) -> list[tuple[str, str, str]]:
    return [(e.question, e.answer, e.source.split(":")[0]) for e in curated.examples]


def run(judged: Iterable[Judged], rules: Rules | None = None) -> Curated:
    return curate(judged, rules or Rules())


def test_a_changed_answer_needs_two_keys() -> None:
    once = [answer("Q?", "bad", said("ann", correction="good"))]
    assert rows(run(once)) == []
    assert run(once).filters["too_few_sources"] == 1
    same_key = [*once, answer("q", "bad", said("ann", correction="good"))]
    assert rows(run(same_key)) == []
    two = [*once, answer("q", "worse", said("bob", correction="Good."))]
    assert rows(run(two)) == [("Q?", "good", "correction")]
    assert rows(run(once, Rules(sources=1))) == [("Q?", "good", "correction")]


def test_who_likes_the_corrected_answer_is_a_source() -> None:
    judged = [
        answer("Q?", "bad", said("ann", correction="good")),
        answer("Q?", "good", said("bob", score=1.0)),
    ]
    assert rows(run(judged)) == [("Q?", "good", "correction")]


def test_keyless_callers_are_one_source() -> None:
    judged = [answer("Q?", "bad", said(None, correction="good")) for _ in range(5)]
    assert rows(run(judged)) == []


def test_agreed_corrections_that_conflict_are_left_out() -> None:
    judged = [
        answer("Q?", "bad", said(key, correction=text))
        for key, text in (("ann", "one"), ("bob", "one"), ("cem", "two"), ("dee", "two"))
    ]
    assert rows(run(judged)) == []
    assert run(judged).filters["conflicting_corrections"] == 4


def test_an_agreed_correction_overrules_a_liked_answer() -> None:
    judged = [
        answer("Q?", "liked", said("zoe", score=1.0)),
        answer("Q?", "bad", said("ann", correction="right"), said("bob", correction="right")),
    ]
    assert rows(run(judged)) == [("Q?", "right", "correction")]
    assert run(judged).filters["overruled_answers"] == 1


def test_a_liked_answer_that_one_key_disputes_is_left_out() -> None:
    judged = [
        answer("Q?", "liked", said("zoe", score=1.0)),
        answer("Q?", "bad", said("ann", correction="right")),
    ]
    assert rows(run(judged)) == []
    assert run(judged).filters["disputed_answers"] == 1


@pytest.mark.parametrize(
    ("scores", "complete", "kept"),
    [([0.8], True, 1), ([0.79], True, 0), ([1.0, 0.5], True, 0), ([1.0, 0.6], True, 1),
     ([1.0], False, 0)],
)  # fmt: skip
def test_good_answers_are_those_with_a_mean_score(
    scores: list[float], complete: bool, kept: int
) -> None:
    judged = [answer("Q?", "A.", *(said("k", s) for s in scores), complete=complete)]
    assert len(run(judged).examples) == kept


def test_the_same_good_answer_is_taken_once() -> None:
    judged = [answer("Q?", text, said("k", 1.0)) for text in ("A.", "a", "A.")]
    assert rows(run(judged)) == [("Q?", "A.", "good_answer")]
    assert run(judged).filters["duplicates"] == 2


def test_a_key_gives_no_more_than_its_cap_and_the_newest_stay() -> None:
    judged = [answer(f"Q{n}?", "A.", said("k", 1.0), key="big") for n in range(5)]
    judged += [answer("other", "A.", said("k", 1.0), key="small")]
    curated = run(judged, Rules(cap=2))
    assert [e.question for e in curated.examples] == ["Q3?", "Q4?", "other"]
    assert curated.filters["over_cap"] == 3
    assert curated.filters["kept_good_answers"] == 3


def test_answers_without_feedback_count_as_such() -> None:
    curated = run([answer("Q?", "A.")])
    assert curated.examples == ()
    assert curated.filters["without_score_or_correction"] == curated.filters["answers"] == 1
