"""`driftgate engines`: the launcher alone, for hosts that only run engines; and what runs."""

import asyncio
import json
import logging
import signal
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.commands.models import ensure_model
from gateway.engines.kinds import build_launcher
from gateway.engines.launcher import Launcher, LauncherRunning
from gateway.hub import HubError
from gateway.settings import Settings
from gateway.store.database import Database, StoreError
from gateway.store.engines import Engines

app = typer.Typer(help="The processes that run releases.", no_args_is_help=True)


@app.command(epilog="Example: driftgate engines run")
def run() -> None:
    """Keep an engine for each release that an alias points at, until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    settings = Settings()
    try:
        database = Database(settings.resolved_database_url())
        database.migrate()
        ensure_model(settings, typer.echo)
        asyncio.run(_until_stopped(build_launcher(settings, database)))
    except (StoreError, HubError, LauncherRunning, OSError) as error:
        print(f"The engines cannot be run: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


@app.command("list", epilog="Example: driftgate engines list --json")
def list_engines(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the engines of all hosts and their state."""
    try:
        database = Database(Settings().resolved_database_url())
        database.migrate()
        engines = Engines(database).all()
    except StoreError as error:
        print(f"The store cannot be opened: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps([asdict(engine) for engine in engines], indent=2))
        return
    table = Table("host", "slot", "release", "state", "restarts", "pid", "error")
    for e in engines:
        reason = e.error.splitlines()[0] if e.error else ""
        table.add_row(
            e.host, e.slot, e.release, e.state.value, str(e.restarts), str(e.pid or ""), reason
        )
    Console().print(table)


async def _until_stopped(launcher: Launcher) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await launcher.run(stop)
