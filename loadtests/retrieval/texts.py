"""Real texts: descriptions of Debian packages and the questions of BANKING77.

Debian's descriptions are the file `Translation-en.xz` of a mirror (`dists/*/main/i18n/`).
BANKING77: Casanueva et al. 2020, arXiv:2003.04807, as `train.csv` and `test.csv`.
"""

import csv
import lzma
import random
import shutil
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# The fusion was tuned on the first packages of the file: quality is measured on others.
_TUNED_ON = 16_000
_SHORTEST, _LONGEST = 40, 600  # characters of a paragraph


@dataclass(frozen=True, slots=True)
class Package:
    """A package: `synopsis` is one line, `description` paragraphs between blank lines."""

    name: str
    synopsis: str
    description: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question and what it wants."""

    text: str
    intent: str


def fetched(source: str, work: Path) -> Path:
    """Return a file: the one that is named, or what a URL has, kept in `work`."""
    if not source.startswith(("http://", "https://")):
        return Path(source)
    kept = work / "Translation-en.xz"
    if not kept.is_file():
        partial = kept.with_suffix(".partial")
        with urllib.request.urlopen(source, timeout=60) as answer, partial.open("wb") as file:
            shutil.copyfileobj(answer, file)
        partial.rename(kept)
    return kept


def packages(path: Path) -> list[Package]:
    """Return the packages of a `Translation-en.xz`, in its order."""
    found = []
    name, synopsis, lines = "", "", list[str]()
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in (*file, "\n"):
            if line.startswith("Package: "):
                name, synopsis, lines = line[9:].strip(), "", []
            elif line.startswith("Description-en: "):
                synopsis = line[16:].strip()
            elif line.startswith(" "):
                lines.append("" if line.strip() == "." else line[1:].rstrip())
            elif not line.strip() and name:
                found.append(Package(name, synopsis, "\n".join(lines).strip()))
                name = ""
    return found


def paragraphs(package: Package) -> Iterator[str]:
    """Yield the paragraphs of a description, each as one line, the very short ones apart."""
    for part in package.description.split("\n\n"):
        text = " ".join(part.split())
        if _SHORTEST <= len(text) <= _LONGEST:
            yield text


def questions(folder: Path, part: str) -> list[Question]:
    """Return the questions of BANKING77's part `train` or `test`."""
    with (folder / f"{part}.csv").open(newline="", encoding="utf-8") as file:
        return [Question(row["text"].strip(), row["category"]) for row in csv.DictReader(file)]


def held_apart(every: Sequence[Package], documents: int) -> list[Package]:
    """Return packages that nothing was tuned on, drawn at random.

    Both their synopsis and their description are theirs alone, so that a synopsis asks for one
    document.
    """
    synopses = Counter(package.synopsis for package in every)
    descriptions = Counter(package.description for package in every)
    free = [
        package
        for package in every[_TUNED_ON if len(every) > 2 * _TUNED_ON else 0 :]
        if synopses[package.synopsis] == 1
        and descriptions[package.description] == 1
        and len(package.description) >= _SHORTEST
    ]
    return random.Random(5).sample(free, min(documents, len(free)))


def passages(
    train: Sequence[Question], every: Sequence[Package], apart: Sequence[Package], count: int
) -> list[str]:
    """Return up to `count` different texts to search in.

    BANKING77's training questions, whole descriptions, synopses, and paragraphs of descriptions in
    random order; the synopses of packages held apart are questions and so not among them.

    Args:
        train: BANKING77's training questions.
        every: All packages.
        apart: The packages held apart.
        count: How many.
    """
    asked = {package.synopsis for package in apart}
    loose = list(dict.fromkeys(text for package in every for text in paragraphs(package)))
    random.Random(6).shuffle(loose)
    texts = [question.text for question in train]
    texts += [package.description for package in apart]
    texts += [p.synopsis for p in every if p.synopsis and p.synopsis not in asked]
    return list(dict.fromkeys([*texts, *loose]))[:count]
