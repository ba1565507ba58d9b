"""What all client connections of one worker share: who answers, the limits, and the drain."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from gateway.call import Call
from gateway.errors import GatewayError
from gateway.flow import Deadlines

_SWEEP_S = 0.25


class Hot(Protocol):
    """What answers the hot calls: the relay."""

    @property
    def paths(self) -> Collection[str]:
        """The paths whose POST it answers."""

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
    draining: bool = False
    connections: "set[Connection]" = field(default_factory=set)
    _next_sweep: float = 0.0

    def sweep(self, now: float) -> None:
        """End what takes too long; call it often with the loop's time."""
        if now < self._next_sweep:
            return
        self._next_sweep = now + _SWEEP_S
        for connection in list(self.connections):
            connection.check(now)
