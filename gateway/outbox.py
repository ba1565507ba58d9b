"""Writes of one turn of the event loop, made together at its end.

A write to a socket also wakes the process at its other end. Between two writes of one turn that
process would finish and sleep again; made back to back they find it awake, which costs a quarter
less (`ARCHITECTURE.md`). A turn with one event is not slower by more than a call.
"""

import asyncio
import logging

_log = logging.getLogger(__name__)


class Outbox:
    """The writes that wait for the end of the turn."""

    __slots__ = ("_loop", "_pending")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pending: list[tuple[asyncio.Transport, bytes]] = []

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write at the end of this turn."""
        if not self._pending:
            self._loop.call_soon(self.flush)
        self._pending.append((transport, data))

    def flush(self) -> None:
        """Write now; needed before a transport is closed."""
        pending, self._pending = self._pending, []
        for transport, data in pending:
            if transport.is_closing():
                continue
            try:
                transport.write(data)
            except Exception:
                # The others' writes must not be lost with this one.
                _log.exception("a write failed")
                transport.abort()
