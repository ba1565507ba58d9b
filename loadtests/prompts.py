"""What the users ask: questions of BANKING77 where it is at hand, else a sample of our own."""

import csv
import functools
from pathlib import Path

_SAMPLE = Path(__file__).parent / "prompts.txt"


@functools.cache
def prompts(data: str) -> tuple[str, ...]:
    """Return the test questions below the folder `data`, else those of `prompts.txt`.

    BANKING77: I. Casanueva et al., NLP4ConvAI 2020, CC BY 4.0.
    """
    file = Path(data) / "banking77" / "test.csv"
    if not file.is_file():
        return sample()
    with file.open(encoding="utf-8", newline="") as opened:
        return tuple(dict.fromkeys(row["text"].strip() for row in csv.DictReader(opened)))


def sample() -> tuple[str, ...]:
    """Return the questions of `prompts.txt`; `handbook.md` answers most of them."""
    lines = _SAMPLE.read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))
