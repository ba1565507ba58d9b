"""A window against the reference: a p-value for each request and drift signal.

Beside the two scores of `novelty`, three of one number each: how unusual the prompt's length is,
in either direction, how rare its language, and how unsure the answer. As in `novelty`, a part of
the reference says what is usual, and the rest, which that part has not seen, calibrates.
"""

import math
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from monitoring.evidence.conformal import Floats, p_values
from monitoring.novelty import Novelty
from monitoring.reference import Reference, Row, Vectors

SIGNALS = ("far", "crowded", "length", "language", "uncertainty")
_INDEX_SHARE = 0.7
_LEAST_KNOWN = 50
_LENGTH, _NLL = "prompt_words", "nll"


class Scorer:
    """Scores the windows of a release against its reference.

    Args:
        reference: What is usual.
        name: Of the release, from which the same split and the same ties follow again.
    """

    def __init__(self, reference: Reference, name: str) -> None:
        self._name = name
        order = np.random.default_rng(zlib.crc32(name.encode())).permutation(len(reference.rows))
        cut = int(len(order) * _INDEX_SHARE)
        self._index, self._rest = order[:cut], order[cut:]
        vectors = reference.vectors
        self.novelty = Novelty(vectors[self._index], vectors[self._rest], self._rng(0))
        self._lengths = _known(reference.numbers(_LENGTH)[self._index])
        self._length_scores = self._odd_length(reference.numbers(_LENGTH)[self._rest])
        self._languages = Counter(reference.rows[i].language for i in self._index)
        self._language_scores = self._rarity([reference.rows[i].language for i in self._rest])
        self._nlls = _known(reference.numbers(_NLL))
        self.signals = tuple(
            name
            for name, calibration in (
                ("far", vectors), ("crowded", vectors), ("length", self._length_scores),
                ("language", self._language_scores), ("uncertainty", self._nlls),
            )
            if len(_known(np.ravel(calibration))) >= _LEAST_KNOWN
        )  # fmt: skip

    def score(self, rows: Sequence[Row], vectors: Vectors, number: int) -> dict[str, list[float]]:
        """Return p-values by signal, a list for each signal that the window says something of.

        Args:
            rows: The window's requests.
            vectors: Unit vectors of their prompts; a row that is no number counts for nothing.
            number: Of the window; ties are broken the same way again.
        """
        rng = self._rng(number + 1)
        found = self.novelty.observe(vectors, rng)
        p: dict[str, Floats | None] = {"far": found.far, "crowded": found.crowded}
        lengths = np.asarray([row.numbers.get(_LENGTH, math.nan) for row in rows])
        unsure = _known(np.asarray([row.numbers.get(_NLL, math.nan) for row in rows]))
        if "length" in self.signals:
            p["length"] = p_values(self._odd_length(lengths), self._length_scores, rng)
        if "language" in self.signals:
            rare = self._rarity([row.language for row in rows])
            p["language"] = p_values(rare, self._language_scores, rng)
        if "uncertainty" in self.signals and unsure.size:
            p["uncertainty"] = p_values(unsure, self._nlls, rng)
        return {name: ps.tolist() for name, ps in p.items() if ps is not None}

    def _odd_length(self, lengths: Floats) -> Floats:
        """Return how far from the middle of the usual lengths each is, 0 to 1/2."""
        if not self._lengths.size:
            return np.full(len(lengths), math.nan)
        usual = np.sort(self._lengths)
        below = np.searchsorted(usual, lengths, "left") + np.searchsorted(usual, lengths, "right")
        return np.where(np.isfinite(lengths), np.abs(below / (2 * usual.size) - 0.5), math.nan)

    def _rarity(self, languages: Sequence[str]) -> Floats:
        """Return how rare each language is: minus its share; NaN where it is not known."""
        total = self._languages.total() - self._languages[""]
        shares = [
            self._languages[each] / total if each and total else math.nan for each in languages
        ]
        rare: Floats = -np.asarray(shares, np.float64)
        return rare

    def _rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng((zlib.crc32(self._name.encode()), number))


def _known(values: Floats) -> Floats:
    known: Floats = values[np.isfinite(values)]
    return known
