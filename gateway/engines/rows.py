"""Writes the rows of a host's engines into the store, and goes on when the store is away."""

import asyncio
import contextlib
import logging
from typing import Protocol

from gateway.store.database import StoreError
from gateway.store.engines import Engine

_log = logging.getLogger(__name__)
_RETRY_S = 0.5


class EngineRows(Protocol):
    """The part of `store.engines.Engines` that the launcher writes."""

    def put(self, engine: Engine) -> None: ...

    def remove(self, host: str, slot: str) -> None: ...

    def all(self) -> list[Engine]: ...


class RowWriter:
    """Writes what changed, in the order of the changes; of a slot only the newest state counts."""

    def __init__(self, rows: EngineRows, host: str) -> None:
        self._rows = rows
        self._host = host
        self._pending: dict[str, Engine | None] = {}  # by slot; None: remove its row
        self._changed = asyncio.Event()
        self._written = asyncio.Event()

    def change(self, slot: str, row: Engine | None) -> None:
        """Have a slot's row written, or (None) removed."""
        self._pending[slot] = row
        self._changed.set()

    async def clear(self, stop: asyncio.Event) -> None:
        """Have the rows removed that a launcher left which crashed; ends early at `stop`."""
        while not stop.is_set():
            try:
                rows = await asyncio.to_thread(self._rows.all)
            except StoreError as error:
                _log.warning("engines wait for the store: %s", error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _RETRY_S)
            else:
                for row in rows:
                    if row.host == self._host:
                        self.change(row.slot, None)
                return

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._pending:
                slot = next(iter(self._pending))
                row = self._pending.pop(slot)
                try:
                    if row is None:
                        await asyncio.to_thread(self._rows.remove, self._host, slot)
                    else:
                        await asyncio.to_thread(self._rows.put, row)
                except StoreError as error:
                    # First again, for a swap ends after the new engine's row; a newer state stays.
                    self._pending = {slot: row} | self._pending
                    _log.warning("the state of engine %s is not stored yet: %s", slot, error)
                    await asyncio.sleep(_RETRY_S)
            self._written.set()

    async def drain(self, limit_s: float) -> None:
        """Wait until everything is written, for at most `limit_s` seconds."""
        self._written.clear()
        self._changed.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._written.wait(), limit_s)
