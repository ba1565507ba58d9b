"""The scripted engine as a process, to be killed and stopped.

`python -m loadtests.chaos.engine_process --port PORT`
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator

from loadtests.bench.process import ROOT, StartFailed, free_port
from loadtests.chaos.engine import ScriptedEngine

_START_S = 20.0


class EngineProcess:
    """The scripted engine as a process, which can be killed, stopped and started again."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it and wait until it takes connections; raises StartFailed."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "loadtests.chaos.engine_process",
            "--port",
            str(self.port),
            cwd=ROOT,
        )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                if time.monotonic() > deadline or self._process.returncode is not None:
                    raise StartFailed("the scripted engine did not start") from None
                await asyncio.sleep(0.02)
            else:
                writer.close()
                await writer.wait_closed()
                return

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        """Kill it and wait until it is gone."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


@contextlib.asynccontextmanager
async def processes(count: int) -> AsyncIterator[list[EngineProcess]]:
    """Run so many engines, each a process."""
    engines = [EngineProcess() for _ in range(count)]
    try:
        await asyncio.gather(*(engine.start() for engine in engines))
        yield engines
    finally:
        for engine in engines:
            await engine.kill()


async def _serve(port: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with ScriptedEngine(port):
        await stop.wait()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.chaos.engine_process")
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
