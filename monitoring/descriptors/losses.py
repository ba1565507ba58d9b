"""The harm signals of one request: losses between 0 and 1."""

import math

from monitoring.descriptors.described import (
    format_failed,
    has_failed,
    refused,
    share,
    ungrounded,
)
from monitoring.requests import Request


def losses(request: Request) -> dict[str, float]:
    """Return the losses that are known of a request, by harm signal.

    `format`: JSON was asked for and did not come. `refusal`: the answer declines. `ungrounded`: the
    share of its sentences that no passage says. `feedback`: 1 minus the score that people gave.
    `failed`: it ended in an error.
    """
    found = {
        "format": format_failed(request),
        "refusal": refused(request),
        "ungrounded": ungrounded(request),
        "feedback": 1 - share(request.score),
        "failed": has_failed(request),
    }
    return {name: loss for name, loss in found.items() if not math.isnan(loss)}
