"""Several streams of evidence: one verdict for an alias, and which aliases to believe."""

import math
from collections.abc import Mapping


def average(e_values: Mapping[str, float]) -> float:
    """Return the mean of e-values of one alias: itself an e-value, however they depend.

    Source: Vovk and Wang, "E-values: calibration, combination and applications", Annals of
    Statistics 49 (2021), arXiv:1912.06116. Those that are no number are left out; without any
    there is no evidence, which is 1.
    """
    known = [value for value in e_values.values() if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else 1.0


def believed(e_values: Mapping[str, float], rate: float = 0.1) -> frozenset[str]:
    """Return whose evidence is believed: of these a share of at most `rate` is wrong on average.

    The e-BH procedure: the k largest, for the largest k whose k-th is at least n / (k rate).
    Source: Wang and Ramdas, "False discovery rate control with e-values", JRSS B 84 (2022),
    arXiv:2009.02824.
    """
    ranked = sorted(e_values.items(), key=lambda item: -item[1])
    most = 0
    for place, (_, value) in enumerate(ranked, 1):
        if value >= len(ranked) / (place * rate):
            most = place
    return frozenset(name for name, _ in ranked[:most])
