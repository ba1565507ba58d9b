"""Builds a labelling task of BANKING77: a customer's question to a bank → its intent.

    python -m examples.banking77 --data ../shared/data --out DIR [--intents 10] [--seed 7]

writes DIR/train.jsonl, valid.jsonl and test.jsonl. A row is

    system     Name the intent of the customer's question.
    user       I am still waiting on my card?
    assistant  card_arrival

The intents are drawn with the seed; the test has all rows of theirs in the published test set.
Source: I. Casanueva et al., "Efficient Intent Detection with Dual Sentence Encoders", NLP4ConvAI
2020 (https://github.com/PolyAI-LDN/task-specific-datasets), CC BY 4.0.
"""

import argparse
import csv
import random
import sys
from pathlib import Path

from gateway.store.examples import Example, Message, write_jsonl

INSTRUCTION = "Name the intent of the customer's question."


def build(data: Path, out: Path, *, intents: int, valid: int, seed: int) -> dict[str, int]:
    """Write the three files to `out` and return how many rows each has.

    Raises:
        OSError: The data cannot be read, or the rows not written.
    """
    draw = random.Random(seed)  # noqa: S311 - a draw that can be repeated, no secret
    learnt = read(data / "banking77" / "train.csv")
    chosen = set(draw.sample(sorted({example.slice for example in learnt}), intents))
    learnt = [example for example in learnt if example.slice in chosen]
    draw.shuffle(learnt)
    seen = {example.question for example in learnt}
    held_out = [
        example
        for example in read(data / "banking77" / "test.csv")
        if example.slice in chosen and example.question not in seen
    ]
    draw.shuffle(held_out)  # the published file goes intent by intent; its first rows are no sample
    out.mkdir(parents=True, exist_ok=True)
    parts = {"train": learnt[valid:], "valid": learnt[:valid], "test": held_out}
    return {name: write_jsonl(out / f"{name}.jsonl", part) for name, part in parts.items()}


def read(path: Path) -> list[Example]:
    """Return the rows of one of the published files, each question once."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row["text"].strip(): row["category"] for row in csv.DictReader(file)}
    return [
        Example(
            (
                Message("system", INSTRUCTION),
                Message("user", text),
                Message("assistant", intent),
            ),
            line,
            slice=intent,
        )
        for line, (text, intent) in enumerate(rows.items(), 1)
    ]


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--intents", type=int, default=10)
    parser.add_argument("--valid", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    try:
        counts = build(
            given.data, given.out, intents=given.intents, valid=given.valid, seed=given.seed
        )
    except OSError as error:
        sys.exit(f"BANKING77 cannot be prepared: {error}")
    print(", ".join(f"{name} {count}" for name, count in counts.items()), "→", given.out)


if __name__ == "__main__":
    main()
