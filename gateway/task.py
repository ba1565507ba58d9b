"""One request on its way through the relay, and the limits that it meets there."""

import time
from dataclasses import dataclass

from gateway.call import Call
from gateway.grounding.editor import Editor
from gateway.routing import Route
from gateway.served import Served
from gateway.wire import InferenceRequest


class Task:
    """What the steps of one request hand on.

    Attributes:
        body: What is sent to the engine; empty where none is asked.
        frames: Content frames of the engine so far.
        editor: What the engine's answer goes through, where it is grounded or judged.
    """

    __slots__ = ("body", "call", "editor", "frames", "path", "request", "route", "served")

    def __init__(
        self,
        call: Call,
        request: InferenceRequest,
        route: Route,
        path: bytes,
        served: Served,
    ) -> None:
        self.call = call
        self.request = request
        self.route = route
        self.path = path
        self.body = request.for_engine(route.release)
        self.served = served
        if call.trace is not None:
            served.trace = call.trace
            call.trace.started_at = time.time() - (time.perf_counter() - call.started)
        self.frames = 0
        self.editor: Editor | None = None

    def charge(self) -> int | None:
        """Return the tokens to settle: the engine's count, else what was delivered, or None."""
        served = self.served
        if served.completion_tokens is not None:
            return (served.prompt_tokens or 0) + served.completion_tokens
        if served.outcome == "done" or self.frames:
            return self.request.prompt_estimate() + (self.frames or len(served.answer) // 4)
        return None


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes and times in seconds; see the settings of the same names."""

    response_bytes: int
    record_bytes: int
    connect_timeout_s: float
    first_token_timeout_s: float
    idle_timeout_s: float
    reserve_tokens: int
    prefix_affinity: bool
