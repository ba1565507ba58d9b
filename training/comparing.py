"""The items of a blind comparison: both sides are asked the same, or have been already.

The sides are two releases, or one without documents and with them. What is asked is what people
asked of the alias lately, or questions of a file. Answers that the shadow stage of a rollout has
made are there already: the same request, answered by both.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.store.comparison_files import Turns
from gateway.store.comparisons import Item
from gateway.store.database import Database
from gateway.store.traffic import Traffic, TrafficRecord
from monitoring.requests import PROBE
from training.asking import Asked, Question, Retrieval

_PAGE = 100
_AT_ONCE = 4
_CITATION = re.compile(r"\s*\[\d+\]")

Sides = tuple[Retrieval | None, Retrieval | None]
"""Whether baseline and candidate retrieve; None: as the alias's policy says."""


class Asks(Protocol):
    """What asks: `training.asking.GatewayAsker`."""

    def ask_many(self, questions: Sequence[Question], concurrency: int = 4) -> list[Asked]:
        """Return what became of each question, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Both:
    """What both releases answered.

    Attributes:
        items: Those with two answers.
        same: Questions that both answered with the same words: there is nothing to compare.
        failed: Questions that one of them did not answer, and why, by release.
    """

    items: tuple[Item, ...]
    same: int
    failed: tuple[str, ...]


def ask_both(
    asker: Asks,
    asked: Sequence[Turns],
    baseline: str,
    candidate: str,
    *,
    retrieval: Sides = (None, None),
    max_tokens: int = 512,
    told: Callable[[int], None] = lambda _: None,
) -> Both:
    """Ask both sides the same questions.

    Where one side alone retrieves, markers of citations are taken out: they would tell which it is.

    Args:
        asker: Asks through the gateway.
        asked: Conversations.
        baseline: A release that is served.
        candidate: Another one that is served.
        retrieval: Whether each retrieves.
        max_tokens: Of an answer.
        told: Hears how many questions are done.
    """
    sides = list(zip((baseline, candidate), retrieval, strict=True))
    items: list[Item] = []
    failed: list[str] = []
    same = 0
    for at in range(0, len(asked), _AT_ONCE):
        part = asked[at : at + _AT_ONCE]
        questions = [
            Question(model, turns, retrieves, max_tokens=max_tokens, timeout_s=300.0)
            for turns in part
            for model, retrieves in sides
        ]
        answers = iter(asker.ask_many(questions, _AT_ONCE))
        for turns, old, new in zip(part, answers, answers, strict=True):
            wrong = _wrong(old, baseline) or _wrong(new, candidate)
            texts = old.text, new.text
            if retrieval[0] != retrieval[1]:
                texts = _CITATION.sub("", old.text), _CITATION.sub("", new.text)
            if wrong is not None:
                failed.append(wrong)
            elif texts[0].strip() == texts[1].strip():
                same += 1
            else:
                items.append(Item(0, turns, *texts))
        told(at + len(part))
    return Both(tuple(items), same, tuple(failed))


def recent(database: Database, alias: str, most: int) -> list[Turns]:
    """Return what was asked of an alias lately, each question once; answers are left out.

    Args:
        database: The store.
        alias: The alias.
        most: Most of them.
    """
    traffic = Traffic(database)
    found: list[Turns] = []
    seen: set[str] = set()
    after: str | None = None
    while len(found) < most:
        records, more = traffic.page(model=alias, after=after, limit=_PAGE, ascending=False)
        for record in records:
            turns = _asked(record)
            if turns is not None and str(turns) not in seen:
                seen.add(str(turns))
                found.append(turns)
        if not more:
            break
        after = records[-1].completion_id
    return found[:most]


def shadowed(database: Database, alias: str, baseline: str, candidate: str, most: int) -> Both:
    """Return requests that a rollout has mirrored, with the answers of both releases."""
    items: list[Item] = []
    same = failed = 0
    pairs = Traffic(database).mirrored(alias, candidate, 0.0, most)
    for copy, of in pairs:
        turns, old, new = _asked(of), _said(of), _said(copy)
        if of.release != baseline or turns is None or old is None or new is None:
            failed += 1
        elif old.strip() == new.strip():
            same += 1
        else:
            items.append(Item(0, turns, old, new))
    why = "of another release, or its texts are not kept"
    return Both(tuple(items), same, (why,) * failed)


def _wrong(asked: Asked, release: str) -> str | None:
    if asked.error is not None:
        return f"{release}: {asked.error}"
    if asked.release != release:
        return f"{release}: {asked.release or 'something else'} answered in its place"
    return None


def _asked(record: TrafficRecord) -> Turns | None:
    """Return the conversation of a request, or None: no chat, no text kept, or not people's."""
    messages: Any = record.messages
    if PROBE in record.metadata or not isinstance(messages, list) or not messages:
        return None
    return messages if all(isinstance(turn, dict) for turn in messages) else None


def _said(record: TrafficRecord) -> str | None:
    try:
        text = (record.answer or {})["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return None
    return text if isinstance(text, str) else None
