"""The task of the demonstration: a bank's customers ask, the model names the intent (BANKING77).

Some intents are known when the first release is trained. Others come up later, when a document for
each of them can already be found. A part of the training rows carries passages as the gateway puts
them into a prompt, so that the model learns to read them (retrieval-augmented fine-tuning, Zhang et
al. 2024, arXiv:2403.10131). Those are of known intents and of many others, which nobody asks about
later, and of none of the new ones.

Source: I. Casanueva et al., "Efficient Intent Detection with Dual Sentence Encoders", NLP4ConvAI
2020 (https://github.com/PolyAI-LDN/task-specific-datasets), CC BY 4.0.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from examples.banking77 import read
from gateway.store.examples import Example, Message
from retrieval.embedder import Embedder
from retrieval.grounding import ground
from retrieval.records import Document, Hit, Passage

# A bank that began with cards, and now offers accounts in other currencies, payments by phone, and
# accounts for the young.
_KNOWN = (
    "change_pin", "lost_or_stolen_card", "request_refund", "card_arrival",
    "edit_personal_details", "cancel_transfer", "activate_my_card", "terminate_account",
)  # fmt: skip
_NEW = ("exchange_rate", "apple_pay_or_google_pay", "age_limit", "fiat_currency_support")
_SHOWN = 3  # questions in the document of an intent
_TOKENS = 1200
_PRACTICE = 24  # other intents to learn reading on
_PRACTICE_ROWS = 4
PASSAGES = 2
"""Passages of a grounded prompt; the policy of the alias says the same (`top_k`)."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the demonstration is: intents, and rows of each.

    A margin of 10 points is shown on 36 rows, no fewer, that were known before and still are:
    `valid` of all known intents together.
    """

    known: int
    new: int
    rows: int
    valid: int


@dataclass(frozen=True, slots=True)
class Task:
    """What is learnt, asked and looked up; rows are (instruction, question, intent).

    Attributes:
        known: Intents of the first release.
        new: Intents that come up later.
        train: Rows of known intents to train on.
        valid: Rows of known intents to validate with.
        traffic: Questions that customers ask, by intent; none of them is trained on at first.
        test: Rows that only measure, by intent: the published test set.
        documents: Text of each intent's document, known and new.
        practice: Rows of other intents, to learn on how passages are read.
        practice_documents: Text of their documents.
    """

    known: tuple[str, ...]
    new: tuple[str, ...]
    train: tuple[Example, ...]
    valid: tuple[Example, ...]
    traffic: dict[str, tuple[Example, ...]]
    test: dict[str, tuple[Example, ...]]
    documents: dict[str, str]
    practice: tuple[Example, ...]
    practice_documents: dict[str, str]


def build(data: Path, sizes: Sizes, seed: int) -> Task:
    """Draw the rows.

    Raises:
        OSError: The data cannot be read.
    """
    draw = random.Random(seed)  # noqa: S311 - a draw that can be repeated, no secret
    measures = read(data / "banking77" / "test.csv")
    seen = {row.question for row in measures}  # some stand in both of the published files
    learnt = _by_intent(
        [row for row in read(data / "banking77" / "train.csv") if row.question not in seen]
    )
    held_out: dict[str, tuple[Example, ...]] = {}
    test = _by_intent(measures)
    known, new = _KNOWN[: sizes.known], _NEW[: sizes.new]
    documents: dict[str, str] = {}
    train: list[Example] = []
    valid: list[Example] = []
    for intent in (*known, *new):
        rows = list(learnt[intent])
        draw.shuffle(rows)
        shown, rows = rows[:_SHOWN], rows[_SHOWN:]
        documents[intent] = _document(intent, [row.question for row in shown])
        if intent in known:
            train += rows[: sizes.rows]
            valid += rows[sizes.rows : sizes.rows + sizes.valid]
            rows = rows[sizes.rows + sizes.valid :]
        held_out[intent] = tuple(rows)
    draw.shuffle(train)
    others = draw.sample(sorted(learnt.keys() - {*_KNOWN, *_NEW}), _PRACTICE)
    practised = {
        intent: draw.sample(learnt[intent], _SHOWN + _PRACTICE_ROWS) for intent in sorted(others)
    }
    practice = [row for rows in practised.values() for row in rows[_SHOWN:]]
    draw.shuffle(practice)
    return Task(
        known, new, tuple(train), tuple(valid), held_out,
        {intent: tuple(test[intent]) for intent in (*known, *new)}, documents, tuple(practice),
        {
            intent: _document(intent, [row.question for row in rows[:_SHOWN]])
            for intent, rows in practised.items()
        },
    )  # fmt: skip


def reading(task: Task, rows: int, embedder: Embedder) -> list[Example]:
    """Return rows with passages to train on: as many of known intents as of others."""
    known = {k: v for k, v in task.documents.items() if k in task.known}
    mixed = [*task.train[: rows // 2], *task.practice[: rows - rows // 2]]
    return with_passages(mixed, known | task.practice_documents, embedder)


def with_passages(
    rows: Sequence[Example], documents: dict[str, str], embedder: Embedder
) -> list[Example]:
    """Return the rows as the gateway grounds them: with the passages that a search would find."""
    intents = list(documents)
    vectors, _ = embedder.embed([documents[intent] for intent in intents])
    asked, _ = embedder.embed([row.question for row in rows])
    grounded = []
    for row, scores in zip(rows, asked @ vectors.T, strict=True):
        best = np.argsort(-scores)[:PASSAGES]
        hits = [_hit(intents[n], documents[intents[n]], float(scores[n])) for n in best]
        prompt: Any = [message.as_dict() for message in row.prompt]
        turns = ground(prompt, hits, token_budget=_TOKENS).messages
        messages = (*(Message(t["role"], t["content"]) for t in turns), row.messages[-1])
        grounded.append(replace(row, messages=messages))
    return grounded


def _document(intent: str, questions: Sequence[str]) -> str:
    asked = "\n".join(f"- {question}" for question in questions)
    return f"The intent is {intent} where customers ask things like:\n{asked}"


def _hit(intent: str, text: str, score: float) -> Hit:
    return Hit(
        collection="intents",
        document=Document(id=intent, title=intent, filename=f"{intent}.md"),
        passage=Passage(number=0, text=text),
        score=score,
    )


def _by_intent(rows: Sequence[Example]) -> dict[str, list[Example]]:
    found: dict[str, list[Example]] = {}
    for row in rows:
        found.setdefault(row.slice, []).append(row)
    return found
