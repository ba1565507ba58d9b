"""Training rows: the forms that a file may have them in, and the one form that all else reads.

    python -m gateway.store.examples FILE      # print the file's `Survey` as JSON

A row is a conversation that ends with the answer to learn. Three forms are read, one JSON object
a line (JSON Lines, https://jsonlines.org):

    {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
    {"prompt": "…", "completion": "…"}                    (`prompt` may be a list of messages)
    {"instruction": "…", "input": "…", "output": "…"}     (`input` may be empty or absent)

The first is OpenAI's (https://platform.openai.com/docs/guides/supervised-fine-tuning) and the one
that is written. Beside it a row may name its `slice`, `contributor`, `created_at` (Unix seconds)
and `source`.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

ROLES = ("system", "developer", "user", "assistant", "tool")
_ORIGIN = ("slice", "contributor", "source")
# A line longer than this is no training row, and must not fill the memory.
MAX_ROW_BYTES = 4 * 2**20


class RowError(ValueError):
    """A row that cannot be used.

    Args:
        line: Its line in the file, from 1.
        code: What is wrong, as a word for programs.
        reason: What is wrong, as a sentence for people.
    """

    def __init__(self, line: int, code: str, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Message:
    """One turn; `extra` holds further fields of it (`name`, `tool_calls`, …) as they came."""

    role: str
    content: str
    extra: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the turn as chat templates and the OpenAI API take it."""
        return {"role": self.role, "content": self.content, **self.extra}


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation that ends with the answer to learn, and where it comes from."""

    messages: tuple[Message, ...]
    line: int = 0
    slice: str = ""
    contributor: str = ""
    source: str = ""
    created_at: float | None = None

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The turns before the answer."""
        return self.messages[:-1]

    @property
    def answer(self) -> str:
        """The answer to learn."""
        return self.messages[-1].content

    @property
    def question(self) -> str:
        """The last turn of the user."""
        return next((m.content for m in reversed(self.prompt) if m.role == "user"), "")

    def as_dict(self) -> dict[str, Any]:
        """Return the row in the form that is written."""
        row: dict[str, Any] = {"messages": [message.as_dict() for message in self.messages]}
        row |= {name: value for name in _ORIGIN if (value := getattr(self, name))}
        if self.created_at is not None:
            row["created_at"] = self.created_at
        return row


def parse_row(raw: bytes, line: int) -> Example:
    """Read one line of JSON.

    Raises:
        RowError: It is not JSON, has none of the three forms, or is no conversation that ends with
            an answer.
    """
    if len(raw) > MAX_ROW_BYTES:
        raise RowError(line, "too_long", f"the row is longer than {MAX_ROW_BYTES:,} bytes")
    try:
        row = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RowError(line, "not_json", f"this is not JSON ({error})") from error
    return from_row(row, line)


def from_row(row: object, line: int) -> Example:
    """Read one row that is decoded already (JSON or Parquet).

    Raises:
        RowError: As `parse_row`.
    """
    if not isinstance(row, dict):
        raise RowError(line, "not_an_object", "a row must be a JSON object")
    messages = tuple(_message(turn, line, n) for n, turn in enumerate(_turns(row, line), 1))
    _check_order(messages, line)
    created_at = row.get("created_at")
    if created_at is not None and (
        isinstance(created_at, bool) or not isinstance(created_at, int | float)
    ):
        raise RowError(line, "bad_field", "`created_at` must be a number of Unix seconds")
    origin = {name: row.get(name) or "" for name in _ORIGIN}
    for name, value in origin.items():
        if not isinstance(value, str):
            raise RowError(line, "bad_field", f"`{name}` must be text")
    return Example(messages, line, **origin, created_at=created_at)


def read_jsonl(path: Path) -> Iterator[Example | RowError]:
    """Read a JSON Lines file row by row, past blank lines; an unusable row is its error."""
    with path.open("rb") as file:
        for line, raw in enumerate(_lines(file), 1):
            if not raw.strip():
                continue
            try:
                yield parse_row(raw, line)
            except RowError as error:
                yield error


@dataclass(frozen=True, slots=True)
class Survey:
    """What a file of rows holds: the rows that can be used, those that cannot, the first of these.

    Each problem is the error's `line`, `code` and `reason`.
    """

    rows: int
    bad: int
    problems: tuple[tuple[int, str, str], ...]


