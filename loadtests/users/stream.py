"""Reads a streamed chat completion as it comes, and notes when each token came."""

import itertools
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timed:
    """When the tokens of a stream came.

    Attributes:
        first: When the first came, by the clock that was given.
        gaps: Seconds between each two that follow one another.
        last: When the last came.
    """

    first: float
    gaps: tuple[float, ...]
    last: float


def read_stream(lines: Iterable[bytes], clock: Callable[[], float] = time.perf_counter) -> Timed:
    """Read a stream to its end. A frame with text counts as one token, as engines send them.

    Raises:
        ValueError: The stream holds an error, no token, or no end.
    """
    came: list[float] = []
    for line in lines:
        if not line.startswith(b"data:"):
            continue
        data = line.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            if not came:
                raise ValueError("no token")
            gaps = tuple(after - before for before, after in itertools.pairwise(came))
            return Timed(came[0], gaps, came[-1])
        frame = json.loads(data)
        if "error" in frame:
            raise ValueError(f"error frame: {frame['error'].get('code')}")
        if any(choice["delta"].get("content") for choice in frame.get("choices", ())):
            came.append(clock())
    raise ValueError("the stream has no end")
