"""Builds a strict-JSON task of RESTAURANTS-8K: an utterance to a booking agent → the slots as JSON.

    python -m examples.restaurants --data ../shared/data --out DIR [--rows 2000] [--seed 7]

writes DIR/train.jsonl, valid.jsonl and test.jsonl. A row is

    system     Extract the booking slots as JSON.
    user       Asked: people
               There will be 5 adults and 1 child.
    assistant  {"people":"5 adults and 1 child"}

with sorted keys and no spaces, so that there is one right answer. Source: S. Coope et al.,
"Span-ConveRT", ACL 2020 (https://github.com/PolyAI-LDN/task-specific-datasets), CC BY 4.0.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.store.examples import Example, Message, write_jsonl

INSTRUCTION = "Extract the booking slots as JSON."
# train_2 and train_3 are parts of train_1 (a quarter and an eighth of the original's rows).
_TRAIN, _TEST = "train_1.json", "test.json"


def build(data: Path, out: Path, *, rows: int, valid: int, test: int, seed: int) -> dict[str, int]:
    """Write the three files to `out` and return how many rows each has.

    No utterance stands in two of them: a row of the test whose utterance was trained on would
    measure memory. Rows are drawn with `seed`; fewer are written where there are no more.

    Raises:
        OSError: The data cannot be read, or the rows not written.
    """
    draw = random.Random(seed)  # noqa: S311 - a draw that can be repeated, no secret
    learnt = _distinct(_read(data / "restaurant8k" / _TRAIN))
    seen = {example.question for example in learnt}
    held_out = [
        e for e in _distinct(_read(data / "restaurant8k" / _TEST)) if e.question not in seen
    ]
    draw.shuffle(learnt)
    draw.shuffle(held_out)
    # A validation row must not be an utterance of the training either, asked for another slot.
    checked = learnt[:valid]
    texts = {_utterance(example) for example in checked}
    trained = [example for example in learnt[valid:] if _utterance(example) not in texts][:rows]
    out.mkdir(parents=True, exist_ok=True)
    parts = {"train": trained, "valid": checked, "test": held_out[:test]}
    return {name: write_jsonl(out / f"{name}.jsonl", part) for name, part in parts.items()}


def _read(path: Path) -> Iterator[Example]:
    rows: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
    for line, row in enumerate(rows, 1):
        text: str = row["userInput"]["text"]
        asked = sorted(row.get("context", {}).get("requestedSlots", []))
        slots = {
            label["slot"]: text[span.get("startIndex", 0) : span.get("endIndex", len(text))]
            for label in row.get("labels", [])
            if (span := label["valueSpan"]) is not None
        }
        answer = json.dumps(slots, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        yield Example(
            (
                Message("system", INSTRUCTION),
                Message("user", f"Asked: {', '.join(asked) or 'nothing'}\n{text}"),
                Message("assistant", answer),
            ),
            line,
            slice="asked" if asked else "free",
        )


def _distinct(examples: Iterator[Example]) -> list[Example]:
    """Return the examples whose question was not there before."""
    return list({example.question: example for example in examples}.values())


def _utterance(example: Example) -> str:
    return example.question.partition("\n")[2]


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--valid", type=int, default=100)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    try:
        counts = build(
            given.data,
            given.out,
            rows=given.rows,
            valid=given.valid,
            test=given.test,
            seed=given.seed,
        )
    except OSError as error:
        sys.exit(f"RESTAURANTS-8K cannot be prepared: {error}")
    print(", ".join(f"{name} {count}" for name, count in counts.items()), "→", given.out)


if __name__ == "__main__":
    main()
