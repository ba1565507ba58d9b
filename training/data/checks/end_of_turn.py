"""The end-of-turn token: it must be in the loss, or the model never learns to stop.

And no other control token may stand in a text, where it would end the turn too early.
"""

from collections.abc import Iterator, Sequence

from training.data.findings import Finding
from training.data.rendering import Rendered

CHECK = "end_of_turn"
CONTROL = "control_token"


def end_of_turn(rows: Sequence[Rendered]) -> Iterator[Finding]:
    """Find rows whose trained tokens do not end with a token at which the engine stops.

    Where it is all of them the template is at fault, and there is one finding about the file.
    """
    unending = [row for row in rows if row.trained and not row.ends]
    if unending and len(unending) == len(rows):
        reason = (
            "the chat template puts no end-of-turn token into the loss of any row: the model would "
            "not learn to stop; the template, or the tokenizer's `eos_token`, must be mended"
        )
        yield Finding(0, CHECK, "error", reason)
        return
    for row in unending:
        reason = "the trained tokens do not end with the end-of-turn token"
        yield Finding(row.line, CHECK, "error", reason, "drop")


def control_tokens(rows: Sequence[Rendered]) -> Iterator[Finding]:
    """Find rows whose texts contain the template's own tokens."""
    for row in rows:
        if row.control:
            reason = f"a text contains the control token {', '.join(row.control)}"
            yield Finding(row.line, CONTROL, "error", reason, "quarantine")
