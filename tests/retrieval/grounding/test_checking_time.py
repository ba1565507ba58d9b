"""What checking an answer costs, and that no answer or document makes it cost much more."""

import json
import random
import time
from pathlib import Path

import pytest

from retrieval.citations import cite
from retrieval.records import Hit
from retrieval.sufficiency import judge
from tests.retrieval.grounding.labelled import hit

_ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "labelled" / "facts.jsonl").read_text().splitlines()
]
_QUESTION = "How much is the Business plan?"


def _hits() -> list[Hit]:
    """Five passages of about 250 tokens."""
    texts = [" ".join(row["passage"] for row in _ROWS[place::6]) for place in range(5)]
    return [hit(text[:1100], id=str(place)) for place, text in enumerate(texts)]


def _answer(seed: int) -> str:
    """About 300 tokens that were not read before."""
    chance = random.Random(seed)
    claims = [claim for row in _ROWS for claim in (row["supported"][0], row["unsupported"][0][1])]
    return " ".join(f"In case {seed}: {claim}" for claim in chance.sample(claims, 26))


def test_an_answer_of_300_tokens_against_five_passages() -> None:
    """The goal is 5 ms; the bound leaves room for a busy machine."""
    hits = _hits()
    cite(_answer(0), hits, _QUESTION)
    times = []
    for seed in range(1, 16):
        answer = _answer(seed)
        begin = time.process_time()
        cite(answer, hits, _QUESTION)
        times.append(time.process_time() - begin)
    times.sort()
    print(f"median {times[7] * 1e3:.1f} ms, fastest {times[0] * 1e3:.1f} ms")
    assert times[0] < 0.015


@pytest.mark.parametrize(
    "unit",
    ["a", "a.", "1 ", "x1 ", "a@", "--", "a, b, ", "not and ", "[1", "| a ", "it is 5. ", "k: v\n",
     "a b c, and d e f, ", "\u4e2d", "5 km and 6 km, "],
)  # fmt: skip
def test_neither_answers_nor_passages_are_costly(unit: str) -> None:
    text = unit * (20_000 // len(unit))
    hits = [hit(text, id=str(place)) for place in range(5)]
    begin = time.process_time()
    cite(text, hits, text)
    judge(text, hits)
    assert time.process_time() - begin < 4.0
