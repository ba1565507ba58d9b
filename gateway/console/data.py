"""Data: what people corrected, where they contradict each other, and what retrainings made of it.

What is learnt is decided by how many keys say the same (`training.data.curation`). So a dispute is
resolved by saying the same as one side, or by withdrawing what is wrong.
"""

import re
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import APIRouter, Form, Query, Request, Response

from gateway.console.access import Changing, Looking
from gateway.console.documents import inside
from gateway.console.parts import Parts
from gateway.console.texts import text_of
from gateway.console.traffic import feedback_id, note
from gateway.errors import NotFound
from gateway.store.corrections import Correction, Corrections
from gateway.store.feedback import Feedback, FeedbackLog
from gateway.store.overview import Overview

_MOST_CORRECTIONS = 2000
_ROWS = 25
_SETS = ("retraining", "jobs")
_PARTS = ("train", "held_out", "valid", "quarantine")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MOST_LINE = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Side:
    """One answer to a question, and who says so."""

    answer: str
    keys: tuple[str, ...]
    first: Feedback
    ids: tuple[str, ...]


class Dispute(NamedTuple):
    """A question with more than one correction."""

    question: str
    alias: str
    sides: list[Side]


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set that a job or a retraining wrote on this host.

    Attributes:
        kind: `retraining` or `jobs`.
        id: Of it.
        rows: Rows of each part.
        filters: What curation left out, by reason.
        made_at: Unix seconds.
    """

    kind: str
    id: str
    rows: dict[str, int]
    filters: dict[str, int]
    made_at: float


def router(parts: Parts) -> APIRouter:
    """Return the routes of data."""
    pages = APIRouter(prefix="/data")
    corrections, log = Corrections(parts.database), FeedbackLog(parts.database)

    @pages.get("")
    def overview(request: Request, viewer: Looking) -> Response:
        latest = corrections.latest(_MOST_CORRECTIONS)
        corrected, good, bad = corrections.counts()
        return parts.pages.show(
            request,
            viewer,
            "data.html",
            disputes=disputes(latest),
            latest=[(each, question(each)) for each in latest[:10]],
            corrected=corrected,
            good=good,
            bad=bad,
            sets=data_sets(parts.home),
            names=Overview(parts.database).key_names(),
        )

    @pages.post("/back")
    def back(viewer: Changing, id: Annotated[str, Form(max_length=40)]) -> Response:
        found = next((c for c in corrections.latest(_MOST_CORRECTIONS) if c.said.id == id), None)
        if found is None:
            raise NotFound("This correction is not there any more: somebody withdrew it.")
        said = found.said
        if said.key_prefix == viewer.key:
            return parts.pages.told("/data", "It is your own: another key must agree.", "no")
        mine = Feedback(
            feedback_id(viewer.key, said.completion_id, "back", "", said.correction or ""),
            said.completion_id, viewer.key, time.time(), None, None, said.correction, None,
            {"from": "console", "agrees_with": said.id},
        )  # fmt: skip
        if not note(log, mine):
            return parts.pages.told("/data", "You said so already.", "no")
        return parts.pages.told("/data", "Your key says so too. It counts as a source of its own.")

    @pages.post("/withdraw")
    def withdraw(viewer: Changing, ids: Annotated[str, Form(max_length=4000)]) -> Response:
        gone = sum(corrections.withdraw(id) for id in ids.split())
        if not gone:
            return parts.pages.told("/data", "It was withdrawn already.", "no")
        return parts.pages.told("/data", f"Withdrawn: {gone} correction{'s' if gone != 1 else ''}.")

    @pages.get("/{kind}/{id}")
    def rows(
        request: Request,
        viewer: Looking,
        kind: str,
        id: str,
        part: str = "",
        page: Annotated[int, Query(ge=0, le=100_000)] = 0,
    ) -> Response:
        folder = parts.home / kind / id / "data"
        known = kind in _SETS and _NAME.fullmatch(id) is not None and folder.is_dir()
        if not known:
            raise NotFound("This data set is not on this host.")
        have = [name for name in _PARTS if (folder / f"{name}.jsonl").is_file()]
        part = part if part in have else next(iter(have), "")
        shown = read_rows(folder, part, page * _ROWS, _ROWS + 1) if part else []
        return parts.pages.show(
            request,
            viewer,
            "rows.html",
            set=data_set(kind, folder),
            kind=kind,
            id=id,
            parts=have,
            part=part,
            rows=shown[:_ROWS],
            number=page,
            more=len(shown) > _ROWS,
        )

    return pages


def question(correction: Correction) -> str:
    """Return the last turn of the user."""
    messages = correction.messages
    if isinstance(messages, str):
        return messages
    turns = [turn for turn in messages or () if isinstance(turn, dict)]
    asked = [text_of(t.get("content")) for t in turns if t.get("role") == "user"]
    return asked[-1] if asked else ""


def disputes(corrections: Sequence[Correction]) -> list[Dispute]:
    """Return the questions whose corrections differ, those with most keys first."""
    groups: dict[tuple[str, str], list[Correction]] = defaultdict(list)
    for each in corrections:
        groups[each.alias, _plain(question(each))].append(each)
    found = []
    for (alias, asked), group in groups.items():
        by_answer: dict[str, list[Correction]] = defaultdict(list)
        for each in reversed(group):
            by_answer[_plain(each.said.correction or "")].append(each)
        if len(by_answer) < 2 or not asked:
            continue
        sides = [
            Side(
                same[0].said.correction or "",
                tuple(sorted({each.said.key_prefix or "nobody" for each in same})),
                same[0].said,
                tuple(each.said.id for each in same),
            )
            for same in by_answer.values()
        ]
        sides.sort(key=lambda side: -len(side.keys))
        found.append(Dispute(question(group[0]), alias, sides))
    return sorted(found, key=lambda d: -sum(len(side.keys) for side in d.sides))


def data_sets(home: Path) -> list[DataSet]:
    """Return the data sets on this host, the newest first."""
    found = [
        data_set(kind, folder)
        for kind in _SETS
        for folder in (home / kind).glob("*/data")
        if _NAME.fullmatch(folder.parent.name)
    ]
    return sorted(found, key=lambda each: -each.made_at)[:50]


def data_set(kind: str, folder: Path) -> DataSet:
    """Return what a data set's manifest says."""
    manifest: dict[str, Any] = {}
    path = inside(folder, "manifest.json")
    if path is not None:
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=dict)
        except (OSError, msgspec.DecodeError):
            manifest = {}
    rows = {
        str(each.get("name", "")).removesuffix(".jsonl"): int(each.get("rows") or 0)
        for each in manifest.get("files") or ()
    }
    made_at = folder.stat().st_mtime
    return DataSet(kind, folder.parent.name, rows, manifest.get("filters") or {}, made_at)


def read_rows(folder: Path, part: str, start: int, most: int) -> list[dict[str, Any]]:
    """Return rows of a part as they are written; one that cannot be read is told as such."""
    path = inside(folder, f"{part}.jsonl")
    if path is None:
        return []
    found = []
    with path.open("rb") as file:
        lines = iter(lambda: file.readline(_MOST_LINE), b"")
        for number, line in islice(enumerate(lines, 1), start, start + most):
            try:
                row = msgspec.json.decode(line, type=dict)
            except msgspec.DecodeError as error:
                row = {"quarantined": [f"this line cannot be read: {error}"], "messages": []}
            turns = [turn for turn in row.get("messages") or () if isinstance(turn, dict)]
            found.append(row | {"number": number, "messages": turns})
    return found


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
