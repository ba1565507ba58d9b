"""Turns that are said twice within one row: mostly an export that went wrong."""

from collections.abc import Iterable, Iterator

from gateway.store.examples import Example
from training.data.findings import Finding
from training.data.texts import collapsed

CHECK = "duplicate_turn"
# "Yes, please." may well be said twice.
_LEAST_CHARACTERS = 20


def duplicate_turns(examples: Iterable[Example]) -> Iterator[Finding]:
    """Find rows in which the same role says the same words again."""
    for example in examples:
        seen: dict[tuple[str, str], int] = {}
        for number, message in enumerate(example.messages, 1):
            said = (message.role, collapsed(message.content))
            if len(said[1]) < _LEAST_CHARACTERS:
                continue
            first = seen.setdefault(said, number)
            if first != number:
                reason = f"turn {number} ({message.role}) says the same as turn {first}"
                yield Finding(example.line, CHECK, "warning", reason, "drop")
                break
