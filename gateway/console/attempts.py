"""How often somebody may try to log in and fail."""

import time
from collections import OrderedDict

_MOST, _WITHIN_S = 10, 300.0
_MOST_CLIENTS = 10_000


class Attempts:
    """Failed log-ins of the last minutes by the address of the client, in one worker.

    Keys are 256 random bits, so this is not what keeps them from being guessed: it keeps the log
    readable and the guesser slow.
    """

    def __init__(self) -> None:
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def wait_s(self, client: str) -> int:
        """Return how long a client must wait before it may try again, in seconds; 0: not at all."""
        recent = self._recent(client)
        if len(recent) < _MOST:
            return 0
        return max(1, int(recent[0] + _WITHIN_S - time.monotonic()) + 1)

    def failed(self, client: str) -> None:
        """Note a failed log-in."""
        recent = [*self._recent(client), time.monotonic()]
        self._failed[client] = recent[-_MOST:]
        self._failed.move_to_end(client)
        while len(self._failed) > _MOST_CLIENTS:
            self._failed.popitem(last=False)

    def _recent(self, client: str) -> list[float]:
        since = time.monotonic() - _WITHIN_S
        recent = [at for at in self._failed.get(client, ()) if at > since]
        if not recent:
            self._failed.pop(client, None)
        return recent
