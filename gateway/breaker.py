"""The circuit breaker of one engine: closed, open, half-open (M. Nygard, "Release It!").

A refused connection opens it at once. Other faults open it when several come in a row. While it is
open nothing is sent; once its time is over, or a free health check succeeds, one request goes as a
probe: if that succeeds the breaker closes, otherwise it opens for twice as long.
"""

from typing import Literal

_FAULTS_IN_A_ROW = 5
_FIRST_OPEN_S, _LAST_OPEN_S = 0.5, 15.0

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Decides whether requests may go to an engine; times are seconds of one clock."""

    __slots__ = ("_failed_checks", "_faults", "_open_s", "_probing", "_until")

    def __init__(self) -> None:
        self._faults = 0
        self._failed_checks = 0
        self._until = 0.0
        self._open_s = 0.0  # 0: closed
        self._probing = False

    def allows(self, now: float) -> bool:
        """Return whether a request may be sent."""
        return not self._open_s or (now >= self._until and not self._probing)

    def state(self, now: float) -> State:
        """Return the state's name."""
        if not self._open_s:
            return "closed"
        return "half_open" if now >= self._until else "open"

    def is_ill(self) -> bool:
        """Return whether the engine failed its last health check."""
        return self._failed_checks > 0

    def opens_in(self, now: float) -> float:
        """Return after how many seconds a request may be sent."""
        return max(0.0, self._until - now) if self._open_s else 0.0

    def sent(self) -> bool:
        """Take note of a request; returns whether it is the probe of the half-open state."""
        if self._open_s and not self._probing:
            self._probing = True
            return True
        return False

    def answered(self) -> None:
        """The engine began a good answer: others need not wait until a long stream ends."""
        self._open_s = 0.0
        self._probing = False

    def succeeded(self) -> None:
        """The engine did its work."""
        self._faults = 0
        self._open_s = 0.0
        self._probing = False

    def failed(self, now: float, *, probe: bool = True, refused: bool = False) -> None:
        """The engine did not do its work.

        Args:
            now: The time.
            probe: What `sent` said of the request.
            refused: The engine did not even take the connection.
        """
        self._faults += 1
        if probe:
            self._probing = False
        if refused or self._open_s or self._faults >= _FAULTS_IN_A_ROW:
            self._open(now)

    def let_go(self, *, probe: bool = True) -> None:
        """A request ended without saying anything about the engine (its client left)."""
        if probe:
            self._probing = False

    def checked(self, healthy: bool, now: float) -> None:
        """Take in a health check: two bad ones in a row open, a good one allows a probe."""
        if healthy:
            self._failed_checks = 0
            self._until = min(self._until, now)
        else:
            self._failed_checks += 1
            if self._open_s or self._failed_checks >= 2:
                self._open(now)

    def _open(self, now: float) -> None:
        if self._open_s and now < self._until:
            return  # it is open already: requests that were under way add nothing
        self._open_s = min(self._open_s * 2 or _FIRST_OPEN_S, _LAST_OPEN_S)
        self._until = now + self._open_s
