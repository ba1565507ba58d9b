"""Labelled passages: claims that they support or do not, questions that they answer or do not."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from retrieval.citations import cite
from retrieval.records import Document, Hit, Passage
from retrieval.statements import read
from retrieval.sufficiency import judge

_FOLDER = Path(__file__).parents[1] / "labelled"
_DISTRACTORS = 3
_WORD = re.compile(r"[$€]?\w[\w.,:-]*\w|\w")


def hit(text: str, *, id: str = "d", title: str = "", heading: str = "", start: int = 0) -> Hit:
    """A passage that was found."""
    return Hit(
        collection="vs_1",
        document=Document(id=id, title=title, file_id=f"file-{id}", filename=f"{id}.md"),
        passage=Passage(number=0, text=text, heading=heading, start=start),
        score=0.8,
    )


class Tally:
    """How often each kind of claim or question was accepted."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.asked: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.dropped = 0

    def count(self, kind: str, accepted: bool) -> None:
        self.asked[kind] += 1
        self.accepted[kind] += accepted

    def share(self, *kinds: str) -> float:
        return sum(self.accepted[kind] for kind in kinds) / sum(self.asked[kind] for kind in kinds)

    def __str__(self) -> str:
        lines = [f"{self.name:<22} accepted      share  95 % interval (Wilson)"]
        for kind, asked in self.asked.items():
            accepted = self.accepted[kind]
            low, high = wilson(accepted, asked)
            lines.append(
                f"  {kind:<20} {accepted:4d} / {asked:<4d} {accepted / asked:7.1%}"
                f"  {low:.1%} to {high:.1%}"
            )
        lines.append(f"  supported claims called contradicted: {self.dropped}")
        return "\n".join(lines)


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson interval of a share (Wilson, 1927)."""
    share = hits / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def evaluate(name: str) -> Tally:
    """Check every claim and question of a file against its passage among others."""
    labelled = list(rows(name))
    hits = [
        hit(row["passage"], id=str(place), title=row["title"], heading=row["heading"])
        for place, row in enumerate(labelled)
    ]
    tally = Tally(name)
    for place, row in enumerate(labelled):
        found = [hits[(place + step) % len(hits)] for step in range(_DISTRACTORS + 1)]
        for claim in row["supported"]:
            cited = cite(claim, found, row["question"])
            tally.count("supported", cited.supported)
            tally.dropped += any(sentence.contradicted for sentence in cited.sentences)
        for kind, claim in row["unsupported"]:
            tally.count(kind, cite(claim, found, row["question"]).supported)
        tally.count("answerable", judge(row["question"], found).enough)
        for question in row["unanswerable"]:
            tally.count("unanswerable", judge(question, found).enough)
    return tally


def rows(name: str) -> Iterator[dict[str, Any]]:
    """Yield the passages of a file with their claims and questions."""
    for line in (_FOLDER / f"{name}.jsonl").read_text().splitlines():
        yield json.loads(line)


def exchanged(name: str) -> Iterator[tuple[str, bool]]:
    """Exchange each word of each supported claim for each like word of its passage.

    Yields the claims that come of it and whether they are cited. Few of them are true, though some
    are: "tickets cost 35 euros" and "18 euros", for students.
    """
    for row in rows(name):
        found = [hit(row["passage"], title=row["title"], heading=row["heading"])]
        others = sorted(set(_WORD.findall(row["passage"])))
        seen: set[str] = set()
        for claim in row["supported"]:
            keys = read(claim).keys
            for word in _WORD.finditer(claim):
                if not read(f"x {word.group()}").terms[1:]:
                    continue
                for other in others:
                    digits = word.group()[0].isdigit() == other[0].isdigit()
                    capital = word.group()[0].isupper() == other[0].isupper() or not word.start()
                    changed = claim[: word.start()] + other + claim[word.end() :]
                    if not (digits and capital) or changed in seen or read(changed).keys <= keys:
                        continue
                    seen.add(changed)
                    yield changed, cite(changed, found, row["question"]).supported
