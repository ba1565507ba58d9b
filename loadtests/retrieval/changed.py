"""Facts that change: what is cited before and after, by search and by quoting what was found."""

import random
from dataclasses import dataclass
from pathlib import Path

from loadtests.retrieval.results import Changed
from loadtests.retrieval.serving import NAME, say, serving
from retrieval.citations import Cited
from retrieval.client import RetrievalClient
from retrieval.quoting import quoted
from retrieval.records import Document, Entry, Passage, Search

_LIMIT = 5
_OLD, _NEW = 1_750_000_000.0, 1_780_000_000.0  # Unix seconds from which each version holds
_FIRST = ("Amber", "Birch", "Cobalt", "Delta", "Ember", "Falcon", "Granite", "Harbour", "Indigo",
          "Juniper", "Kestrel", "Lagoon", "Maple", "Nimbus", "Onyx", "Pioneer", "Quartz", "Raven",
          "Sierra", "Topaz", "Umber", "Vector", "Willow", "Yarrow", "Zephyr")  # fmt: skip
# What is said of a thing, how it is asked, and the range of its value.
_KINDS = (
    ("The monthly price of the {name} plan is {value} EUR.",
     "What is the monthly price of the {name} plan?", "plan", 5, 90),
    ("The current stable version of lib{name} is {value}.0.",
     "Which version of lib{name} is the current stable one?", "library", 2, 40),
    ("A {name} account can hold at most {value} cards.",
     "How many cards can a {name} account hold at most?", "account", 2, 60),
    ("The {name} office opens at {value} minutes past seven.",
     "When does the {name} office open?", "office", 1, 59),
    ("A refund of the {name} service takes {value} working days.",
     "How many working days does a refund of the {name} service take?", "service", 2, 50),
)  # fmt: skip
_MORE = {
    "plan": "The {name} plan can be cancelled at the end of each month.",
    "library": "Packages that link with lib{name} are rebuilt after each release.",
    "account": "Cards of a {name} account are sent by post.",
    "office": "The {name} office is closed on public holidays.",
    "service": "The {name} service answers questions by mail.",
}


@dataclass(frozen=True)
class Fact:
    """A fact with what held before and what holds now."""

    number: int
    question: str
    old: str
    new: str
    more: str

    @property
    def id(self) -> str:
        """The id of the document that says it."""
        return f"fact-{self.number}"


def facts(count: int) -> list[Fact]:
    """Return facts about different things, at most 125."""
    draw = random.Random(11)
    found = []
    for number in range(count):
        says, asks, kind, low, high = _KINDS[number % len(_KINDS)]
        name = _FIRST[number // len(_KINDS) % len(_FIRST)]
        old, new = draw.sample(range(low, high), 2)
        found.append(
            Fact(
                number,
                asks.format(name=name),
                says.format(name=name, value=old),
                says.format(name=name, value=new),
                _MORE[kind].format(name=name),
            )
        )
    return found


async def measure(folder: Path, model: str, count: int) -> Changed:
    """Add facts and others like them, ask, replace the facts, and ask again.

    One in three is replaced under its own id, one by a document that supersedes it, and one by a
    document that does so from a day on that has come.

    Args:
        folder: A folder without collections.
        model: Folder of the embedder, or `hash`.
        count: How many facts change; as many others stay as they are.
    """
    every = facts(2 * count)
    asked = every[:count]
    wrong: list[str] = []
    async with serving(folder, model) as client:
        await client.add_entries(NAME, [_entry(fact.id, fact.old, fact.more) for fact in every])
        before = [await _ask(client, fact) for fact in asked]
        for fact in asked:
            await client.add_entries(NAME, [_replacement(fact)])
        after = [await _ask(client, fact) for fact in asked]
    before_old = sum(_cites(answer, fact.old) for fact, answer in zip(asked, before, strict=True))
    after_new = after_old = 0
    for fact, answer in zip(asked, after, strict=True):
        is_new, is_old = _cites(answer, fact.new), fact.old in answer.text
        after_new += is_new and not is_old
        after_old += is_old
        if not is_new or is_old:
            wrong.append(f"{fact.question} → {answer.text or 'no answer'}")
    say(f"changed facts: {after_new} of {count} cite what holds now, {after_old} what held before")
    return Changed(count, len(every) - count, before_old, after_new, after_old, wrong[:10])


def _entry(name: str, says: str, more: str, **fields: object) -> Entry:
    document = Document(id=name, updated_at=_OLD, **fields)  # type: ignore[arg-type]
    return Entry(document=document, passages=(Passage(number=0, text=f"{says} {more}"),))


def _replacement(fact: Fact) -> Entry:
    way = fact.number % 3
    if way == 0:
        return _entry(fact.id, fact.new, fact.more)
    since = _NEW if way == 2 else None
    return _entry(f"{fact.id}-new", fact.new, fact.more, supersedes=(fact.id,), valid_from=since)


async def _ask(client: RetrievalClient, fact: Fact) -> Cited:
    search = Search(query=fact.question, collections=(NAME,), limit=_LIMIT)
    found = await client.search(search, deadline_s=10)
    return quoted(fact.question, found.hits)


def _cites(answer: Cited, says: str) -> bool:
    return any(says in annotation.quote for annotation in answer.annotations)
