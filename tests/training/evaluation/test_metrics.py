"""Measures of single answers."""

import json
from pathlib import Path

import numpy as np
import pytest
import sacrebleu

from training.evaluation.cases import TruthCase
from training.evaluation.metrics import bleu
from training.evaluation.metrics.exact import matches
from training.evaluation.metrics.json_format import JsonFormat, SchemaError, read_schema
from training.evaluation.metrics.rouge import rouge_l
from training.evaluation.metrics.truth import declines, judge_by_rule, says


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("  Paris. ", "paris", True),
        ("Straße", "STRASSE", True),
        ("Paris, France", "Paris", False),
        ('{"b": 1.0, "a": [1, 2]}', '{"a":[1,2],"b":1}', True),
        ('{"a": true}', '{"a": 1}', False),
        ('{"a": [2, 1]}', '{"a": [1, 2]}', False),
        ('{"a": 1} done', '{"a": 1}', False),
        ("{}", "{}", True),
        ("", "{}", False),
        ("5", "5.0", False),  # texts, not documents
    ],
)
def test_exact_match(answer: str, reference: str, same: bool) -> None:
    assert matches(answer, reference) is same


def test_format(tmp_path: Path) -> None:
    plain = JsonFormat()
    assert plain.valid('{"a": 1}')
    assert not plain.valid('{"a": 1')
    assert not plain.valid("null")
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(schema))
    strict = JsonFormat(read_schema(path))
    assert strict.valid('{"a": 1}')
    assert not strict.valid('{"a": "1"}')
    with pytest.raises(SchemaError, match="no JSON schema"):
        JsonFormat({"type": "objekt"})
    with pytest.raises(SchemaError, match="cannot be read"):
        read_schema(tmp_path / "none.json")


def test_bleu_is_sacrebleus_and_the_bootstrap_is_paired() -> None:
    answers = ["the cat sat on the mat today", "a dog runs in the park", "it rains again"] * 5
    wanted = ["the cat sat on the mat", "a dog ran in the big park", "it is raining again"] * 5
    rows = bleu.counts(answers, wanted)
    expected = sacrebleu.corpus_bleu(answers, [wanted]).score
    found = bleu.corpus(rows, seed=1)
    assert found.value == pytest.approx(expected)
    assert found.low < expected < found.high
    for some in (rows[:1], rows[1:3], bleu.counts(["x"], ["y z"]), bleu.counts([""], ["a"])):
        sums = [int(value) for value in some.sum(axis=0)]
        one = sacrebleu.BLEU.compute_bleu(sums[:4], sums[4:8], sums[8], sums[9], "exp").score
        assert bleu.corpus(some, 0).value == pytest.approx(one, abs=1e-9)
    # The same answers differ by nothing in every resample.
    assert bleu.difference(rows, rows, seed=1).high == 0
    better = bleu.counts(wanted, wanted)
    assert bleu.difference(better, rows, seed=1).low > 0
    assert np.array_equal(bleu.replicates(rows, 4), bleu.replicates(rows, 4))


def test_rouge_l() -> None:
    # Lin, 2004: "police killed the gunman" against "police kill the gunman": F = 3/4.
    assert rouge_l(["police kill the gunman"], ["police killed the gunman"]) == [0.75]
    assert rouge_l(["Привет мир"], ["привет, мир"]) == [1.0]
    assert rouge_l([""], ["word"]) == [0.0]


def case(**given: object) -> TruthCase:
    fields = {
        "accepted": (),
        "facts": (),
        "forbidden": (),
        "unanswerable": False,
        "context": "",
    } | given
    return TruthCase("truth:1", ({"role": "user", "content": "?"},), slice="all", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("truth", "answer", "verdict"),
    [
        (case(accepted=("10 pm", "22:00")), "We close at 10 PM.", "grounded"),
        (case(accepted=("10 pm",)), "We close at 11 pm.", "hallucinated"),
        (case(accepted=("10 pm",)), "I don't know when.", "declined"),
        (case(accepted=("10 pm",)), "", "declined"),
        (case(accepted=("5",)), "It costs 15 or 5.2.", "hallucinated"),
        (case(accepted=("5",)), "It costs 5.", "grounded"),
        (case(facts=("cash", "card")), "Cash and card.", "grounded"),
        (case(facts=("cash", "card")), "Cash only.", "hallucinated"),
        (case(accepted=("Paris",), forbidden=("Lyon",)), "Paris, or Lyon.", "hallucinated"),
        (case(forbidden=("Lyon",)), "It is Paris.", "grounded"),
        (case(unanswerable=True), "That is not known.", "grounded"),
        (case(unanswerable=True), "It was in 1802.", "hallucinated"),
        (case(context="We close at ten."), "At ten.", None),
    ],
)
def test_groundedness_by_rule(truth: TruthCase, answer: str, verdict: str | None) -> None:
    assert judge_by_rule(truth, answer) == verdict


def test_whole_words() -> None:
    assert says("The answer: NEW  York!", "new york")
    assert not says("Yorkshire", "York")
    assert declines("I’m not sure about that.")  # noqa: RUF001
    assert not declines("I know that the answer is 4.")
