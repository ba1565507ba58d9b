"""One worker process: `python -m gateway.worker LISTENER READY`, started by `gateway.server`.

`LISTENER` is the number of the listening socket's file descriptor, `READY` that of a pipe, to which
a byte is written once requests are taken. SIGTERM drains: `/health/ready` says no, answers close
their connections, after a delay nothing new is taken, what is under way finishes.
"""

import asyncio
import contextlib
import gc
import math
import os
import signal
import socket
import sys
import time
from types import FrameType
from typing import Any, cast

import uvicorn

from gateway.app import create_gateway
from gateway.front import Front
from gateway.http import ClientConnection
from gateway.lifeline import die_with_parent
from gateway.server import BACKLOG
from gateway.settings import Settings


class _Server(uvicorn.Server):
    """uvicorn's server with the two steps of a drain."""

    def __init__(self, config: uvicorn.Config, front: Front, delay_s: float, ready: int) -> None:
        super().__init__(config)
        self._front = front
        self._delay_s = delay_s
        self._ready = ready
        self._leave_at = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What lives now lives on: the collector need not look at it again and again. With rarer
        # collections the cycles that trips to the ledger leave behind added up to 8 MB.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)
        with contextlib.suppress(BrokenPipeError):  # nobody waits for a first start
            os.write(self._ready, b"1")
        os.close(self._ready)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.started:
            os._exit(0)  # it waits for its store and has nothing to finish
        if self._front.draining and sig == signal.SIGINT:
            self.should_exit = self.force_exit = True
        elif not self._front.draining:
            self._front.draining = True
            self._leave_at = time.monotonic() + self._delay_s

    async def on_tick(self, counter: int) -> bool:
        leaves = self._front.draining and time.monotonic() >= self._leave_at
        return await super().on_tick(counter) or leaves


def _protocol(front: Front) -> type[asyncio.Protocol]:
    """Return what uvicorn takes as its `http` protocol class."""

    def build(**arguments: Any) -> ClientConnection:
        return ClientConnection(front, **arguments)

    return cast(type[asyncio.Protocol], build)


def work(settings: Settings, listener: socket.socket, ready: int) -> None:
    """Serve the socket until SIGTERM, then let streams finish."""
    gateway = create_gateway(settings)
    config = uvicorn.Config(
        gateway.api,
        loop="uvloop",
        http=_protocol(gateway.front),
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=math.ceil(settings.drain_timeout_s),
        backlog=BACKLOG,
    )
    _Server(config, gateway.front, settings.drain_delay_s, ready).run(sockets=[listener])


if __name__ == "__main__":
    die_with_parent()
    work(Settings(), socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
