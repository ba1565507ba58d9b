"""Training rows that are in the evaluation set too: the score would measure memory."""

from collections.abc import Iterator, Sequence

from gateway.store.examples import Example
from training.data.alike import Alike
from training.data.findings import Finding

CHECK = "leak"
NEAR = "near_leak"


def leaks(
    examples: Sequence[Example], held_out: Sequence[Example], alike: Alike
) -> Iterator[Finding]:
    """Find training rows that ask the same, or nearly the same, as a row of the evaluation set.

    It is the training row that is dropped: the evaluation set stays what it was.
    """
    exact: set[int] = set()
    for rows, held in zip(alike.rows, alike.held_out, strict=True):
        for index in rows if held else ():
            exact.add(index)
            reason = f"asks the same as line {held_out[held[0]].line} of the evaluation set"
            yield Finding(examples[index].line, CHECK, "error", reason, "drop")
    closest: dict[int, tuple[float, int]] = {}
    for pair in alike.near:
        for group, other in (pair[:2], pair[1::-1]):
            if alike.held_out[other]:
                held_line = held_out[alike.held_out[other][0]].line
                for index in alike.rows[group]:
                    closest[index] = max(closest.get(index, (0.0, 0)), (pair[2], -held_line))
    for index, (similarity, line) in sorted(closest.items()):
        if index not in exact:
            reason = (
                f"asks nearly the same as line {-line} of the evaluation set "
                f"({similarity:.0%} alike)"
            )
            yield Finding(examples[index].line, NEAR, "warning", reason, "drop")