def survey(path: Path, most: int = 20) -> Survey:
    """Read a file to its end and tell what it holds, with the first `most` problems."""
    rows = bad = 0
    problems: list[tuple[int, str, str]] = []
    for row in read_jsonl(path):
        if isinstance(row, Example):
            rows += 1
            continue
        bad += 1
        if len(problems) < most:
            problems.append((row.line, row.code, row.reason))
    return Survey(rows, bad, tuple(problems))


def write_jsonl(path: Path, examples: Iterable[Example]) -> int:
    """Write rows in the `messages` form, atomically, and return how many."""
    partial = path.with_name(f".{path.name}.partial")
    encoder = msgspec.json.Encoder()
    count = 0
    with partial.open("wb") as file:
        for example in examples:
            file.write(encoder.encode(example.as_dict()) + b"\n")
            count += 1
    partial.replace(path)
    return count


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield lines; of one that is longer than any row only the beginning is kept in memory."""
    while raw := file.readline(MAX_ROW_BYTES + 1):
        rest = raw
        while len(rest) > MAX_ROW_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MAX_ROW_BYTES + 1)
        yield raw


def _turns(row: dict[str, Any], line: int) -> list[Any]:
    if "messages" in row:
        turns = row["messages"]
        if not isinstance(turns, list) or not turns:
            raise RowError(line, "unknown_form", "`messages` must be a list with at least one turn")
        return turns
    if "prompt" in row and "completion" in row:
        return [*_as_turns(row["prompt"], "user"), *_as_turns(row["completion"], "assistant")]
    if "instruction" in row and "output" in row:
        parts = [row["instruction"], row.get("input") or ""]
        for name, part in zip(("instruction", "input"), parts, strict=True):
            if not isinstance(part, str):
                raise RowError(line, "not_text", f"`{name}` must be text")
        question = "\n\n".join(part for part in parts if part)
        return [*_as_turns(question, "user"), *_as_turns(row["output"], "assistant")]
    fields = ", ".join(f"`{name}`" for name in list(row)[:8]) or "none"
    raise RowError(
        line,
        "unknown_form",
        "a row needs `messages`, or `prompt` and `completion`, or `instruction` and `output`; "
        f"its fields: {fields}",
    )


def _as_turns(value: Any, role: str) -> list[Any]:
    return value if isinstance(value, list) else [{"role": role, "content": value}]


def _message(turn: Any, line: int, number: int) -> Message:
    if not isinstance(turn, dict):
        raise RowError(line, "not_an_object", f"turn {number} must be an object")
    extra = {k: v for k, v in turn.items() if k not in ("role", "content") and v is not None}
    role, content = turn.get("role"), turn.get("content")
    if role not in ROLES:
        allowed = ", ".join(ROLES)
        raise RowError(
            line, "bad_role", f"turn {number} has the role {role!r}, not one of {allowed}"
        )
    if content is None and role == "assistant" and extra.get("tool_calls"):
        content = ""
    if not isinstance(content, str):
        raise RowError(line, "not_text", f"the content of turn {number} ({role}) must be text")
    if not content.strip() and not extra.get("tool_calls"):
        raise RowError(line, "empty_turn", f"turn {number} ({role}) is empty")
    return Message(role, content, extra)


def _check_order(messages: tuple[Message, ...], line: int) -> None:
    """Check that turns alternate, system first, and that the last one is an answer to a user."""
    spoken = [m.role for m in messages if m.role not in ("system", "developer")]
    if any(m.role in ("system", "developer") for m in messages[1:]):
        raise RowError(line, "role_order", "a system turn must come first")
    if not spoken or spoken[-1] != "assistant":
        raise RowError(line, "no_answer", "the last turn must be the assistant's: it is learnt")
    if spoken[0] != "user":
        raise RowError(
            line,
            "role_order",
            f"the first turn after the system's is {spoken[0]}'s, not the user's",
        )
    for number, (before, after) in enumerate(pairwise(spoken), 1):
        if before == after and before != "tool":
            raise RowError(
                line, "role_order", f"{before} speaks twice in a row (turns {number}, {number + 1})"
            )
        if after == "tool" and before not in ("assistant", "tool"):
            raise RowError(
                line, "role_order", f"a tool's turn follows {before}'s, not the assistant's"
            )


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(asdict(survey(Path(sys.argv[1])))))
