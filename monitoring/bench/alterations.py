"""Questions that are asked in another way: with typos, politely, at length."""

import random
from collections.abc import Callable, Sequence

from monitoring.bench.banking import Question

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_EDITS_EVERY = 12  # characters
_POLITE = (
    "Hello, {asked}",
    "Hi there! {asked}",
    "Could you please help me with this: {asked}",
    "{asked} Thank you very much in advance.",
    "Good morning, I have a question. {asked}",
    "{asked} Thanks!",
    "Sorry to bother you, but {asked}",
    "I would be glad to know: {asked}",
)
_BOILERPLATE = (
    "I have been a customer for several years now and was always content so far.",
    "I tried the app on my phone and the website on my computer, with the same result.",
    "Please answer by e-mail, since I cannot be called during working hours.",
    "This message was sent from my phone, so please excuse that it is short.",
)


def typos(question: Question, draw: random.Random) -> str:
    """Return it with an edit about every 12 characters: left out, doubled, swapped, replaced."""
    letters = list(question.text)
    for _ in range(max(1, len(letters) // _EDITS_EVERY)):
        place = draw.randrange(len(letters))
        edit = draw.randrange(4)
        if edit == 0 and len(letters) > 1:
            del letters[place]
        elif edit == 1:
            letters.insert(place, letters[place])
        elif edit == 2 and place + 1 < len(letters):
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
        else:
            letters[place] = draw.choice(_LETTERS)
    return "".join(letters)


def polite(question: Question, draw: random.Random) -> str:
    """Return the same question in more words of courtesy, some of them in small letters."""
    asked = question.text.lower() if draw.random() < 0.3 else question.text
    return draw.choice(_POLITE).format(asked=asked)


def at_length(question: Question, draw: random.Random) -> str:
    """Return the question among sentences that say nothing of it."""
    before, after = draw.sample(_BOILERPLATE, 2)
    return f"{before} {question.text} {after}"


ALTERATIONS: dict[str, Callable[[Question, random.Random], str]] = {
    "typos": typos,
    "paraphrase": polite,
    "length": at_length,
}
"""What the streams of that name do to a question; none of it changes what is wanted."""


def altered(kind: str, questions: Sequence[Question]) -> list[Question]:
    """Return the questions, altered, the same way each time."""
    draw = random.Random(f"bench {kind}")  # noqa: S311 - the same way each time
    return [Question(ALTERATIONS[kind](each, draw), each.intent) for each in questions]
