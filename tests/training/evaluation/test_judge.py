"""A judge, people's labels, and what they decide together."""

import json
from pathlib import Path

import numpy as np
import pytest

from training.evaluation.answerers.base import Answer
from training.evaluation.cases import CaseError, TruthCase
from training.evaluation.gates import Verdict
from training.evaluation.judge import gate, questions, rate, read_labels, to_label, verdict

CASES = [
    TruthCase(f"truth:{n}", ({"role": "user", "content": f"q{n}"},), (), (), (), False, "c", "all")
    for n in range(1000)
]


def answers(word: str) -> dict[str, Answer]:
    return {case.id: Answer(case.id, f"{word} {case.id}") for case in CASES}


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ('{"hallucinated": true}', True),
        ('Sure.\n```json\n{"hallucinated":False}\n```', False),
        ("yes, it is hallucinated", None),
        ('{"hallucinated": true} or {"hallucinated": false}', None),
        ("", None),
    ],
)
def test_a_reply_is_a_verdict_or_none(reply: str, said: bool | None) -> None:
    assert verdict(reply) is said


def test_the_judge_sees_question_truth_and_answer_but_no_failed_ones() -> None:
    given = answers("A") | {"truth:1": Answer("truth:1", error="HTTP 500")}
    asked = questions("candidate", CASES[:2], given)
    assert [q.id for q in asked] == ["candidate:truth:0"]
    assert all(text in asked[0].messages[1]["content"] for text in ("q0", "c", "A truth:0"))


def test_labels_are_read_with_lines(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    row = {"id": "truth:1", "answer": "a", "hallucinated": True}
    path.write_text(json.dumps(row) + "\n")
    assert read_labels(path) == {("truth:1", "a"): True}
    for bad, named in [
        (row | {"hallucinated": None}, "line 2: a label needs"),
        (row | {"hallucinated": False}, "line 2: this answer has the other label"),
    ]:
        path.write_text(json.dumps(row) + "\n" + json.dumps(bad) + "\n")
        with pytest.raises(CaseError, match=named):
            read_labels(path)


def test_the_sample_for_people_is_random_and_the_same_for_all_systems(tmp_path: Path) -> None:
    path = tmp_path / "to_label.jsonl"
    assert to_label(path, CASES, {"a": answers("A"), "b": answers("B")}) == 200
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    ids = [row["id"] for row in rows]
    assert ids[::2] == ids[1::2]
    assert 300 < np.mean([int(id.split(":")[1]) for id in ids]) < 700
    assert rows[0]["hallucinated"] is None


def decide(labelled: int, harm: float, judge_error: float, seed: int = 1) -> Verdict:
    """The candidate hallucinates `harm` more often; the judge calls it so even more often."""
    rng = np.random.default_rng(seed)
    old = rng.random(1000) < 0.05
    new = old | (rng.random(1000) < harm)
    judged_new = new | (rng.random(1000) < judge_error)
    sides = (answers("new"), answers("old"))
    labels = {}
    for n in range(labelled):
        for side, truth in zip(sides, (new, old), strict=True):
            labels[CASES[n].id, side[CASES[n].id].text] = bool(truth[n])
    ids = [case.id for case in CASES]
    judged = (
        dict(zip(ids, judged_new.tolist(), strict=True)),
        dict(zip(ids, old.tolist(), strict=True)),
    )
    return gate(CASES, sides, judged, labels, 0.01).verdict


def test_a_judge_alone_decides_nothing() -> None:
    assert decide(0, 0.0, 0.0) is Verdict.INCONCLUSIVE
    assert decide(29, 0.0, 0.0) is Verdict.INCONCLUSIVE


def test_labels_overrule_a_biased_judge() -> None:
    # The judge sees 10 points more in the candidate, people see none: no FAIL for it.
    assert decide(700, 0.0, 0.1) is not Verdict.FAIL
    assert decide(700, 0.0, 0.0) is Verdict.PASS
    assert decide(300, 0.2, 0.0) is Verdict.FAIL


@pytest.mark.slow
def test_a_candidate_that_is_worse_by_the_margin_seldom_passes() -> None:
    passed = [decide(300, 0.0105, 0.02, seed) is Verdict.PASS for seed in range(100)]
    assert np.mean(passed) <= 0.12  # 5 % and what 100 runs may add


def test_many_events_are_estimated_with_the_judges_help() -> None:
    assert decide(400, 0.3, 0.02) is Verdict.FAIL
    found = rate(
        CASES, answers("A"), {case.id: n % 4 == 0 for n, case in enumerate(CASES)},
        {(case.id, f"A {case.id}"): n % 5 == 0 for n, case in enumerate(CASES[:100])},
    )  # fmt: skip
    assert found is not None
    assert found.low < 0.2 < found.high < 0.3
    assert rate(CASES, answers("A"), {}, {}) is None
