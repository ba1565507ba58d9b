"""A comparison as a file: one line a vote, with the item that it is about, as JSONL or as CSV.

Spreadsheets run a cell that begins like a formula, so in CSV such a text gets an apostrophe before
it (OWASP, "CSV Injection", https://owasp.org/www-community/attacks/CSV_Injection).
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from gateway.comparing.consensus import consensus
from gateway.store.comparisons import Comparison, Item
from gateway.store.raters import Vote

FORMATS = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def rows(
    comparison: Comparison, items: Sequence[Item], votes: Sequence[Vote], names: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """Return what was said, item by item; an item without votes has one row without a rater.

    Args:
        comparison: The comparison.
        items: Its items.
        votes: Its votes, in the order of their time.
        names: The raters' names, by invite.
    """
    golds = {item.number: item.gold for item in items}
    found = consensus(votes, golds, comparison.raters, comparison.gold_accuracy)
    decided = {each.item: each.choice for each in found.decided}
    by_item: dict[int, list[Vote | None]] = {}
    for vote in votes:
        by_item.setdefault(vote.item, []).append(vote)
    for item in items:
        about = {
            "comparison": comparison.id,
            "item": item.number,
            "gold": item.gold,
            "messages": item.messages,
            "baseline": item.baseline,
            "candidate": item.candidate,
            "consensus": decided.get(item.number),
        }
        for said in by_item.get(item.number, [None]):
            yield about | _said(said, names)


def jsonl(found: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Return rows as lines of JSON."""
    encoder = msgspec.json.Encoder()
    for row in found:
        yield encoder.encode(row) + b"\n"


def table(found: Iterable[Mapping[str, Any]], criteria: Sequence[str]) -> Iterator[bytes]:
    """Return rows as CSV (RFC 4180) with a head; each criterion has a column."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    names = ("comparison", "item", "gold", "messages", "baseline", "candidate", "consensus",
             "rater", "invite", "choice", "left", "note", "at")  # fmt: skip
    writer.writerow([*names, *(_cell(f"criterion: {name}") for name in criteria)])
    for row in found:
        said = row["criteria"]
        writer.writerow([_cell(row[name]) for name in names] + [said.get(n, "") for n in criteria])
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()


def _said(vote: Vote | None, names: Mapping[str, str]) -> dict[str, Any]:
    if vote is None:
        empty = dict.fromkeys(("rater", "invite", "choice", "left", "note", "at"))
        return {**empty, "criteria": {}}
    return {
        "rater": names.get(vote.invite), "invite": vote.invite, "choice": vote.choice,
        "left": vote.left, "note": vote.note, "at": vote.at, "criteria": vote.criteria,
    }  # fmt: skip


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return f"'{text}" if text.startswith(_FORMULA) else text
