"""Runs the gateway's workers: one listening socket, N processes, each restarted when it dies.

`serve` is the parent and holds no state. A worker is `python -m gateway.server FD`, which takes
its settings from the environment as the parent did.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

from gateway.lifeline import die_with_parent
from gateway.settings import Settings

_BACKLOG = 2048
_FIRST_DELAY_S, _LAST_DELAY_S, _HEALTHY_S = 0.2, 10.0, 10.0


def serve(settings: Settings) -> int:
    """Run the workers until SIGTERM or SIGINT; returns the exit status.

    Raises:
        OSError: The address cannot be bound.
    """
    listener = bind(settings.host, settings.port)
    folder = settings.run_dir() / f"metrics-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    try:
        asyncio.run(_supervise(listener, settings.workers, folder))
    finally:
        listener.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def bind(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


async def _supervise(listener: socket.socket, workers: int, metrics: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await asyncio.gather(*(_keep_alive(listener.fileno(), stop, metrics) for _ in range(workers)))


async def _keep_alive(fd: int, stop: asyncio.Event, metrics: Path) -> None:
    delay = _FIRST_DELAY_S
    stopped = asyncio.create_task(stop.wait())
    while not stop.is_set():
        started = time.monotonic()
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway.server", str(fd), pass_fds=(fd,)
        )
        ended = asyncio.create_task(worker.wait())
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            with contextlib.suppress(ProcessLookupError):
                worker.terminate()
            await ended
            return
        _forget_gauges(metrics, worker.pid)
        print(f"a gateway worker ended with {worker.returncode}; starting another", file=sys.stderr)
        delay = _FIRST_DELAY_S if time.monotonic() - started > _HEALTHY_S else delay * 2
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), min(delay, _LAST_DELAY_S))


def _forget_gauges(metrics: Path, pid: int) -> None:
    """Drop a dead worker's live gauges, as prometheus_client's `mark_process_dead` does."""
    for file in metrics.glob(f"gauge_live*_{pid}.db"):
        file.unlink(missing_ok=True)


def work(settings: Settings, listener: socket.socket) -> None:
    """Be one worker: serve the socket until SIGTERM, then let streams finish."""
    import uvicorn  # the parent stays small

    from gateway.app import create_app

    config = uvicorn.Config(
        create_app(settings),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(settings.drain_timeout_s),
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    die_with_parent()
    work(Settings(), socket.socket(fileno=int(sys.argv[1])))
