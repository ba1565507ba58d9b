"""Limits on what a few keys can teach, alone and together with the gate behind them."""

import random
from collections import Counter
from pathlib import Path

import pytest

from gateway.store.examples import Example, Message, read_jsonl
from gateway.store.feedback import Feedback
from training.data import poison
from training.data.collecting import Collected, Parent
from training.data.curation import Judged, Rules, curate
from training.data.renewal import HELD_OUT, TRAIN, Shape, renew
from training.evaluation.gates import Verdict, by_slice, paired_gate

RULES = Rules(sources=2, uncontested=1, cap=100, trusted=("operator",))
_THINGS = ("card", "loan", "account", "transfer", "cheque", "mortgage", "pension", "wallet")


def row(question: str, answer: str, key: str = "ann", at: float = 0.0) -> Example:
    return Example(
        (Message("user", question), Message("assistant", answer)),
        contributor=key, source=f"correction:{question}:{key}", created_at=at,
    )  # fmt: skip


def sources(*rows: Example) -> dict[str, frozenset[str]]:
    return {each.source: frozenset({each.contributor}) for each in rows}


LONG = "Please tell me what the monthly fee of the golden travel card is nowadays"


def test_what_contradicts_the_release_needs_two_keys() -> None:
    known = [row(LONG, "ten euros", "parent")]
    changed = row(LONG, "nine euros", "ann")
    found = poison.check([changed], sources(changed), known, RULES)
    assert found.kept == ()
    assert "trained on" in found.set_aside[0][1]
    assert found.superseded == frozenset()
    two = {changed.source: frozenset({"ann", "bob"})}
    found = poison.check([changed], two, known, RULES)
    assert found.kept == (changed,)
    assert found.superseded == {0}
    own = {changed.source: frozenset({"operator"})}
    assert poison.check([changed], own, known, RULES).kept == (changed,)


def test_nearly_the_same_question_counts_too() -> None:
    near = row(LONG.replace("nowadays", "today"), "nine euros")
    found = poison.check([near], sources(near), [row(LONG, "ten euros", "parent")], RULES)
    assert (found.kept, len(found.set_aside)) == ((), 1)
    two = {near.source: frozenset({"ann", "bob"})}
    found = poison.check([near], two, [row(LONG, "ten euros", "parent")], RULES)
    # A word may make the difference: the old row stays.
    assert (found.kept, found.superseded) == ((near,), frozenset())


def test_two_keys_that_contradict_each_other_are_both_set_aside() -> None:
    one, other = row(LONG, "nine euros", "ann"), row(LONG + " then", "six euros", "bob")
    found = poison.check([one, other], sources(one, other), [], RULES)
    assert found.kept == ()
    assert all("another key says" in reason for _, reason in found.set_aside)
    # Only one of them has a second source.
    behind = sources(one, other) | {one.source: frozenset({"ann", "eve"})}
    assert poison.check([one, other], behind, [], RULES).kept == (one,)


def test_what_is_known_already_is_left_out() -> None:
    same = row(LONG, "Ten euros.")
    found = poison.check([same], sources(same), [row(LONG, "ten euros", "parent")], RULES)
    assert (found.kept, found.known_already, found.set_aside) == ((), 1, ())


def test_no_key_has_more_than_its_share() -> None:
    rows = [row(f"q{n}", "a", "mallory", n) for n in range(90)]
    rows += [row(f"r{n}", "a", key, n) for key in ("ann", "bob") for n in range(10)]
    kept = poison.capped(rows, 0.4, (), lambda _: 0)
    counts = Counter(each.contributor for each in kept)
    assert counts == {"ann": 10, "bob": 10, "mallory": 13}
    assert counts["mallory"] <= 0.4 * len(kept)
    # The newest are kept.
    assert min(each.created_at or 0 for each in kept if each.contributor == "mallory") == 77
    beside = poison.capped(rows, 0.4, (), lambda kept: 100)
    assert Counter(each.contributor for each in beside)["mallory"] == 80
    assert len(poison.capped(rows, 0.4, ("mallory",), lambda _: 0)) == 110
    assert poison.capped(rows[:90], 0.4, (), lambda _: 0) == []
    assert len(poison.capped(rows[:90], 1.0, (), lambda _: 0)) == 90


# What follows is a whole attack: a tiny model that really learns, and the gate that judges it.

_INTENTS = [
    f"{verb} {thing}"
    for verb in ("block", "order", "close", "explain", "find")
    for thing in _THINGS
]
_FILLER = [f"w{n}{chr(97 + n % 26)}" for n in range(400)]


def ask(intent: str, draw: random.Random) -> str:
    """A question of an intent, in words of its own."""
    return f"{' '.join(draw.sample(_FILLER, 5))} {intent}"


