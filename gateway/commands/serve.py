"""`driftgate serve`: everything on one machine, from an empty folder to a curl line that works."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.panel import Panel

from gateway.commands.gateway import refuse_open_binding
from gateway.commands.models import ensure_embedder, ensure_model
from gateway.engines.kinds import build_launcher
from gateway.engines.launcher import LauncherRunning
from gateway.first_key import first_key
from gateway.hub import HubError
from gateway.server import bind
from gateway.settings import Settings
from gateway.stack import Stack
from gateway.store.database import Database, StoreError
from gateway.store.engines import Engine
from gateway.store.keys import Keys

app = typer.Typer()
_CURL = """curl {url}/v1/chat/completions \\
  -H "Authorization: Bearer {key}" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "production", "temperature": 0, "messages": \
[{{"role": "user", "content": "What is the capital of France?"}}]}}'"""


class Steps:
    """Shows what is being done, then a tick and the seconds that it took."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self._label = ""
        self._status = self.console.status("")

    @contextlib.contextmanager
    def step(self, label: str) -> Iterator[None]:
        """Show `label` while the block runs."""
        started = time.monotonic()
        self.tell(label)
        if not self.console.is_terminal:
            self.console.print(f"… {label}")
        with self._status:
            yield
        seconds = time.monotonic() - started
        self.console.print(f"[green]✓[/] {label} [dim]({seconds:.1f} s)[/]")

    def tell(self, text: str) -> None:
        """Change what is shown beside the spinner."""
        self._status.update(text)


@app.command("serve", epilog="Example: driftgate serve --engine echo")
def serve(
    engine: Annotated[
        Literal["vllm", "echo"] | None,
        typer.Option(help="What runs the release; default: the setting DRIFTGATE_ENGINE."),
    ] = None,
) -> None:
    """Set up what is missing and serve: model, database, first key, engine, gateway."""
    settings = Settings() if engine is None else Settings(engine=engine)
    steps = Steps()
    try:
        status = _serve(settings, steps)
    except (HubError, StoreError, LauncherRunning) as error:
        steps.console.print(f"[red]✗[/] {error}", soft_wrap=True)
        status = 1
    except OSError as error:
        steps.console.print(f"[red]✗[/] {error}", soft_wrap=True)
        status = 1
    raise typer.Exit(status)


def _serve(settings: Settings, steps: Steps) -> int:
    settings.home.mkdir(parents=True, mode=0o700, exist_ok=True)
    try:
        bind(settings.host, settings.port)[0].close()  # better told now than in the gateway's log
    except OSError as error:
        steps.console.print(
            f"[red]✗[/] {settings.url()} cannot be served: {error.strerror}. "
            "DRIFTGATE_HOST and DRIFTGATE_PORT choose another address.",
            soft_wrap=True,
        )
        return 1
    with steps.step("database"):
        database = Database(settings.resolved_database_url())
        database.migrate()
    keys = Keys(database)
    key = first_key(settings.home.absolute(), keys)
    refuse_open_binding(settings, keys)
    with steps.step(f"model {settings.model}"):
        release = ensure_model(settings, steps.tell)
    embedder: Path | None = None
    if settings.embedder:
        with steps.step(f"embedder {settings.embedder}"):
            embedder = ensure_embedder(settings, steps.tell)
    label = f"engine {settings.engine}, release {release.id}"

    def show(change: Engine) -> None:
        steps.tell(f"{label}: {change.slot} {change.state.value}")
        if change.error:
            steps.console.print(f"[yellow]![/] engine {change.slot}: {change.error}")

    launcher = build_launcher(settings, database, on_change=show)
    stack = Stack(settings, launcher, embedder)
    return asyncio.run(_run(stack, settings, steps, label, key))


async def _run(stack: Stack, settings: Settings, steps: Steps, label: str, key: str | None) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    running = asyncio.create_task(stack.run(stop))
    ready = asyncio.create_task(stack.until_ready())
    with steps.step(label):
        await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            await running  # tells what went wrong, where something did
            return 1
    _welcome(settings, steps.console, key)
    await stop.wait()
    steps.console.print("stopping: streams may finish …")
    await running
    return 0


def _welcome(settings: Settings, console: Console, key: str | None) -> None:
    url = settings.url()
    console.print()
    console.print(Panel.fit(f"[bold]Driftgate serves {url}/v1[/]  (docs: {url}/docs)"))
    # Printed raw: a wrapped or styled line would not work as pasted.
    out = sys.stdout
    out.write(f"Console: {url}/console (log in with the key)\n")
    if key is None:
        out.write("Use one of your keys (`driftgate keys list`).\n")
    else:
        out.write(f"API key: {key}\n")
    out.write("\nTry it:\n\n" + _CURL.format(url=url, key=key or "$DRIFTGATE_API_KEY") + "\n\n")
    out.write("Ctrl-C stops everything.\n")
    out.flush()
