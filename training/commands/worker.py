"""`driftgate worker`: train, roll out, and keep the loop going."""

import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field
from rich.console import Console
from rich.status import Status
from rich.text import Text

from gateway.store.database import StoreError
from gateway.store.job_events import JobEvent
from retrieval.secret_files import FileSettings
from training.lanes.places import LANES, WorkerConfig
from training.worker import Worker

app = typer.Typer()
_COLOURS = {"info": "default", "warn": "yellow", "error": "red"}


class _Places(FileSettings):
    """The gateway's settings that a worker shares."""

    home: Path = Path(".driftgate")
    models_dir: Path | None = None
    database_url: str = Field("", repr=False)
    port: int = 8080
    worker_gateway_url: str = ""


@app.command("worker", epilog="Example: driftgate worker --lane rollouts")
def worker(
    home: Annotated[
        Path | None, typer.Option(help="Folder of files and jobs; default: DRIFTGATE_HOME.")
    ] = None,
    models_dir: Annotated[
        Path | None, typer.Option(help="Folder of models; default: DRIFTGATE_MODELS_DIR.")
    ] = None,
    lane: Annotated[
        list[str] | None, typer.Option(help="Work only in this lane; may be given again.")
    ] = None,
) -> None:
    """Take up fine-tuning jobs one after the other, and every rollout, until SIGTERM or Ctrl-C.

    What is interrupted goes on at its unfinished step when a worker runs again. Start as many
    workers as the machine has room for.
    """
    places = _Places()
    home = (home or places.home).absolute()
    url = places.database_url or f"sqlite:///{home / 'driftgate.db'}"
    if unknown := set(lane or ()) - set(LANES):
        print(f"--lane: {min(unknown)} is none of {', '.join(LANES)}", file=sys.stderr)
        raise typer.Exit(2)
    config = WorkerConfig(
        url,
        home,
        models_dir or places.models_dir or home / "models",
        gateway_url=places.worker_gateway_url or f"http://127.0.0.1:{places.port}",
        lanes=tuple(lane or LANES),
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with _Display() as display:
            Worker(config, display.show).run(stop)
    except (StoreError, OSError, RuntimeError) as error:
        print(f"The worker cannot run: {error}", file=sys.stderr)
        raise typer.Exit(2) from None


class _Display:
    """Prints what happens in jobs; on a terminal the numbers of a step stay on one line."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False)
        self._status = Status("waiting for jobs", console=self._console)

    def __enter__(self) -> "_Display":
        if self._console.is_terminal:
            self._status.start()
        else:
            self._console.print("waiting for jobs")
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def show(self, event: JobEvent | None) -> None:
        """Show an event; None: there is no job."""
        if event is None:
            self._status.update("waiting for jobs")
            return
        line = f"{event.job}  {event.message}"
        self._status.update(Text(line.splitlines()[0]))
        if event.data is None or not self._console.is_terminal:
            self._console.print(line, style=_COLOURS[event.level], soft_wrap=True)
