"""Runs the gateway's processes: N workers, each with a listening socket, and the recorder.

The parent holds the sockets and no state. It restarts what dies, and on SIGHUP replaces the workers
one by one, each only once its successor takes requests: a new configuration without a lost
connection. The sockets stay open meanwhile, so what waits to be accepted waits on.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from pathlib import Path
from typing import Any

from gateway.settings import Settings

BACKLOG = 4096
_FIRST_DELAY_S, _LAST_DELAY_S, _HEALTHY_S = 0.2, 10.0, 10.0
_START_WITHIN_S = 60.0
_FINISH_S = 8.0
_WORKER, _RECORDER = "gateway.worker", "gateway.recorder"


def serve(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status.

    Raises:
        OSError: The address cannot be bound.
    """
    listeners = bind(settings.host, settings.port, settings.workers)
    # Containers that share the folder may have the same process ids.
    folder = settings.run_dir() / f"metrics-{socket.gethostname()}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    try:
        asyncio.run(_Supervisor(folder, settings).run(listeners))
    finally:
        for listener in listeners:
            listener.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def bind(host: str, port: int, count: int = 1) -> list[socket.socket]:
    """Return listening TCP sockets on one address, among which the kernel spreads connections.

    A shared socket would not do: the worker that wakes first takes all that wait.
    """
    first = _bound(host, port, shared=False)  # tells whether another program has the port
    if count == 1:
        return _listening([first])
    port = first.getsockname()[1]
    first.close()
    listeners: list[socket.socket] = []
    try:
        for _ in range(count):
            listeners.append(_bound(host, port, shared=True))
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return _listening(listeners)


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _listening(listeners: list[socket.socket]) -> list[socket.socket]:
    for listener in listeners:
        try:
            listener.listen(BACKLOG)
        except OSError:
            for each in listeners:
                each.close()
            raise
    return listeners


class _Supervisor:
    def __init__(self, metrics: Path, settings: Settings) -> None:
        self._metrics = metrics
        self._drain_delay_s = settings.drain_delay_s
        # A thread of a worker may hang in a store that is stalled.
        self._stop_within_s = settings.drain_delay_s + settings.drain_timeout_s + _FINISH_S
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._generation = 0
        self._one_at_a_time = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()

    async def run(self, listeners: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._next_generation)
        recorder_stop = asyncio.Event()
        recorder = asyncio.create_task(self._keep(_RECORDER, None, recorder_stop))
        closing = asyncio.create_task(self._close(listeners))
        await asyncio.gather(*(self._keep(_WORKER, each, self._stop) for each in listeners))
        closing.cancel()
        await asyncio.gather(*self._retiring)
        recorder_stop.set()  # after the last worker has written what it had
        await recorder

    async def _close(self, listeners: list[socket.socket]) -> None:
        """Close the sockets when the workers do, so that nobody waits in them for an answer."""
        await self._stop.wait()
        await asyncio.sleep(self._drain_delay_s)
        for listener in listeners:
            listener.close()

    def _next_generation(self) -> None:
        self._generation += 1
        self._reload.set()
        self._reload = asyncio.Event()  # for the one after

    async def _changed(self, generation: int) -> None:
        if self._generation == generation:
            await self._reload.wait()

    async def _keep(self, module: str, listener: socket.socket | None, stop: asyncio.Event) -> None:
        """Keep one process running until `stop`, and replace it at each new generation."""
        delay = _FIRST_DELAY_S
        stopped = asyncio.create_task(stop.wait())
        generation = self._generation
        process = await self._start(module, listener)
        started = time.monotonic()
        while True:
            ended = asyncio.create_task(process.wait())
            changed = asyncio.create_task(self._changed(generation))
            await asyncio.wait({ended, stopped, changed}, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            if stop.is_set():
                _terminate(process)
                await self._gone(process, ended)
                return
            if changed.done() and not ended.done():
                generation = self._generation
                process = await self._replace(module, listener, process, ended)
                continue
            self._forget_gauges(process.pid)
            _say(f"{module} ended with {process.returncode}; starting another")
            healthy = time.monotonic() - started > _HEALTHY_S
            delay = _FIRST_DELAY_S if healthy else min(delay * 2, _LAST_DELAY_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), delay)
            if stop.is_set():
                return
            generation = self._generation
            process = await self._start(module, listener)
            started = time.monotonic()

    async def _start(self, module: str, listener: socket.socket | None) -> Process:
        process, ready = await self._spawn(module, listener)
        os.close(ready)
        return process

    async def _spawn(self, module: str, listener: socket.socket | None) -> tuple[Process, int]:
        ready, told = os.pipe()
        descriptors = [str(listener.fileno()), str(told)] if listener is not None else []
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, *descriptors, pass_fds=[int(d) for d in descriptors]
            )
        except BaseException:
            os.close(ready)
            raise
        finally:
            os.close(told)
        return process, ready

    async def _replace(
        self,
        module: str,
        listener: socket.socket | None,
        old: Process,
        ended: "asyncio.Task[int]",
    ) -> Process:
        """Start a successor and retire the old process, or keep it where the successor fails."""
        async with self._one_at_a_time:
            new, ready = await self._spawn(module, listener)
            try:
                # Without a socket there is nothing to hand over: it need not be waited for.
                begun = listener is None or await self._begun(ready)
            finally:
                os.close(ready)
            if not begun:
                _say(f"the new {module} did not start; the old one stays")
                _terminate(new)
                await self._gone(new, asyncio.create_task(new.wait()))
                ended.cancel()
                return old
        _terminate(old)
        retiring = asyncio.create_task(self._gone(old, ended))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)
        return new

    async def _begun(self, ready: int) -> bool:
        """Wait for the byte that a worker writes once it takes requests; False where none comes."""
        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[Any] = loop.create_future()

        def read() -> None:
            if not arrived.done():
                arrived.set_result(bool(os.read(ready, 1)))

        loop.add_reader(ready, read)
        stopped: asyncio.Future[Any] = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait(
                {arrived, stopped}, timeout=_START_WITHIN_S, return_when=asyncio.FIRST_COMPLETED
            )
            return arrived.done() and bool(arrived.result())
        finally:
            stopped.cancel()
            loop.remove_reader(ready)

    async def _gone(self, process: Process, ended: "asyncio.Task[int]") -> None:
        """Wait for a process that was told to end, and kill it where it hangs."""
        await asyncio.wait({ended}, timeout=self._stop_within_s)
        if not ended.done():
            _say(f"process {process.pid} did not stop in {self._stop_within_s:g} s; it is killed")
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await ended
        self._forget_gauges(process.pid)

    def _forget_gauges(self, pid: int) -> None:
        """Drop a dead process's live gauges, as prometheus_client's `mark_process_dead` does."""
        for file in self._metrics.glob(f"gauge_live*_{pid}.db"):
            file.unlink(missing_ok=True)


def _terminate(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
