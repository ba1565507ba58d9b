"""What the last prompts are about, as the state, the console and the alarms show it."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from monitoring.reference import Reference, Row, Vectors
from monitoring.topics import Topic, Topics

MEMORY = 1000
# Looking for what is new costs more than a window's scores: once in so many windows will do.
_LOOK_EVERY = 5
_MOST_SHOWN = 60
# Of a topic's prompts in its area: the rest lies as near to others.
_MOST_OF_A_TOPIC = 0.9


class TopicView:
    """The topics of the last prompts.

    Args:
        reference: What topics there are, and how large they usually are.
    """

    def __init__(self, reference: Reference) -> None:
        self._topics = Topics.fit(reference.vectors, [row.prompt for row in reference.rows])
        self._texts: deque[str] = deque(maxlen=MEMORY)
        self._losses: deque[float] = deque(maxlen=MEMORY)
        self._vectors: deque[Any] = deque(maxlen=MEMORY)
        self._emerging: list[dict[str, Any]] = []
        self._windows = 0

    def recall(self, texts: Iterable[str], vectors: Vectors) -> None:
        """Remember prompts of earlier windows, whose losses are not known any more."""
        for text, vector in zip(texts, vectors, strict=True):
            self._texts.append(text)
            self._vectors.append(vector)
            self._losses.append(math.nan)

    def add(self, rows: Sequence[Row], vectors: Vectors, losses: Sequence[float]) -> None:
        """Take a window's prompts, with the mean loss of each; NaN where none is known."""
        for row, vector, loss in zip(rows, vectors, losses, strict=True):
            self._texts.append(row.prompt)
            self._vectors.append(vector)
            self._losses.append(loss)

    def shown(self, *, look: bool = False) -> list[dict[str, Any]]:
        """Return the topics: what is new first, then what has grown, then all, the largest first.

        `news` says in words what is new or has grown, and is empty for the others; `area` says it
        to the gateway (`retrieval.records.Area`), and only what is new or has grown has one.

        Args:
            look: Look for what is new in any case.
        """
        if not self._vectors:
            return []
        vectors = np.stack(list(self._vectors)).astype(np.float32)
        losses = np.asarray(self._losses, np.float64)
        if look or self._windows % _LOOK_EVERY == 0:
            found = self._topics.emerging(vectors, list(self._texts))
            self._emerging = [
                _as_dict(each.topic, each.sentence(), _mean(losses[list(each.rows)]))
                | {"area": _area(vectors[list(each.rows)])}
                for each in found
            ]
        self._windows += 1
        grown = {topic["id"] for topic in self._emerging}
        seen = [
            _as_dict(topic, "", topic.loss)
            for topic in self._topics.seen(vectors, losses)
            if topic.id not in grown
        ]
        return [*self._emerging, *seen][:_MOST_SHOWN]


def _as_dict(topic: Topic, news: str, loss: float | None) -> dict[str, Any]:
    return {
        "id": topic.id, "label": topic.label, "share": round(topic.share, 5),
        "reference_share": round(topic.reference_share, 5), "loss": loss,
        "examples": list(topic.examples), "news": news,
    }  # fmt: skip


def _area(members: Vectors) -> dict[str, Any]:
    """Return where most of a topic's prompts lie."""
    middle = members.mean(axis=0)
    middle = middle / max(float(np.linalg.norm(middle)), 1e-12)
    least = float(np.quantile(members @ middle, 1 - _MOST_OF_A_TOPIC))
    # Four digits are more than the floor needs, and a row of the store is read twice a second.
    return {"middle": [round(float(x), 4) for x in middle], "least": round(least, 4)}


def _mean(losses: Any) -> float | None:
    known = losses[np.isfinite(losses)]
    return float(known.mean()) if known.size else None
