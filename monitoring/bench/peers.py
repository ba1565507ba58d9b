"""Other ways to see drift in embeddings, each judging a window by itself.

Each gives a statistic, larger for more drift, and alarms by default above a limit.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from monitoring.reference import Vectors

_COMPONENTS = 30
_LEVEL = 0.05


class Judge(Protocol):
    """Judges windows against the reference that it was made with."""

    def statistic(self, window: Vectors) -> float:
        """Return the statistic of a window."""
        ...


class Method(Protocol):
    """Makes judges.

    Attributes:
        title: Names it in the report.
        limit: A window whose statistic is above it is an alarm by default.
        rows: Rows of the reference that it is given.
        most: Runs of each stream, at most: some are slow.
    """

    @property
    def title(self) -> str: ...
    @property
    def limit(self) -> float: ...
    @property
    def rows(self) -> int: ...
    @property
    def most(self) -> int: ...

    def judge(self, reference: Vectors) -> Judge:
        """Return a judge that knows this reference."""
        ...


@dataclass(frozen=True)
class PcaKs:
    """Kolmogorov-Smirnov tests on principal components, Bonferroni within the window.

    The statistic is -log10 of the smallest p-value. Source: Rabanser, Günnemann and Lipton 2019,
    "Failing Loudly: An Empirical Study of Methods for Detecting Dataset Shift", arXiv:1810.11953.
    """

    title: str = "PCA + KS, Bonferroni"
    limit: float = -math.log10(_LEVEL / _COMPONENTS)
    rows: int = 5000
    most: int = 1000

    def judge(self, reference: Vectors) -> Judge:
        return _Components(reference)


class _Components:
    def __init__(self, reference: Vectors) -> None:
        self._mean = reference.mean(axis=0)
        centred = reference - self._mean
        _, vectors = np.linalg.eigh(centred.T @ centred)
        self._axes = vectors[:, ::-1][:, :_COMPONENTS]
        self._usual = centred @ self._axes

    def statistic(self, window: Vectors) -> float:
        from scipy.stats import ks_2samp

        found = (window - self._mean) @ self._axes
        least = min(
            float(ks_2samp(found[:, each], self._usual[:, each], method="asymp").pvalue)
            for each in range(found.shape[1])
        )
        return -math.log10(max(least, 1e-300))


def methods() -> Mapping[str, Method]:
    """Return the methods by name; Evidently is imported for its own, which takes seconds."""
    from monitoring.bench.evidently_methods import (
        EvidentlyDistance,
        EvidentlyMmd,
        EvidentlyModel,
        EvidentlyRatio,
    )

    return {
        "pca-ks": PcaKs(),
        "evidently-model": EvidentlyModel(),
        "evidently-mmd": EvidentlyMmd(),
        "evidently-distance": EvidentlyDistance(),
        "evidently-ratio": EvidentlyRatio(),
    }
