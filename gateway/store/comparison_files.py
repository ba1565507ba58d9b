"""Comparisons as files: items and gold items to be read, votes to be written.

Read is one JSON object a line; `prompt` may stand in place of `messages`:

    {"messages": [{"role": "user", "content": "…"}], "baseline": "…", "candidate": "…"}  an item
    {"prompt": "…", "good": "…", "bad": "…"}                                             a gold item
    {"prompt": "…"}                                                                      a question

Written is one line a vote, with the item that it is about, as JSONL or as CSV. Spreadsheets run a
cell that begins like a formula, so in CSV such a text gets an apostrophe before it (OWASP, "CSV
Injection", https://owasp.org/www-community/attacks/CSV_Injection).
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway.store.comparisons import Comparison, Item
from gateway.store.raters import Vote

FORMATS = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
LONGEST_TEXT = 400_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

Turns = list[dict[str, Any]]


class LineInvalid(ValueError):
    """A line of a file cannot be used; the message names file, line and field."""


def read_items(path: Path) -> list[Item]:
    """Read items with both answers.

    Raises:
        LineInvalid: A line is no item.
        OSError: The file cannot be read.
    """
    read = _rows(path, ("baseline", "candidate"))
    return [Item(0, turns, old, new) for turns, (old, new) in read]


def read_golds(path: Path) -> list[Item]:
    """Read gold items; the better answer takes the candidate's place. It raises as `read_items`."""
    return [Item(0, turns, bad, good, True) for turns, (good, bad) in _rows(path, ("good", "bad"))]


def read_questions(path: Path) -> list[Turns]:
    """Read conversations without an answer. It raises as `read_items`."""
    return [turns for turns, _ in _rows(path, ())]


def _rows(path: Path, names: Sequence[str]) -> Iterator[tuple[Turns, list[str]]]:
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            where = f"{path}, line {number}"
            try:
                row = msgspec.json.decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise LineInvalid(f"{where}: this is not JSON ({error})") from None
            if not isinstance(row, dict):
                raise LineInvalid(f"{where}: a line is a JSON object")
            yield _turns(row, where), [_text(row, name, where) for name in names]


def _turns(row: Mapping[str, Any], where: str) -> Turns:
    if ("messages" in row) == ("prompt" in row):
        raise LineInvalid(f"{where}: give `messages` or `prompt`, and not both")
    if "prompt" in row:
        return [{"role": "user", "content": _text(row, "prompt", where)}]
    turns = row["messages"]
    if not isinstance(turns, list) or not turns or not all(isinstance(t, dict) for t in turns):
        raise LineInvalid(f"{where}: `messages` is a list of at least one turn")
    return turns


def _text(row: Mapping[str, Any], name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise LineInvalid(f"{where}: `{name}` must be a text")
    if len(value) > LONGEST_TEXT:
        raise LineInvalid(f"{where}: `{name}` is longer than {LONGEST_TEXT:,} characters")
    return value


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
    decided = (comparison.standing or {}).get("items", {})
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
            "consensus": decided.get(str(item.number)),
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
