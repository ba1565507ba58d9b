"""Which rows ask the same, or nearly; duplicates, contradictions and leaks follow from it."""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.store.examples import Example
from training.data.similarity import THRESHOLD, near_pairs
from training.data.source import Progress, silent
from training.data.texts import context


@dataclass(frozen=True, slots=True)
class Alike:
    """Rows grouped by what they ask, and the pairs of groups that ask nearly the same.

    Args:
        rows: Training rows of each group, by index; the rows of a group ask the very same.
        held_out: Evaluation rows of each group, by index.
        near: Pairs of groups and their similarity, from the threshold to 1.
    """

    rows: tuple[tuple[int, ...], ...]
    held_out: tuple[tuple[int, ...], ...]
    near: tuple[tuple[int, int, float], ...]


def find_alike(
    examples: Sequence[Example],
    held_out: Sequence[Example] = (),
    *,
    threshold: float = THRESHOLD,
    on_progress: Progress = silent,
) -> Alike:
    """Group rows by what they ask: the turns before the answer, without case and punctuation."""
    groups: dict[str, tuple[list[int], list[int]]] = {}
    for side, rows in enumerate((examples, held_out)):
        for index, example in enumerate(rows):
            groups.setdefault(context(example), ([], []))[side].append(index)
    pairs = near_pairs(list(groups), threshold=threshold, on_progress=on_progress)
    near = tuple(pairs)
    return Alike(
        tuple(tuple(rows) for rows, _ in groups.values()),
        tuple(tuple(rows) for _, rows in groups.values()),
        near,
    )
