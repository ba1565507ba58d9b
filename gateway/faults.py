"""What a client is told when an engine fails: foreign errors become the gateway's own."""

from gateway import sse
from gateway.connection import BadAnswer, UpstreamError, UpstreamTimeout
from gateway.errors import (
    EngineFailed,
    EngineTimeout,
    GatewayError,
    InvalidRequest,
    NotFound,
    Unavailable,
)


class EngineError(UpstreamError):
    """The engine answered with a server error: its own fault, not the request's."""


class Overloaded(Exception):
    """The engine has too much to do; it is not broken.

    Attributes:
        answer: What the client is told, where no other engine takes the request.
    """

    def __init__(self, answer: GatewayError) -> None:
        super().__init__(answer.message)
        self.answer = answer


def refusal(status: int, document: bytes) -> Exception:
    """Return the error for an engine's answer that is not 200.

    A GatewayError is final, since any engine would say the same; after the others another engine
    may be tried.
    """
    message = sse.engine_message(document)
    if status == 404:
        return NotFound(message, code="engine_not_found")
    if status in (429, 503):
        return Overloaded(Unavailable(message, code="engine_overloaded", retry_after=1))
    if 400 <= status < 500:
        return InvalidRequest(message, code="engine_rejected")
    return EngineError(message)


def translate(error: UpstreamError) -> EngineFailed | Unavailable | EngineTimeout:
    """Return what a client is told of a failed exchange."""
    if isinstance(error, UpstreamTimeout):
        return EngineTimeout(f"No answer in time: {error}.", code="engine_timeout")
    if isinstance(error, EngineError):
        return EngineFailed(str(error), code="engine_error")
    if isinstance(error, BadAnswer):
        return EngineFailed(f"Bad answer: {error}.", code="engine_error")
    return Unavailable(
        "The engine went away. Try again shortly.", code="engine_unavailable", retry_after=2
    )
