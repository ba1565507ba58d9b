"""What a gateway under test is, as scenarios see it."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import httpx
import psutil

from gateway.store.database import Database

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Time limits in seconds, short so that a scenario is; `more` are Driftgate's own settings."""

    first_token_s: float = 2.0
    idle_s: float = 2.0
    more: Mapping[str, str] = field(default_factory=dict)


USUAL = Limits()


@dataclass(frozen=True)
class Running:
    """A gateway that serves.

    Args:
        name: Which one.
        url: Its address.
        headers: What each request must carry.
        model: The name by which it knows the engines' model.
        pid: Its first process.
        home: Its folder.
        log: Its output.
        database: Driftgate's store; None for others.
    """

    name: str
    url: str
    headers: Mapping[str, str]
    model: str
    pid: int
    home: Path
    log: Path
    database: Database | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def store(self) -> Database:
        """Return Driftgate's store."""
        assert self.database is not None, "only Driftgate has a store"
        return self.database

    def workers(self) -> list[psutil.Process]:
        """Return the processes that answer requests."""
        first = psutil.Process(self.pid)
        below = first.children(recursive=True)
        if self.database is None:
            return [first, *below]
        return [process for process in below if _is_worker(process)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "gateway.worker" in process.cmdline()
    except psutil.Error:  # it has just ended
        return False


class System(Protocol):
    """What scenarios are run against."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def note(self) -> str:
        """How it is set up, in a few words."""

    @property
    def has_store(self) -> bool:
        """Whether keys, traffic and charges are kept, and so can be looked at."""

    def start(
        self, engines: Sequence[str], limits: Limits = ...
    ) -> contextlib.AbstractAsyncContextManager[Running]:
        """Run it in front of engines at these URLs; raises StartFailed."""


@contextlib.contextmanager
def new_home() -> Iterator[Path]:
    """Make a folder, removed at the end."""
    home = Path(tempfile.mkdtemp(prefix="dg-chaos-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.asynccontextmanager
async def in_thread(manager: contextlib.AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave what blocks, while engines in this process go on answering."""
    entered = await asyncio.to_thread(manager.__enter__)
    try:
        yield entered
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


def is_up(url: str) -> bool:
    """Return whether a URL answers well now."""
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False
