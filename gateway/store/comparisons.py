"""Blind comparisons of two releases by people: what is compared, and what came of it.

open ──→ closed      by a person, or by the evidence where it may stop early

The items of a comparison never change. `store.raters` has who rates them and what they said;
`gateway.comparing` reckons, and writes the result into the row.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa

from gateway.store.database import Database, metadata, storable
from gateway.store.paging import page

BASELINE, CANDIDATE, TIE, BOTH_BAD = "baseline", "candidate", "tie", "both_bad"
CHOICES = (CANDIDATE, BASELINE, TIE, BOTH_BAD)
CRITERIA = ("accuracy", "helpfulness", "brand voice")
LEAST_RATERS = 3  # two of three agree, or nobody does
MOST_ITEMS = 5000

table = sa.Table(
    "comparisons",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("alias", sa.String(200), index=True),
    sa.Column("baseline", sa.String(200), nullable=False),
    sa.Column("candidate", sa.String(200), nullable=False),
    sa.Column("criteria", sa.JSON, nullable=False),
    sa.Column("guidance", sa.Text, nullable=False),
    sa.Column("raters", sa.Integer, nullable=False),
    sa.Column("margin", sa.Double, nullable=False),
    sa.Column("alpha", sa.Double, nullable=False),
    sa.Column("gold_accuracy", sa.Double, nullable=False),
    sa.Column("stops_early", sa.Boolean, nullable=False),
    sa.Column("seed", sa.String(64), nullable=False),
    sa.Column("items", sa.Integer, nullable=False),
    sa.Column("golds", sa.Integer, nullable=False),
    sa.Column("opened", sa.Integer, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("standing", sa.JSON(none_as_null=True)),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("closed_at", sa.Double),
    sa.Column("closed_by", sa.Text),
    sa.Column("closed_why", sa.Text),
    sa.Index(None, "candidate", "baseline"),
)
_items = sa.Table(
    "comparison_items",
    metadata,
    sa.Column("comparison", sa.String(40), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("messages", sa.JSON, nullable=False),
    sa.Column("baseline", sa.Text, nullable=False),
    sa.Column("candidate", sa.Text, nullable=False),
    sa.Column("gold", sa.Boolean, nullable=False),
)


class ComparisonInvalid(ValueError):
    """A comparison cannot be made; the message names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two releases that people compare blindly; times in Unix seconds.

    Attributes:
        id: `cmp-…`.
        name: What raters read at the top.
        alias: Where the candidate is to be served, where that is known.
        baseline: The release that is served.
        candidate: The release that may take its place.
        criteria: What is judged beside the whole.
        guidance: What raters are told before they begin.
        raters: Votes that decide an item; more than half of them must agree.
        margin: By how much the candidate may be worse: of the share of items that it wins, less
            the share that it loses.
        alpha: Chance of a wrong verdict, however often it is looked at.
        gold_accuracy: Share of gold items that a rater must get right to be counted.
        stops_early: Whether it closes by itself once the verdict is there.
        seed: Draws the sides and the orders; never shown.
        items: How many items it has beside the gold ones.
        golds: Items whose better answer is known.
        opened: Raters who have begun.
        version: Grows with every vote that is given or taken back.
        standing: What the votes show, see `gateway.comparing.standing`; None before the first.
        created_at: When it was made.
        created_by: By whom.
        closed_at: Since when no vote is taken.
        closed_by: Who closed it; empty: the evidence.
        closed_why: Why, in words.
    """

    id: str = field(default_factory=lambda: f"cmp-{secrets.token_hex(12)}")
    name: str
    alias: str | None = None
    baseline: str
    candidate: str
    criteria: list[str] = field(default_factory=lambda: list(CRITERIA))
    guidance: str = ""
    raters: int = LEAST_RATERS
    margin: float = 0.15
    alpha: float = 0.05
    gold_accuracy: float = 0.7
    stops_early: bool = True
    seed: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    items: int = 0
    golds: int = 0
    opened: int = 0
    version: int = 0
    standing: dict[str, Any] | None = None
    created_at: float = field(default_factory=time.time)
    created_by: str = ""
    closed_at: float | None = None
    closed_by: str | None = None
    closed_why: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One conversation and the two answers to its last turn.

    Attributes:
        number: From 0; gold items lie anywhere among the others.
        messages: The conversation.
        baseline: Its answer; of a gold item the worse one.
        candidate: Its answer; of a gold item the better one.
        gold: Whether it is known which of the two is better.
    """

    number: int
    messages: list[dict[str, Any]]
    baseline: str
    candidate: str
    gold: bool = False


