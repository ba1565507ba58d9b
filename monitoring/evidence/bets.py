"""Bets against "nothing has changed", as logarithms of e-values."""

import numpy as np

from monitoring.evidence.conformal import Floats

POWERS = (0.1, 0.2, 0.35, 0.5, 0.7)
SHARES = (0.02, 0.05, 0.1, 0.2, 0.5)
_LEAST_P = 1e-6


def on_p_values(p: Floats) -> Floats:
    """Return what each bet on a window of p-values becomes, as a logarithm.

    Each bet says: a share s of the window is drawn from something new, whose p-values have the
    density k p^(k-1), and the rest is as ever. Per request that is 1 - s + s k p^(k-1), of mean 1
    for uniform p-values and of a mean below 1 for larger ones. Which s and k are right is not
    known, so all are kept, and their average is taken in the end.

    Source: Vovk, Nouretdinov and Gammerman, "Testing exchangeability on-line", ICML 2003 (power
    martingales); the share makes it a test of a mixture.

    Args:
        p: The p-values of a window, each uniform, or larger, while nothing has changed.

    Returns:
        Shape (len(POWERS) * len(SHARES),).
    """
    powers = np.asarray(POWERS)[:, None]
    shares = np.asarray(SHARES)[None, :, None]
    densities = powers * np.maximum(p, _LEAST_P)[None, :] ** (powers - 1)
    worth: Floats = np.log1p(shares * (densities[:, None, :] - 1)).sum(axis=2).ravel()
    return worth


BETS = len(POWERS) * len(SHARES)
"""How many bets `on_p_values` makes."""


def mean_of_logs(logs: Floats) -> float:
    """Return the logarithm of the mean of e-values, given as logarithms."""
    top = float(logs.max())
    return top + float(np.log(np.exp(logs - top).mean()))
