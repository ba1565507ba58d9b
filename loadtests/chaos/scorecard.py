"""The scorecard: `chaos.md` for people, `chaos.json` for programs, a table for the terminal."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from rich.table import Table

from loadtests.bench.results import Machine
from loadtests.chaos.score import Score

_COLUMNS = ("fault", "sent", "good", "told", "lost", "wrong", "recovered in")
_NONE = "-"
_INTRODUCTION = """\
# Chaos

Faults injected into a running gateway while clients go on asking, half of their requests streamed,
each answer held against what it must say. Written by `{command}`.

- {started}, {machine.cores} cores ({machine.cpu}), {machine.memory_gib} GiB, Linux \
{machine.kernel}, Python {machine.python}
{systems}

What the columns count: **told**: errors in OpenAI's shape that could not be avoided (the only
engine is away, an answer was under way when its engine died, a time limit, a refused client).
**lost**: no answer, one that is cut without such an error, or an error although another engine
could have answered. **wrong**: wrong words, an empty or truncated success, a wrong status, a 500
for a client's mistake, a wrong record or charge. **recovered in**: from the end of the fault, or
from the fault itself where a second engine exists, until the end of the next good answer.
"""


@dataclass
class Card:
    """One system's scores."""

    name: str
    version: str
    note: str
    scores: list[Score] = field(default_factory=list)


@dataclass
class Report:
    """Everything that was found.

    Args:
        started: When, in UTC, ISO 8601.
        command: The command line.
        machine: What it ran on.
        cards: One for each system.
    """

    started: str
    command: str
    machine: Machine
    cards: list[Card] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Write both files."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "chaos.json").write_bytes(msgspec.json.format(msgspec.json.encode(self)) + b"\n")
        (folder / "chaos.md").write_text(self.markdown())

    def markdown(self) -> str:
        """Return `chaos.md`."""
        systems = "\n".join(f"- {card.name} {card.version}: {card.note}" for card in self.cards)
        head = _INTRODUCTION.format(
            command=self.command, started=self.started, machine=self.machine, systems=systems
        )
        return "\n".join([head, *(line for card in self.cards for line in _lines(card))]) + "\n"


def table(card: Card) -> Table:
    """Return a card as rich prints it."""
    shown = Table(title=f"{card.name} {card.version}")
    for column in _COLUMNS:
        shown.add_column(column, justify="left" if column == "fault" else "right")
    for score in card.scores:
        bad = score.lost or score.wrong
        shown.add_row(*_cells(score), style="red" if bad else "dim" if score.skipped else "")
    return shown


def _lines(card: Card) -> Iterator[str]:
    yield f"\n## {card.name} {card.version}\n"
    yield f"| {' | '.join(_COLUMNS)} |"
    yield "| --- " + "| ---: " * (len(_COLUMNS) - 1) + "|"
    for score in card.scores:
        yield f"| {' | '.join(_cells(score))} |"
    yield ""
    for score in card.scores:
        said = [*score.problems, *score.notes]
        if said:
            yield f"- {score.fault}: {'; '.join(said)}."


def _cells(score: Score) -> list[str]:
    if score.skipped:
        return [f"{score.fault}: n/a, {score.skipped}", *[_NONE] * (len(_COLUMNS) - 1)]
    counts = (score.sent, score.good, score.told, score.lost, score.wrong)
    recovered = _NONE if score.recovered_s is None else f"{score.recovered_s:.2f} s"
    return [score.fault, *(f"{count:,}" for count in counts), recovered]
