"""A stream through the monitor's own evidence: `Scorer`, then `Book`."""

import math
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monitoring.bench.material import Material, Places
from monitoring.bench.streams import Stream
from monitoring.evidence.book import TOGETHER, Book, Inputs, Levels
from monitoring.reference import made
from monitoring.scorer import Scorer

WRONG = "wrong"
_RIDGE = 1.0


@dataclass(frozen=True)
class Watched:
    """What the monitor saw of a stream.

    Attributes:
        evidence: By signal, `all` among them: log10 of the evidence after each window.
        cpu_ms: CPU time per window, embedding apart: median.
        harm: Window, from 0, of the harm alarm; None without one.
        loss: Mean loss before and after the onset.
    """

    evidence: dict[str, list[float]]
    cpu_ms: float
    harm: int | None
    loss: tuple[float, float]


def watch(material: Material, stream: Stream, seed: int) -> Watched:
    """Watch a stream as a monitor with its default settings does.

    The losses are those of a real classifier: ridge regression on the reference's vectors names the
    intent of each request, and is right (0) or wrong (1). It stands in for a fine-tuned model that
    knows what the reference knows.
    """
    reference = made(
        [material.rows[i] for i in stream.reference], material.vectors[stream.reference], "bench"
    )
    scorer = Scorer(reference, f"bench/{seed}")
    book = Book(Levels(), scorer.signals)
    wrong = losses(material, stream)
    evidence: dict[str, list[float]] = {name: [] for name in (*scorer.signals, TOGETHER)}
    spent: list[float] = []
    harm: int | None = None
    for number, window in enumerate(stream.live):
        rows, vectors = [material.rows[i] for i in window], material.vectors[window]
        began = time.process_time()
        p_values = scorer.score(rows, vectors, number)
        inputs = Inputs(p_values, {WRONG: wrong[number].tolist()})
        seen = book.observe(inputs.as_dict())
        spent.append(time.process_time() - began)
        for name, found in evidence.items():
            found.append(round(math.log10(max(seen[name], 1e-9)), 3))
        if harm is None and book.harms:
            harm = number
    before, after = wrong[: stream.onset], wrong[stream.onset :]
    loss = (float(before.mean()), float(after.mean()) if after.size else float(before.mean()))
    return Watched(evidence, 1000 * float(np.median(spent)), harm, loss)


def losses(material: Material, stream: Stream) -> npt.NDArray[np.float64]:
    """Return 1 for each request whose intent the classifier does not name, else 0."""
    names, labels = np.unique(material.intents[stream.reference], return_inverse=True)
    vectors = _with_one(material, stream.reference)
    wanted = np.eye(len(names), dtype=np.float32)[labels]
    squares = vectors.T @ vectors + _RIDGE * np.eye(vectors.shape[1], dtype=np.float32)
    weights = np.linalg.solve(squares, vectors.T @ wanted)
    live = stream.live.ravel()
    named = names[(_with_one(material, live) @ weights).argmax(axis=1)]
    wrong: npt.NDArray[np.float64] = (named != material.intents[live]).astype(np.float64)
    return wrong.reshape(stream.live.shape)


def _with_one(material: Material, places: Places) -> npt.NDArray[np.float32]:
    ones = np.ones((len(places), 1), np.float32)
    return np.concatenate([material.vectors[places], ones], axis=1)
