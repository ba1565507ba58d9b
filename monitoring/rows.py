"""Requests as rows of numbers and vectors, for the scores, the reference and the reports."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from monitoring.descriptors import Descriptors, describe, losses
from monitoring.embedding import Embedder
from monitoring.reference import Row, Vectors
from monitoring.requests import Request


@dataclass(frozen=True, slots=True)
class Described:
    """Rows and the vectors of their prompts, in one order."""

    rows: tuple[Row, ...]
    vectors: Vectors


async def described(requests: Sequence[Request], embedder: Embedder) -> Described:
    """Return the rows of requests and the unit vectors of their prompts."""
    rows = tuple(row_of(request) for request in requests)
    return Described(rows, await embedder.vectors([row.prompt for row in rows]))


def row_of(request: Request) -> Row:
    """Return a request as a row; descriptors that are not known are left out."""
    found = describe(request)
    numbers = {
        name: float(value) for name in NUMBERS if math.isfinite(value := getattr(found, name))
    }
    return Row(request.id, request.prompt or "", request.answer, numbers, found.language)


def losses_of(requests: Iterable[Request]) -> dict[str, list[float]]:
    """Return the known losses of requests by harm signal, feedback apart: that comes later."""
    found: dict[str, list[float]] = {}
    for request in requests:
        for signal, loss in losses(request).items():
            if signal != "feedback":
                found.setdefault(signal, []).append(loss)
    return found


def mean_loss(request: Request) -> float:
    """Return the mean of a request's known losses; NaN without any."""
    known = list(losses(request).values())
    return math.fsum(known) / len(known) if known else math.nan


def means(rows: Sequence[Row]) -> dict[str, float]:
    """Return the mean of each descriptor over the rows that have it."""
    found: dict[str, float] = {}
    for name in NUMBERS:
        known = [row.numbers[name] for row in rows if name in row.numbers]
        if known:
            found[name] = float(np.mean(known))
    return found


NUMBERS = tuple(field.name for field in fields(Descriptors) if field.type in (float, "float"))
"""The descriptors that are numbers."""
