"""The same question with answers that cannot both be right: the model learns neither."""

from collections.abc import Iterator, Sequence

from gateway.store.examples import Example
from training.data.alike import Alike
from training.data.answers import compare, shown
from training.data.findings import Finding

CHECK = "contradiction"
NEAR = "near_contradiction"
# Compares each row of a group with this many others at most.
_MOST = 50


def contradictions(examples: Sequence[Example], alike: Alike) -> Iterator[Finding]:
    """Find rows that ask the very same, in the same context, and answer incompatibly.

    All of them are set aside: which one is right, the data cannot say. Answers in quite other words
    are only reported.
    """
    for rows in alike.rows:
        if len(rows) > 1:
            for index in rows:
                yield from _against(examples, index, [k for k in rows if k != index][:_MOST])


def near_contradictions(examples: Sequence[Example], alike: Alike) -> Iterator[Finding]:
    """Find rows that ask nearly the same as an earlier one and answer incompatibly.

    A word may make the difference ("in the US", "in the EU"), so this only warns.
    """
    seen: set[int] = set()
    for first, second, similarity in alike.near:
        for a in alike.rows[first][:_MOST]:
            for b in alike.rows[second][:_MOST]:
                earlier, later = sorted((a, b))
                one, other = examples[earlier], examples[later]
                if later in seen or compare(one.answer, other.answer) != "incompatible":
                    continue
                seen.add(later)
                reason = (
                    f"asks nearly the same as line {one.line} ({similarity:.0%} alike) but answers "
                    f"{shown(other.answer)}, not {shown(one.answer)}"
                )
                yield Finding(other.line, NEAR, "warning", reason)


def _against(examples: Sequence[Example], index: int, others: Sequence[int]) -> Iterator[Finding]:
    example = examples[index]
    verdicts = {k: compare(examples[k].answer, example.answer) for k in others}
    for verdict in ("incompatible", "unclear"):
        clash = next((examples[k] for k, found in verdicts.items() if found == verdict), None)
        if clash is None:
            continue
        reason = (
            f"asks the same as line {clash.line} but answers {shown(example.answer)}, "
            f"not {shown(clash.answer)}"
        )
        if verdict == "incompatible":
            yield Finding(example.line, CHECK, "error", reason, "quarantine")
        elif index > others[0]:  # said once, of the later one
            yield Finding(example.line, NEAR, "warning", f"{reason}; both may be right")
        return
