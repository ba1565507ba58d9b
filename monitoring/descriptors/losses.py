"""The harm signals of one request: losses between 0 and 1."""

import math

from monitoring.descriptors.described import Descriptors, describe
from monitoring.requests import Request


def losses(request: Request) -> dict[str, float]:
    """Return the losses that are known of a request, by harm signal.

    `format`: JSON was asked for and did not come. `refusal`: the answer declines. `ungrounded`: the
    share of its sentences that no passage says. `feedback`: 1 minus the score that people gave.
    `failed`: it ended in an error.
    """
    return of(describe(request))


def of(described: Descriptors) -> dict[str, float]:
    """Return the losses of what was described already."""
    found = {
        "format": described.format_failure,
        "refusal": described.refusal,
        "ungrounded": described.ungrounded,
        "feedback": 1 - described.feedback,
        "failed": described.failed,
    }
    return {name: loss for name, loss in found.items() if not math.isnan(loss)}
