"""A comparison that four people are in the midst of; one of them does not read what they rate."""

import random

from gateway.comparing.assigning import order
from gateway.rating.desk import Desk
from gateway.store.comparisons import CHOICES, Comparison, Comparisons, Item
from gateway.store.database import Database
from gateway.store.raters import Raters, Vote
from tests.browser.seeding_traffic import NEW, OLD

COMPARISON = "cmp-00000000000000000000bank"
_QUESTIONS = (
    "Is there a fee for paying in Swedish kronor?",
    "My card was stolen. What do I do first?",
    "How do I change my PIN abroad?",
    "Why was I charged twice for one coffee?",
)
_WON = (0.5, 0.22, 0.2, 0.08)


def item(number: int, gold: bool = False) -> Item:
    """Return an item whose answers say which is the better one."""
    asked = _QUESTIONS[number % len(_QUESTIONS)]
    messages = [
        {"role": "system", "content": "You help customers of a bank. Be short."},
        {"role": "user", "content": f"{asked} (case {number})"},
    ]
    plain = f"I am sorry, I cannot help with that. Please contact support. Case {number}."
    good = (
        f"Open the app and choose Cards. There you see what happened and what it costs; where "
        f"something is wrong, tap it and we take care of it. Case {number}."
    )
    return Item(0, messages, plain, good, gold)


def seed_comparisons(database: Database, now: float) -> None:
    """Add the comparison, its raters and half of their votes."""
    made = Comparisons(database).add(
        Comparison(
            id=COMPARISON, name="Answers about cards, November", alias="production", baseline=OLD,
            candidate=NEW, guidance="Prefer what a customer can act on at once.", seed="bank",
            stops_early=False, created_at=now - 86_400, created_by="operations",
        ),
        [*(item(n) for n in range(80)), *(item(80 + n, True) for n in range(6))],
    )  # fmt: skip
    raters, chance = Raters(database), random.Random(11)
    golds = Comparisons(database).golds(COMPARISON)
    people = [
        raters.begin(raters.invite(COMPARISON, name, by="operations")[0])
        for name in ("Ada", "Bob", "Cleo", "Dan")
    ]
    raters.invite(COMPARISON, "Eve", by="operations")
    ordinary = [number for number, gold in golds.items() if not gold][:46]
    truth = {number: chance.choices(CHOICES, _WON)[0] for number in golds}
    at = now - 40_000
    for person in people:
        careless = person.name == "Dan"
        for place in order(made, person, golds):
            if not golds[place.item] and place.item not in ordinary:
                continue
            agrees = chance.random() < (0.25 if careless else 0.8)
            choice = truth[place.item] if agrees else chance.choice(CHOICES)
            if golds[place.item]:
                choice = "baseline" if careless and chance.random() < 0.6 else "candidate"
            at += chance.uniform(5, 60)
            said = {name: choice if chance.random() < 0.7 else chance.choice(CHOICES)
                    for name in made.criteria}  # fmt: skip
            raters.vote(Vote(COMPARISON, place.item, person.id, place.left, choice, said, "", at))
    Desk(database).reckon(COMPARISON)
