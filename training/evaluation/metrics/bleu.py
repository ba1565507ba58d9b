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
    sums = resampling_weights(len(rows), seed) @ rows
    return np.array([_bleu(row) for row in sums])


def difference(candidate: Counts, baseline: Counts, seed: int, level: float = 0.9) -> Interval:
    """Return candidate - baseline with the interval of the paired bootstrap."""
    value = _bleu(candidate.sum(axis=0)) - _bleu(baseline.sum(axis=0))
    resampled = replicates(candidate, seed) - replicates(baseline, seed)
    return percentiles(value, resampled, len(candidate), level)


def _bleu(row: NDArray[np.float64]) -> float:
    from sacrebleu.metrics import BLEU

    whole = [round(value) for value in row]
    return float(
        BLEU.compute_bleu(whole[:4], whole[4:8], whole[8], whole[9], smooth_method="exp").score
    )