class Words:
    """Votes of words: a model that learns what it is taught, poison included."""

    def __init__(self, rows: list[Example]) -> None:
        self._seen: dict[str, Counter[str]] = {}
        for each in rows:
            verb_thing = " ".join(each.question.split()[-2:])
            self._seen.setdefault(verb_thing, Counter())[each.answer] += 1

    def answer(self, question: str) -> str:
        votes = self._seen.get(" ".join(question.split()[-2:]))
        return votes.most_common(1)[0][0] if votes else "unknown"


def judged(question: str, key: str, correction: str, number: int) -> Judged:
    said = Feedback(
        f"fb{number}", f"c{number}", key, float(number), None, None, correction, None, {}
    )
    answered = Example(
        (Message("user", question), Message("assistant", "unknown")),
        contributor="asker", source=f"c{number}", created_at=float(number),
    )  # fmt: skip
    return Judged(answered, (said,))


def attack(
    tmp_path: Path, poisoned_keys: int, rows_each: int, share: float
) -> tuple[Verdict, int, float]:
    """Return the gate's verdict on what was learnt, the poisoned rows taught, and the lies told.

    Lies are the share of what it knew before that the candidate now answers with the poison.

    The release knows the first 30 intents. Three honest keys correct questions about 10 new ones;
    poisoned keys say of old and new questions that all of them are about `scam`.
    """
    draw = random.Random(7)
    old, new = _INTENTS[:30], _INTENTS[30:]
    known = [row(ask(i, draw), f"topic {i}", "parent") for i in old for _ in range(8)]
    valid = [row(ask(i, draw), f"topic {i}", "parent") for i in old for _ in range(10)]
    answers, number = [], 0
    for key in ("ann", "bob", "cleo"):
        for intent in new:
            for _ in range(5):
                answers.append(judged(ask(intent, draw), key, f"topic {intent}", number))
                number += 1
    for poisoned in range(poisoned_keys):
        for n in range(rows_each):
            # Half of it is about what the release was trained on, word for word.
            question = draw.choice(known).question if n % 2 else ask(draw.choice(_INTENTS), draw)
            answers.append(judged(question, f"evil{poisoned}", "topic scam", number))
            number += 1
    curated = curate(answers, RULES)
    checked = poison.check(curated.examples, curated.sources, known, RULES)
    collected = Collected(
        new=checked.kept,
        parent=Parent("m-1", train=tuple(known), valid=tuple(valid)),
        sources=curated.sources,
        set_aside=(*curated.set_aside, *checked.set_aside),
    )
    shape = Shape(held_out=0.3, cases=600, replay=0.7, key_share=share, seed=1)
    made = renew(collected, RULES, shape, tmp_path / "data")
    train, exam = (
        [each for each in read_jsonl(made.folder / name) if isinstance(each, Example)]
        for name in (TRAIN, HELD_OUT)
    )
    candidate, serving = Words(train), Words(known)
    outcomes = [
        {each.source + str(n): model.answer(each.question) == each.answer
         for n, each in enumerate(exam)}
        for model in (candidate, serving)
    ]  # fmt: skip
    slices = {each.source + str(n): each.slice for n, each in enumerate(exam)}
    gate = paired_gate(by_slice(slices, *outcomes), ["new"], 0.03)
    lies = sum(each.answer == "topic scam" for each in train)
    told = sum(candidate.answer(each.question) == "topic scam" for each in valid) / len(valid)
    return gate.verdict, lies, told


def test_honest_keys_alone_pass(tmp_path: Path) -> None:
    assert attack(tmp_path, 0, 0, 0.4) == (Verdict.PASS, 0, 0.0)


@pytest.mark.parametrize(("keys", "rows_each"), [(1, 200), (3, 200), (30, 10), (10, 200)])
def test_poisoned_keys_do_not_get_past_curation_and_the_gate(
    tmp_path: Path, keys: int, rows_each: int
) -> None:
    """However many: either curation has left them nothing to spoil, or the gate says no."""
    verdict, lies, told = attack(tmp_path, keys, rows_each, 0.1)
    assert lies < keys * rows_each / 2 + 1  # what contradicts the release never arrived
    if verdict is Verdict.PASS:
        assert told <= 0.03
    if (keys, rows_each) == (10, 200):  # it would lie about what it knew, and is not served
        assert told > 0.1
        assert verdict is Verdict.FAIL


def test_what_poison_says_of_known_questions_never_arrives(tmp_path: Path) -> None:
    draw = random.Random(3)
    known = [row(ask(i, draw), f"topic {i}", "parent") for i in _INTENTS for _ in range(5)]
    lies = [judged(each.question, f"evil{n % 7}", "topic scam", n) for n, each in enumerate(known)]
    curated = curate(lies, RULES)
    assert len(curated.examples) == len(known)  # nobody contradicts them but the release's data
    checked = poison.check(curated.examples, curated.sources, known, RULES)
    assert checked.kept == ()
    assert len(checked.set_aside) == len(known)
