from itertools import product
from pathlib import Path

import pytest

from training.advice.questions import AnswerError, check, read_answers, rules
from training.advice.recommend import Advice, recommend

_EXTRACTION = {
    "format": "strict",
    "knowledge": "judgement",
    "freshness": "never",
    "citations": "none",
    "documents": "none",
    "examples": "thousands",
    "prompting": "wrong_form",
    "latency": "tight",
    "volume": "high",
    "budget": "gpu",
}
_HANDBOOK = {
    "format": "free",
    "knowledge": "documents",
    "freshness": "daily",
    "citations": "required",
    "documents": "plenty",
    "examples": "none",
    "prompting": "wrong_facts",
    "latency": "normal",
    "volume": "low",
    "budget": "none",
}


def test_typical_cases() -> None:
    assert recommend(_EXTRACTION).advice is Advice.FINE_TUNE
    assert recommend(_HANDBOOK).advice is Advice.RETRIEVE
    support = {**_HANDBOOK, "format": "strict", "examples": "thousands", "budget": "gpu",
               "prompting": "both"}  # fmt: skip
    assert recommend(support).advice is Advice.BOTH
    content = {**_EXTRACTION, "prompting": "good", "format": "loose", "volume": "low"}
    assert recommend(content).advice is Advice.PROMPT


@pytest.mark.parametrize(
    ("change", "blocked"),
    [({"examples": "none"}, "fine_tune"), ({"budget": "none"}, "fine_tune")],
)
def test_what_is_ruled_out_is_never_recommended(change: dict[str, str], blocked: str) -> None:
    found = recommend({**_EXTRACTION, **change})
    assert found.advice is Advice.PROMPT
    assert blocked in found.blocked
    assert found.points[blocked] >= found.threshold
    assert found.reasons[0].blocks


def test_every_named_change_changes_the_advice_and_no_other_does() -> None:
    for answers in (_EXTRACTION, _HANDBOOK):
        found = recommend(answers)
        named = {(change.question, change.answer): change.advice for change in found.changes}
        for question, key in ((q.id, key) for q in rules().questions for key in q.answers):
            then = recommend({**answers, question: key}).advice
            assert named.get((question, key), found.advice) is then


def test_points_are_the_sum_of_the_reasons() -> None:
    found = recommend(_EXTRACTION)
    for remedy, points in found.points.items():
        assert points == sum(r.points for r in found.reasons if r.remedy == remedy)
    assert all(reason.because for reason in found.reasons)


def test_more_reasons_for_a_remedy_never_speak_against_it() -> None:
    """Raising one answer's points for a remedy keeps it recommended, whatever else is answered."""
    questions = rules().questions
    varied = [q for q in questions if q.id in ("format", "freshness", "prompting", "examples")]
    for keys in product(*(q.answers for q in varied)):
        answers = {**_EXTRACTION, **dict(zip((q.id for q in varied), keys, strict=True))}
        if recommend(answers).advice in (Advice.FINE_TUNE, Advice.BOTH):
            stricter = recommend({**answers, "format": "strict"})
            assert stricter.advice in (Advice.FINE_TUNE, Advice.BOTH)


def test_every_answer_that_counts_says_why() -> None:
    for question in rules().questions:
        for answer in question.answers.values():
            counts = answer.fine_tune or answer.retrieve or answer.blocks
            assert bool(answer.because) or not counts, (question.id, answer.key)
            assert answer.blocks in ("", "fine_tune", "retrieve")


def test_every_recommendation_can_be_reached() -> None:
    reached = {recommend(a).advice for a in (_EXTRACTION, _HANDBOOK)}
    reached |= {change.advice for a in (_EXTRACTION, _HANDBOOK) for change in recommend(a).changes}
    assert Advice.PROMPT in reached
    assert {Advice.FINE_TUNE, Advice.RETRIEVE} <= reached


def test_missing_answers_are_named() -> None:
    with pytest.raises(AnswerError, match="not answered: knowledge, freshness"):
        recommend({"format": "strict"})


def test_a_file_of_answers(tmp_path: Path) -> None:
    file = tmp_path / "answers.yaml"
    # YAML reads an unquoted `no` as false, which people write for "none".
    file.write_text("format: strict\ncitations: no\n")
    assert read_answers(file) == {"format": "strict", "citations": "none"}
    for text, message in (
        ("format: odd", "format is 'odd', which is not one of strict, loose, free"),
        ("colour: red", "no question 'colour'; known: format"),
        ("- a", "must hold `question: answer` lines"),
        ("a: [", "is not YAML"),
    ):
        file.write_text(text)
        with pytest.raises(AnswerError, match=message):
            read_answers(file)
    with pytest.raises(AnswerError, match="cannot be read"):
        read_answers(tmp_path / "none.yaml")


def test_answers_come_in_the_order_of_the_questions() -> None:
    assert list(check({"budget": "gpu", "format": "free"}, "here")) == ["format", "budget"]
