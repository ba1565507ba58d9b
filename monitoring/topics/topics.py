"""The topics of a release's reference.

They are not kept: the same reference gives the same topics again, in about the time that reading
them would save.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from monitoring.topics import emerging
from monitoring.topics.clusters import Numbers, Vectors, centroids, distinct, spread
from monitoring.topics.emerging import Emerging
from monitoring.topics.naming import Topic, Vocabulary, examples

NEW, UNKNOWN = -1, -2
"""Ids of prompts that are far from every topic, and of those without a vector."""
LEAST_ROWS = 20
_HELD_OUT = 0.2
_USUAL = 0.995
_SEED = 3
# So many rows of the reference are kept to compare with.
_KEPT = 5000


class TopicsUnusable(Exception):
    """There are too few rows to fit, or they are all the same; the message says it."""


class Topics:
    """Clusters of the reference's prompts, with names.

    Attributes:
        topics: By id; shares are those of the reference.
    """

    def __init__(
        self, topics: Sequence[Topic], vocabulary: Vocabulary, middles: Vectors,
        reference: Vectors, least: float, distance: float,
    ) -> None:  # fmt: skip
        self.topics = tuple(topics)
        self._vocabulary = vocabulary
        self._middles = middles
        self._reference = reference
        self._least = least
        self._distance = distance

    @classmethod
    def fit(cls, vectors: Vectors, texts: Sequence[str]) -> "Topics":
        """Find the topics of a reference.

        A fifth of the rows is held out: 99.5 % of these are as near to a topic as a row must be to
        belong to one.

        Args:
            vectors: Unit vectors, shape (n, d); rows that are no numbers are left out.
            texts: The prompts, in the same order.

        Raises:
            TopicsUnusable: There are too few rows, or they are all the same.
        """
        if len(vectors) != len(texts):
            raise TopicsUnusable(f"{len(vectors)} vectors and {len(texts)} texts")
        known = np.flatnonzero(_finite(vectors))
        rows = np.asarray(vectors[known], np.float32)
        if len(rows) < LEAST_ROWS or distinct(rows) < 2:
            raise TopicsUnusable(f"{len(rows)} rows, or too much alike: {LEAST_ROWS} are needed")
        order = np.random.default_rng(_SEED).permutation(len(rows))
        held_out = max(1, int(_HELD_OUT * len(rows)))
        middles = centroids(rows[order[held_out:]])
        similar = rows @ middles.T
        ids = similar.argmax(axis=1)
        best = similar.max(axis=1)
        least = float(np.quantile(best[order[:held_out]], 1 - _USUAL))
        kept = [each for each in range(len(middles)) if (ids == each).any()]
        members = [np.flatnonzero(ids == each) for each in kept]
        own = [[texts[known[row]] for row in each] for each in members]
        vocabulary = Vocabulary.of(own)
        topics = [
            Topic(
                id=str(number),
                label=vocabulary.label(own[number]),
                share=len(each) / len(rows),
                reference_share=len(each) / len(rows),
                loss=None,
                examples=examples(own[number], best[each]),
            )
            for number, each in enumerate(members)
        ]
        distance = spread(rows, ids)
        return cls(topics, vocabulary, middles[kept], rows[order[:_KEPT]], least, distance)

    def assign(self, vectors: Vectors) -> Numbers:
        """Return the topic of each row: its id, NEW or UNKNOWN."""
        if not len(vectors):
            return np.zeros(0, np.int64)
        finite = _finite(vectors)
        similar = np.where(finite[:, None], vectors, 0).astype(np.float32) @ self._middles.T
        ids = np.where(similar.max(axis=1) < self._least, NEW, similar.argmax(axis=1))
        return np.where(finite, ids, UNKNOWN).astype(np.int64)

    def shares(self, ids: Numbers) -> dict[int, float]:
        """Return the share of each topic, of all topics and of NEW, among the known rows."""
        known = ids[ids != UNKNOWN]
        return {
            each: float((known == each).sum() / len(known)) if len(known) else 0.0
            for each in [*range(len(self.topics)), NEW]
        }

    def seen(self, vectors: Vectors, losses: npt.NDArray[np.float64] | None = None) -> list[Topic]:
        """Return the topics of some prompts, the largest first.

        Args:
            vectors: Unit vectors of the prompts, shape (n, d).
            losses: A loss of each, NaN where it is not known.
        """
        ids = self.assign(vectors)
        shares = self.shares(ids)
        found = [
            Topic(
                topic.id, topic.label, shares[number], topic.reference_share,
                _mean(losses, ids == number), topic.examples,
            )
            for number, topic in enumerate(self.topics)
            if shares[number]
        ]  # fmt: skip
        return sorted(found, key=lambda topic: -topic.share)

    def emerging(self, vectors: Vectors, texts: Sequence[str]) -> list[Emerging]:
        """Return what recent prompts are about and the reference is not, then what has grown.

        See `monitoring.topics.emerging`. Some hundred recent prompts are needed to say anything of
        a topic of a few per cent. Of 80 calls with 500 questions of BANKING77 that were like the
        reference, 2 told news.
        """
        known = np.flatnonzero(_finite(vectors))
        rows = np.asarray(vectors[known], np.float32)
        own = [texts[row] for row in known]
        new = emerging.crowds(self._reference, self._distance, self._vocabulary, rows, own)
        taken = {row for each in new for row in each.rows}
        rest = np.asarray([row for row in range(len(rows)) if row not in taken], np.int64)
        grown = self._grown(rows, own, rest)
        return [
            Emerging(each.topic, tuple(int(known[row]) for row in each.rows), each.p)
            for each in [*new, *grown]
        ]

    def _grown(self, rows: Vectors, texts: Sequence[str], rest: Numbers) -> list[Emerging]:
        """Return the topics with a larger share than in the reference, new ones left out."""
        ids = self.assign(rows[rest])
        before = self.assign(self._reference)
        found = []
        for number, topic in enumerate(self.topics):
            now, was = int((ids == number).sum()), int((before == number).sum())
            # Of all recent rows: what is new must not make the share of the others grow.
            p = emerging.risen(now, len(rows), was, len(before)) * len(self.topics)
            if p > emerging.ALPHA:
                continue
            members = rest[ids == number]
            shown = examples([texts[row] for row in members],
                             rows[members] @ self._middles[number])  # fmt: skip
            grown = Topic(
                topic.id, topic.label, now / len(rows), topic.reference_share, None, shown
            )
            found.append(Emerging(grown, tuple(map(int, members)), p))
        return sorted(found, key=lambda each: -each.topic.share)


def _finite(vectors: Vectors) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(vectors).all(axis=1) & (vectors != 0).any(axis=1))


def _mean(losses: npt.NDArray[np.float64] | None, rows: npt.NDArray[np.bool_]) -> float | None:
    if losses is None:
        return None
    known = losses[rows & np.isfinite(losses)]
    return float(known.mean()) if known.size else None
