"""How many of the tokens are trained on: few of them make each step dear and the signal thin."""

from collections.abc import Iterator, Sequence

from training.data.findings import Finding
from training.data.rendering import Rendered

CHECK = "loss_share"
_LITTLE = 0.01


def loss_share(rows: Sequence[Rendered]) -> Iterator[Finding]:
    """Find rows without a trained token, and say which share of all tokens is trained on."""
    for row in rows:
        if not row.trained:
            reason = "no token of this row is trained on: the template leaves its answer out"
            yield Finding(row.line, CHECK, "error", reason, "drop")
    tokens = sum(row.tokens for row in rows)
    if not tokens:
        return
    share = sum(row.trained for row in rows) / tokens
    reason = f"{share:.1%} of {tokens:,} tokens are trained on (the assistant's turns)"
    if share < _LITTLE:
        yield Finding(0, CHECK, "warning", f"{reason}; shorter prompts would train faster")
    else:
        yield Finding(0, CHECK, "info", reason)
