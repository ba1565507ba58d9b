"""BLEU of a corpus with a bootstrap interval: sacrebleu's, which papers compare by.

Sources: Papineni et al., "BLEU" (2002); Post, "A call for clarity in reporting BLEU scores" (2018);
Koehn, "Statistical significance tests for machine translation evaluation" (2004).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.evaluation.intervals import Interval, percentiles, resampling_weights

Counts = NDArray[np.float64]


def counts(answers: Sequence[str], references: Sequence[str]) -> Counts:
    """Return what BLEU sums of each case, shape (cases, 10).

    The columns: matches of 1- to 4-grams, n-grams in the answer, lengths of answer and reference.
    """
    from sacrebleu.metrics import BLEU

    bleu = BLEU()
    rows = []
    for answer, reference in zip(answers, references, strict=True):
        found = bleu.corpus_score([answer], [[reference]])
        rows.append([*found.counts, *found.totals, found.sys_len, found.ref_len])
    return np.array(rows, dtype=float).reshape(len(rows), 10)


def corpus(rows: Counts, seed: int) -> Interval:
    """Return BLEU (0 to 100) of the cases together, with its percentile interval."""
    return percentiles(_bleu(rows.sum(axis=0)), replicates(rows, seed), len(rows))


def replicates(rows: Counts, seed: int) -> NDArray[np.float64]:
    """Return BLEU of each resample; the same seed draws the same cases, so two can be paired."""
    return _scores(resampling_weights(len(rows), seed) @ rows)


def difference(candidate: Counts, baseline: Counts, seed: int, level: float = 0.9) -> Interval:
    """Return candidate - baseline with the interval of the paired bootstrap."""
    value = _bleu(candidate.sum(axis=0)) - _bleu(baseline.sum(axis=0))
    resampled = replicates(candidate, seed) - replicates(baseline, seed)
    return percentiles(value, resampled, len(candidate), level)


def _bleu(sums: Counts) -> float:
    return float(_scores(sums[None, :])[0])


def _scores(sums: Counts) -> NDArray[np.float64]:
    """Return BLEU of each row of sums: sacrebleu's formula with its `exp` smoothing."""
    matches, totals, length, wanted = sums[:, :4], sums[:, 4:8], sums[:, 8], sums[:, 9]
    usable = (totals > 0).all(axis=1) & (matches > 0).any(axis=1)
    # The k-th order without a match counts as 1 / 2^k matches.
    empty = matches == 0
    smoothed = np.where(empty, 0.5 ** np.cumsum(empty, axis=1), matches)
    precision = smoothed / np.maximum(totals, 1)
    brevity = np.exp(np.minimum(0.0, 1 - wanted / np.maximum(length, 1)))
    found: NDArray[np.float64] = np.where(
        usable, 100 * brevity * np.exp(np.log(precision).mean(axis=1)), 0.0
    )
    return found
