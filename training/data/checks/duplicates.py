"""Rows that are there twice, or nearly: they weigh more than others, and cross every split."""

from collections.abc import Iterator, Sequence

from gateway.store.examples import Example
from training.data.alike import Alike
from training.data.answers import compare
from training.data.findings import Finding

CHECK = "duplicate"
NEAR = "near_duplicate"


def duplicates(examples: Sequence[Example], alike: Alike) -> Iterator[Finding]:
    """Find rows that ask and answer the same as an earlier one."""
    for rows in alike.rows:
        kept: list[int] = []
        for index in rows:
            first = next((k for k in kept if _same(examples[k], examples[index])), None)
            if first is None:
                kept.append(index)
                continue
            reason = f"asks and answers the same as line {examples[first].line}"
            yield Finding(examples[index].line, CHECK, "warning", reason, "drop")


def near_duplicates(examples: Sequence[Example], alike: Alike) -> Iterator[Finding]:
    """Find rows that ask nearly the same as an earlier one and answer alike."""
    found: dict[int, tuple[float, int]] = {}
    for first, second, similarity in alike.near:
        for a in alike.rows[first]:
            for b in alike.rows[second]:
                earlier, later = sorted((a, b))
                if compare(examples[a].answer, examples[b].answer) != "incompatible":
                    found[later] = max(found.get(later, (0.0, 0)), (similarity, -earlier))
    for later, (similarity, earlier) in sorted(found.items()):
        reason = f"asks nearly the same as line {examples[-earlier].line} ({similarity:.0%} alike)"
        yield Finding(examples[later].line, NEAR, "warning", reason)


def _same(a: Example, b: Example) -> bool:
    if a.messages[-1].extra != b.messages[-1].extra:
        return False
    return compare(a.answer, b.answer) == "same"
