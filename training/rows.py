"""Training rows as tokens and labels: this file, and no library, decides what is trained.

The mask is that of `training.data.masking.render`: the assistant's turns with their end-of-turn
token. Every row is checked for that token, since a model that never sees it in its loss never
learns to stop, and the loss still looks healthy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.store.examples import RowError, read_jsonl
from training.data.masking import TokenizerError, end_tokens, render

IGNORED = -100
_SHOWN = 10


class RowsError(ValueError):
    """A file of rows that cannot be trained on; the message names its lines."""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A row as tokens.

    Args:
        ids: Its tokens, up to the last trained one.
        labels: The ids where the loss is taken, else -100.
        prompt: Where the last answer begins.
        line: Its line in the file.
    """

    ids: list[int]
    labels: list[int]
    prompt: int
    line: int


@dataclass(frozen=True, slots=True)
class TokenRows:
    """The rows of a file, and what was counted on the way."""

    rows: tuple[TokenRow, ...]
    dropped: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """All tokens."""
        return sum(len(row.ids) for row in self.rows)

    @property
    def trained(self) -> int:
        """Tokens on which the loss is taken."""
        return sum(label != IGNORED for row in self.rows for label in row.labels)

    def counts(self) -> dict[str, int]:
        """Return the counts, for a manifest."""
        return {
            "rows": len(self.rows),
            "tokens": self.tokens,
            "trained_tokens": self.trained,
            "longest": max((len(row.ids) for row in self.rows), default=0),
            "dropped_too_long": len(self.dropped),
        }


def tokenise(
    path: Path,
    tokenizer: Any,
    base: Path,
    *,
    max_length: int,
    drop_long: bool = False,
    on_row: Callable[[int], None] | None = None,
) -> TokenRows:
    """Read a file of rows as tokens.

    Args:
        path: JSON Lines.
        tokenizer: Of `base`.
        base: The model's folder: its generation config says at which tokens an engine stops.
        max_length: Most tokens of a row. A longer one is never cut: the cut would take the answer.
        drop_long: Whether longer rows are left out and counted; else they are refused.
        on_row: Called with the number of rows read.

    Raises:
        RowsError: Rows cannot be used, are too long or have nothing to learn; it names lines.
    """
    ends = end_tokens(tokenizer, base)
    rows: list[TokenRow] = []
    dropped: list[int] = []
    problems: list[tuple[int, str]] = []
    try:
        for number, example in enumerate(read_jsonl(path), 1):
            if isinstance(example, RowError):
                problems.append((example.line, example.reason))
                continue
            try:
                row = _row(*render(tokenizer, example.messages), ends, example.line)
            except (TokenizerError, RowsError) as error:
                problems.append((example.line, str(error)))
                continue
            if len(row.ids) <= max_length:
                rows.append(row)
            elif drop_long:
                dropped.append(row.line)
            else:
                reason = f"{len(row.ids)} tokens, more than `max_length` {max_length}"
                problems.append((row.line, reason))
            if on_row is not None:
                on_row(number)
    except OSError as error:
        raise RowsError(f"{path}: {error.strerror or error}") from error
    if problems:
        raise RowsError(_told(path, problems))
    if not rows:
        raise RowsError(f"{path}: no row is left to train on")
    return TokenRows(tuple(rows), tuple(dropped))


def _row(ids: list[int], mask: list[int], ends: frozenset[int], line: int) -> TokenRow:
    trained = [position for position, keep in enumerate(mask) if keep]
    if not trained:
        raise RowsError("no token of it is trained: the chat template masks every turn")
    last = trained[-1]
    if ids[last] not in ends:
        raise RowsError(
            "the end-of-turn token of the last answer is not trained, so the model would not "
            "learn to stop: see `driftgate data check`"
        )
    # What the template puts behind the last trained token is read by nothing.
    ids, mask = ids[: last + 1], mask[: last + 1]
    labels = [token if keep else IGNORED for token, keep in zip(ids, mask, strict=True)]
    prompt = next((n + 1 for n in range(last, -1, -1) if not mask[n]), 0)
    return TokenRow(ids, labels, prompt, line)


def _told(path: Path, problems: list[tuple[int, str]]) -> str:
    problems = sorted(problems)
    shown = "\n".join(f"  line {line}: {reason}" for line, reason in problems[:_SHOWN])
    more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    count = "1 row" if len(problems) == 1 else f"{len(problems)} rows"
    return f"{path}: {count} cannot be trained on\n{shown}{more}"
