"""The questions of BANKING77, and some of our own in other languages.

BANKING77: Casanueva et al. 2020, "Efficient Intent Detection with Dual Sentence Encoders",
arXiv:2003.04807, as the files `train.csv` and `test.csv` with the columns `text` and `category`.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

FOREIGN = Path(__file__).with_name("foreign.json")
PARTS = ("train", "test")


class DataMissing(Exception):
    """The questions are not where they are looked for; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question and what it wants; intents have BANKING77's names."""

    text: str
    intent: str


def questions(folder: Path) -> list[Question]:
    """Return all questions of BANKING77, both parts, each text once.

    Raises:
        DataMissing: A file is not there, or is another one.
    """
    found: dict[str, Question] = {}
    for part in PARTS:
        path = folder / f"{part}.csv"
        try:
            with path.open(newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    text = row["text"].strip()
                    found.setdefault(text, Question(text, row["category"]))
        except FileNotFoundError:
            raise DataMissing(
                f"{path} is missing: BANKING77 is needed as train.csv and test.csv in one folder, "
                "which --data names"
            ) from None
        except (KeyError, AttributeError, UnicodeDecodeError, csv.Error) as error:
            raise DataMissing(f"{path}: no table with the columns text and category") from error
    return list(found.values())


def foreign() -> list[Question]:
    """Return German, Spanish and French questions: each of ours with each opening of its language.

    So few questions fill a stream without being asked twice word for word.
    """
    languages = json.loads(FOREIGN.read_text(encoding="utf-8"))
    return [
        Question(f"{opening} {text}".strip(), intent)
        for each in languages.values()
        for opening in each["openings"]
        for text, intent in each["questions"]
    ]
