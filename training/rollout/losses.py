"""What counts as a failure of one request, in the canary and in the shadow."""

from monitoring.descriptors.described import format_failed, has_failed
from monitoring.descriptors.refusals import is_refusal
from monitoring.requests import Request


def failure(request: Request) -> float:
    """Return 1 where a request failed, else 0.

    It ended in an error that is not the client's, broke off, came back empty, declined what was
    asked, or is no JSON where JSON was asked for. A client that left before anything came had
    waited in vain; one that left later had seen enough.
    """
    if request.outcome == "cancelled":
        return float(request.ttft_s is None)
    if request.outcome != "done":
        return float(has_failed(request) == 1.0)
    answer = request.answer
    if answer is None:  # the log holds no texts
        return 0.0
    return float(not answer.strip() or is_refusal(answer) or format_failed(request) == 1.0)


def is_refused(request: Request) -> bool:
    """Return whether the answer declines what was asked."""
    return request.answer is not None and is_refusal(request.answer)
