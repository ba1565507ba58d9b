"""What all client connections of one worker share: who answers, the limits, and the drain."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Protocol

from gateway.call import Call
from gateway.errors import GatewayError
from gateway.flow import Deadlines
from gateway.tracing.context import Sampler

_SWEEP_S = 0.25


class Hot(Protocol):
    """What answers the hot calls: the relay."""

    @property
    def urls(self) -> Mapping[bytes, str]:
        """The paths whose POST it answers, by how they are spelt in a request."""

    def begin(self, call: Call) -> None:
        """Answer a call; it ends by the call's own methods."""

    def refuses(self, call: Call) -> GatewayError | None:
        """Return why the caller is refused, known from the head alone."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Limits towards clients; see the settings of the same names."""

    connections: int
    body_bytes: int
    header_timeout_s: float
    body_timeout_s: float
    keep_alive_s: float


class Connection(Protocol):
    """A client's connection, as the sweep sees it."""

    def check(self, now: float) -> None:
        """End what takes too long."""


@dataclass(slots=True)
class Front:
    """What all connections of one worker share."""

    hot: Hot
    deadlines: Deadlines
    limits: ClientLimits
    # Begins the trace of each request; None: requests are not traced.
    sampler: Sampler | None = None
    # What each answer looks at.
    draining: bool = False
    date_line: bytes = b""
    connections: "set[Connection]" = field(default_factory=set)
    _next_sweep: float = 0.0

    def sweep(self, now: float) -> None:
        """End what takes too long and look at the clock; call it often with the loop's time."""
        if now < self._next_sweep:
            return
        self._next_sweep = now + _SWEEP_S
        self.date_line = b"date: %b\r\n" % formatdate(usegmt=True).encode()
        for connection in list(self.connections):
            connection.check(now)
