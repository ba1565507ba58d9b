"""Evidently's methods for drift of embeddings, called directly.

Its `EmbeddingsDrift` metric draws a t-SNE picture each time, which would be most of the cost. What
decides is the same code with the same defaults.
"""

import os

os.environ.setdefault("DO_NOT_TRACK", "1")  # read on import: without it telemetry is sent

from dataclasses import dataclass
from typing import Any

import pandas as pd
from evidently.legacy.metrics.data_drift import embedding_drift_methods as evidently

from monitoring.bench.peers import Judge
from monitoring.reference import Vectors


class _Called:
    def __init__(self, method: Any, reference: Vectors) -> None:
        self._method = method
        self._reference = pd.DataFrame(reference)

    def statistic(self, window: Vectors) -> float:
        # Copies: the methods write a column into what they are given.
        found, _, _ = self._method(pd.DataFrame(window), self._reference.copy())
        return float(found)


@dataclass(frozen=True)
class EvidentlyModel:
    """A classifier that tells current from reference: its ROC AUC on a half held out.

    This is what Evidently does with embeddings unless it is told otherwise.
    """

    title: str = "Evidently, model (its default)"
    limit: float = 0.55
    rows: int = 5000
    most: int = 1000

    def judge(self, reference: Vectors) -> Judge:
        return _Called(evidently.ModelDriftMethod(), reference)


@dataclass(frozen=True)
class EvidentlyMmd:
    """Maximum mean discrepancy with a Gaussian kernel."""

    title: str = "Evidently, MMD"
    limit: float = 0.015
    rows: int = 1000
    most: int = 1000

    def judge(self, reference: Vectors) -> Judge:
        return _Called(evidently.MMDDriftMethod(), reference)


@dataclass(frozen=True)
class EvidentlyDistance:
    """Euclidean distance of the means."""

    title: str = "Evidently, distance"
    limit: float = 0.2
    rows: int = 5000
    most: int = 1000

    def judge(self, reference: Vectors) -> Judge:
        return _Called(evidently.DistanceDriftMethod(), reference)


@dataclass(frozen=True)
class EvidentlyRatio:
    """Share of the dimensions whose Wasserstein distance is above a tenth of their deviation."""

    title: str = "Evidently, ratio"
    limit: float = 0.2
    rows: int = 1000
    most: int = 3

    def judge(self, reference: Vectors) -> Judge:
        return _Called(evidently.RatioDriftMethod(), reference)
