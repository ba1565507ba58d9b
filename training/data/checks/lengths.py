"""Rows that are longer than the trainer reads: the end of their answer would be cut off."""

from collections.abc import Iterator, Sequence
from statistics import quantiles

from training.data.findings import Finding
from training.data.rendering import Rendered

CHECK = "length"


def lengths(rows: Sequence[Rendered], max_length: int) -> Iterator[Finding]:
    """Find rows of more than `max_length` tokens, and say how long the rows are."""
    long = [row for row in rows if row.tokens > max_length]
    for row in long:
        reason = (
            f"{row.tokens:,} tokens, {row.tokens - max_length:,} more than the trainer reads "
            f"({max_length:,}): the end-of-turn token would be cut off"
        )
        yield Finding(row.line, CHECK, "error", reason, "drop")
    if len(rows) > 1:
        cuts = quantiles([row.tokens for row in rows], n=20, method="inclusive")
        reason = (
            f"half of the rows have up to {cuts[9]:,.0f} tokens, 95 % up to {cuts[18]:,.0f}, the "
            f"longest {max(row.tokens for row in rows):,}; {len(long) / len(rows):.2%} would be "
            f"truncated at {max_length:,}"
        )
        yield Finding(0, CHECK, "info", reason)
