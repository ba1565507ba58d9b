"""Requests as numbers, whatever their texts hold."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from monitoring.descriptors import Descriptors, describe, losses
from monitoring.requests import Request

REQUEST = Request(
    id="chatcmpl-1",
    at=0.0,
    alias="production",
    release="production-1",
    prompt="Why was I charged for a transfer abroad?",
    answer="A transfer abroad costs two euros, as the list of fees says.",
    finish_reason="stop",
)


def unknown(value: float) -> bool:
    return math.isnan(value)


def test_a_plain_request_has_its_lengths_its_language_and_no_fault() -> None:
    found = describe(REQUEST)
    assert found.prompt_characters == 40
    assert found.prompt_words == 8
    assert found.answer_words == 12
    assert found.language == "en"
    assert found.answer_language_differs == 0
    assert found.empty == found.truncated == found.failed == found.refusal == 0
    assert found.repetition == found.retrieved == 0
    for name in ("format_failure", "retrieval_score", "ungrounded", "nll", "nll_tail", "feedback"):
        assert unknown(getattr(found, name)), name


def test_a_request_without_texts_says_only_what_is_known_without_them() -> None:
    found = describe(replace(REQUEST, prompt=None, answer=None, logprob_mean=-0.5))
    assert found.language == ""
    assert found.nll == 0.5
    assert unknown(found.prompt_words)
    assert unknown(found.answer_characters)
    assert unknown(found.refusal)
    assert unknown(found.empty)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Wie lange dauert eine Überweisung ins Ausland?", "de"),
        ("Combien de temps prend un virement à l'étranger ?", "fr"),
        ("¿Cuánto tarda una transferencia al extranjero?", "es"),
        ("海外への送金にはどのくらいの時間がかかりますか教えてください", "ja"),
        ("where is my card", ""),
        ("12345 67890 12345 67890 12345", ""),
    ],
)
def test_the_language_is_told_of_texts_that_are_long_enough(text: str, expected: str) -> None:
    assert describe(replace(REQUEST, prompt=text)).language == expected


def test_an_answer_in_another_language_is_noticed() -> None:
    german = "Eine Überweisung ins Ausland kostet zwei Euro und dauert drei Tage."
    assert describe(replace(REQUEST, answer=german)).answer_language_differs == 1
    assert unknown(describe(replace(REQUEST, answer="Ja.")).answer_language_differs)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"intent": "fees"}', 0),
        (" [1, 2]\n", 0),
        (json.dumps({"text": "x" * 30_000}), 0),  # longer than what is read of a text
        ('{"intent": "fees"', 1),
        ('```json\n{"intent": "fees"}\n```', 1),
        ("NaN", 1),
        ("", 1),
        ("[" * 100_000, 1),
        ('"\ud800"', 1),
    ],
)
def test_an_answer_that_is_not_the_json_asked_for_fails(answer: str, expected: float) -> None:
    assert describe(replace(REQUEST, answer=answer, wants_json=True)).format_failure == expected
    assert unknown(describe(replace(REQUEST, answer=answer)).format_failure)


def test_half_an_answer_to_a_client_that_left_is_nobodys_fault() -> None:
    left = replace(REQUEST, answer='{"inte', wants_json=True, outcome="cancelled", status=499)
    assert set(losses(left)) == {"refusal"}


@pytest.mark.parametrize(
    ("outcome", "status", "expected"),
    [("done", 200, 0), ("error", 502, 1), ("error", 200, 1), ("truncated", 200, 1)],
)
def test_what_broke_has_failed(outcome: str, status: int, expected: float) -> None:
    assert describe(replace(REQUEST, outcome=outcome, status=status)).failed == expected


def test_a_request_that_was_at_fault_itself_does_not_count_as_failed() -> None:
    assert unknown(describe(replace(REQUEST, outcome="error", status=400)).failed)


@pytest.mark.parametrize("fields", [{"finish_reason": "length"}, {"outcome": "truncated"}])
def test_an_answer_without_an_end_is_truncated(fields: Mapping[str, Any]) -> None:
    assert describe(replace(REQUEST, **fields)).truncated == 1


def test_repetition_is_the_share_of_word_sequences_that_came_before() -> None:
    loop = describe(replace(REQUEST, answer="the card is here " * 50))
    assert loop.repetition == pytest.approx(1 - 4 / 197)
    assert unknown(describe(replace(REQUEST, answer="too short")).repetition)


def test_what_retrieval_noted_is_read() -> None:
    notes = {
        "outcome": "grounded", "sentences": 4, "supported": 3,
        "passages": [{"score": 0.2}, {"score": 0.7}],
    }  # fmt: skip
    found = describe(replace(REQUEST, retrieval=notes))
    assert (found.retrieved, found.retrieval_score, found.ungrounded) == (1, 0.7, 0.25)


@pytest.mark.parametrize(
    "notes",
    [
        {},
        {"outcome": "grounded"},
        {"outcome": "plain", "sentences": 4, "supported": 0},
        {"outcome": "grounded", "sentences": "4", "passages": "none"},
        {"outcome": "grounded", "sentences": 1, "supported": 2, "passages": [None, {"score": "x"}]},
    ],
)
def test_notes_that_say_nothing_of_grounding_give_no_loss(notes: dict[str, Any]) -> None:
    found = describe(replace(REQUEST, retrieval=notes))
    assert unknown(found.ungrounded)
    assert unknown(found.retrieval_score)


def test_losses_are_those_that_are_known() -> None:
    assert losses(REQUEST) == {"refusal": 0, "failed": 0}
    bad = replace(
        REQUEST, answer="I'm sorry, but I can't help with that.", wants_json=True, score=0.25,
        retrieval={"outcome": "grounded", "sentences": 2, "supported": 1},
    )  # fmt: skip
    assert losses(bad) == {
        "format": 1, "refusal": 1, "ungrounded": 0.5, "feedback": 0.75, "failed": 0,
    }  # fmt: skip


@pytest.mark.parametrize("score", [math.nan, math.inf, -0.1, 1.1, True])
def test_a_score_that_is_none_gives_no_loss(score: float) -> None:
    assert ("feedback" in losses(replace(REQUEST, score=score))) is (score is True)


@pytest.mark.parametrize(
    "text",
    ["", " \n\t", "\x00\x01\x02", "\ud800\udfff", "a" * 5_000_000, "\u202e" * 100, "🙂" * 50_000],
    ids=["empty", "white", "control", "surrogates", "huge", "marks", "emoji"],
)
def test_any_text_can_be_described(text: str) -> None:
    found = describe(replace(REQUEST, prompt=text, answer=text, wants_json=True))
    assert found.prompt_characters <= 20_000
    for field in fields(Descriptors):
        value = getattr(found, field.name)
        assert isinstance(value, str if field.name == "language" else float), field.name
    assert all(0 <= loss <= 1 for loss in losses(replace(REQUEST, answer=text)).values())


def test_numbers_that_are_none_stay_unknown() -> None:
    found = describe(replace(REQUEST, logprob_mean=math.nan, logprob_tail=-math.inf))
    assert unknown(found.nll)
    assert unknown(found.nll_tail)


def test_a_window_costs_a_few_hundredths_of_a_second() -> None:
    window = [
        replace(REQUEST, prompt=f"{REQUEST.prompt} {i}", answer=f"{REQUEST.answer} {i} " * 6)
        for i in range(100)
    ]
    describe(window[0])  # loads the language model
    costs = []
    for _ in range(5):
        before = time.process_time()
        for request in window:
            describe(request)
        costs.append(time.process_time() - before)
    assert min(costs) < 0.1  # 0.02 s on two idle cores


def test_descriptors_load_no_heavy_library() -> None:
    code = (
        "import sys, monitoring.descriptors; "
        "print({'numpy', 'pandas', 'sklearn', 'py3langid', 'evidently'} & set(sys.modules))"
    )
    root = Path(__file__).parents[3]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert run.stdout.strip() == "set()", run.stderr
