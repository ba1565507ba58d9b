"""Everything on one machine: engines, retrieval service, worker, monitor and gateway.

`driftgate serve` runs this. The parts are processes of their own, each started through the guard,
so that none is left behind however this one ends.
"""

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import httpx

from gateway.engines.child import Child, last_lines, rotate
from gateway.engines.launcher import Launcher
from gateway.settings import Settings
from retrieval.client import RetrievalClient, RetrievalUnavailable

_log = logging.getLogger(__name__)
_FIRST_DELAY_S, _LAST_DELAY_S, _HEALTHY_S = 0.5, 10.0, 30.0


class Service:
    """One supporting process, started again when it ends.

    Args:
        name: What it is, for messages and for its log file.
        command: The program and its arguments.
        log: The file that its output is appended to.
        stop_timeout_s: Time it gets to finish, in seconds.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, stop_timeout_s: float) -> None:
        self.name = name
        self._command = command
        self._log = log
        self._stop_timeout_s = stop_timeout_s

    async def run(self, stop: asyncio.Event) -> None:
        """Keep it running until `stop` is set, then let it finish."""
        delay = _FIRST_DELAY_S
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            rotate(self._log)
            log_start = self._log.stat().st_size if self._log.exists() else 0
            started = time.monotonic()
            child = await Child.start(self._command, os.environ, self._log)
            ended = asyncio.create_task(child.wait())
            try:
                await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if stop.is_set():
                    child.terminate()
                    await asyncio.wait({ended}, timeout=self._stop_timeout_s)
                    return
            finally:
                await child.kill()
                ended.cancel()
            tail = last_lines(self._log, log_start)
            _log.warning(
                "the %s ended with %s; starting another\n%s", self.name, child.status, tail
            )
            healthy = time.monotonic() - started > _HEALTHY_S
            delay = _FIRST_DELAY_S if healthy else min(delay * 2, _LAST_DELAY_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), delay)


class Stack:
    """The parts of one machine, started together and stopped in the order that loses nothing."""

    def __init__(self, settings: Settings, launcher: Launcher, embedder: Path | None) -> None:
        logs = settings.home.absolute() / "logs"
        self._settings = settings
        self._launcher = launcher
        self._gateway = Service(
            "gateway",
            _driftgate("gateway"),
            logs / "gateway.log",
            settings.drain_delay_s + settings.drain_timeout_s + 15,
        )
        self._retrieval: Service | None = None
        self._socket: Path | None = None
        if embedder is not None:
            self._socket = settings.retrieval_socket()
            self._retrieval = Service(
                "retrieval service",
                _driftgate("retrieval", "serve", *_retrieval_options(settings, embedder)),
                logs / "retrieval.log",
                5.0,
            )
        self._worker: Service | None = None
        if settings.training_worker and settings.engine != "echo" and _can("worker", "dbos"):
            self._worker = Service("worker", _driftgate("worker"), logs / "worker.log", 15.0)
        self._monitor: Service | None = None
        if settings.monitor and self._retrieval is not None and _can("monitor", "sklearn"):
            command = _driftgate("monitor", "run")
            self._monitor = Service("monitor", command, logs / "monitor.log", 10.0)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set: the gateway finishes first, then what it relies on."""
        gateway_stop, rest_stop = stop, asyncio.Event()
        gateway = asyncio.create_task(self._gateway.run(gateway_stop))
        rest = [asyncio.create_task(self._launcher.run(rest_stop))]
        for service in (self._retrieval, self._worker, self._monitor):
            if service is not None:
                rest.append(asyncio.create_task(service.run(rest_stop)))
        stopping = asyncio.create_task(stop.wait())
        try:
            # A part that cannot go on (a second launcher, say) ends the whole.
            await asyncio.wait({gateway, *rest, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.set()
            await asyncio.gather(gateway, return_exceptions=True)
            rest_stop.set()
            results = await asyncio.gather(*rest, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def until_ready(self) -> None:
        """Wait until requests would be answered: chat, and embeddings where there are any."""
        if self._socket is not None:
            embedder = RetrievalClient(self._socket)
            while True:
                with contextlib.suppress(RetrievalUnavailable):
                    await embedder.info()
                    break
                await asyncio.sleep(0.1)
            await embedder.close()
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    answer = await client.get(f"{self._settings.url()}/health/ready")
                    if answer.status_code == 200:
                        return
                await asyncio.sleep(0.1)


def _retrieval_options(settings: Settings, embedder: Path) -> list[str]:
    options = {
        "--model": str(embedder),
        "--socket": str(settings.retrieval_socket()),
        "--indexes": str(settings.indexes_dir()),
        "--files": str(settings.files_dir()),
        "--reranker": settings.reranker,
    }
    return [part for name, value in options.items() if value for part in (name, value)]


def _can(command: str, module: str) -> bool:
    """Return whether a package's extra is installed; it is not imported here, but run."""
    commands = {point.name for point in entry_points(group="driftgate.commands")}
    return command in commands and find_spec(module) is not None


def _driftgate(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway.cli", *arguments]