class Comparisons:
    """The comparisons in the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, comparison: Comparison, items: Sequence[Item]) -> Comparison:
        """Write a comparison with its items, which are mixed and numbered here.

        Raises:
            ComparisonInvalid: A field is out of its range, or there is no item to compare.
        """
        golds = sum(item.gold for item in items)
        values = asdict(comparison) | {"items": len(items) - golds, "golds": golds}
        made = Comparison(**values)
        _check(made)
        mixed = list(items)
        secrets.SystemRandom().shuffle(mixed)
        rows = [
            storable(asdict(item)) | {"comparison": made.id, "number": number}
            for number, item in enumerate(mixed)
        ]
        with self._database.begin() as connection:
            connection.execute(table.insert().values(**storable(values)))
            connection.execute(_items.insert(), rows)
        return made

    def get(self, id: str) -> Comparison | None:
        """Return a comparison, or None."""
        with self._database.begin() as connection:
            row = connection.execute(table.select().where(table.c.id == id)).first()
        return None if row is None else Comparison(**row._mapping)

    def items(self, id: str) -> list[Item]:
        """Return the items of a comparison in the order of their numbers."""
        query = _items.select().where(_items.c.comparison == id).order_by(_items.c.number)
        with self._database.begin() as connection:
            rows = connection.execute(query).all()
        return [_item(row) for row in rows]

    def golds(self, id: str) -> dict[int, bool]:
        """Return of every item of a comparison, by its number, whether it is gold."""
        query = sa.select(_items.c.number, _items.c.gold).where(_items.c.comparison == id)
        with self._database.begin() as connection:
            return {number: bool(gold) for number, gold in connection.execute(query)}

    def item(self, id: str, number: int) -> Item | None:
        """Return one item, or None."""
        query = _items.select().where(_items.c.comparison == id, _items.c.number == number)
        with self._database.begin() as connection:
            row = connection.execute(query).first()
        return None if row is None else _item(row)

    def between(self, baseline: str, candidate: str) -> list[Comparison]:
        """Return the comparisons of two releases, the newest first."""
        query = (
            table.select()
            .where(table.c.baseline == baseline, table.c.candidate == candidate)
            .order_by(table.c.created_at.desc(), table.c.id.desc())
        )
        with self._database.begin() as connection:
            return [Comparison(**row._mapping) for row in connection.execute(query)]

    def page(
        self, *, alias: str | None = None, after: str | None = None, limit: int = 20
    ) -> tuple[list[Comparison], bool]:
        """Return comparisons of an alias, or all, the newest first, and whether there are more.

        Raises:
            KeyError: There is no comparison `after`.
        """
        query = table.select()
        if alias is not None:
            query = query.where(table.c.alias == alias)
        last = None if after is None else self.get(after)
        if after is not None and last is None:
            raise KeyError(after)
        place = None if last is None else (last.created_at, last.id)
        with self._database.begin() as connection:
            columns = (table.c.created_at, table.c.id)
            rows, more = page(connection, query, columns, after=place, limit=limit)
        return [Comparison(**row._mapping) for row in rows], more

    def conclude(self, id: str, version: int, standing: dict[str, Any]) -> bool:
        """Write what the votes show; False where a vote came since, and it must be done again."""
        update = table.update().where(table.c.id == id, table.c.version == version)
        with self._database.begin() as connection:
            done = connection.execute(update.values(standing=storable(standing)))
        return done.rowcount == 1

    def close(self, id: str, *, by: str, why: str) -> bool:
        """Take no vote from now on; returns False where it was closed already, or is none."""
        update = table.update().where(table.c.id == id, table.c.closed_at.is_(None))
        values = storable({"closed_at": time.time(), "closed_by": by, "closed_why": why})
        with self._database.begin() as connection:
            return connection.execute(update.values(**values)).rowcount == 1


def _check(made: Comparison) -> None:
    names = [name.strip() for name in made.criteria]
    for field_name, is_right, rule in (
        ("name", 0 < len(made.name.strip()) <= 200, "has 1 to 200 characters"),
        ("baseline", bool(made.baseline) and len(made.baseline) <= 200, "names a release"),
        ("candidate", bool(made.candidate) and len(made.candidate) <= 200, "names a release"),
        ("candidate", made.candidate != made.baseline, "must be another than the baseline"),
        ("criteria", len(names) <= 6 and len(set(names)) == len(names), "are at most 6 names"),
        ("criteria", all(0 < len(name) <= 40 for name in names), "have 1 to 40 characters each"),
        ("guidance", len(made.guidance) <= 10_000, "has at most 10,000 characters"),
        ("raters", LEAST_RATERS <= made.raters <= 25, f"is from {LEAST_RATERS} to 25"),
        ("margin", 0 < made.margin < 1, "lies between 0 and 1"),
        ("alpha", 0 < made.alpha <= 0.5, "is above 0 and at most 0.5"),
        ("gold_accuracy", 0 <= made.gold_accuracy <= 1, "is from 0 to 1"),
        ("items", made.items > 0, "are empty: there is nothing to compare"),
        ("items", made.items + made.golds <= MOST_ITEMS, f"are at most {MOST_ITEMS:,}"),
    ):
        if not is_right:
            raise ComparisonInvalid(f"`{field_name}` {rule}")


def _item(row: sa.Row[Any]) -> Item:
    values = dict(row._mapping)
    del values["comparison"]
    return Item(**values)
