"""`driftgate doctor`: what is well, what is not, and what to do about it."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.doctor import installation, machine, software
from gateway.doctor.finding import Finding
from gateway.settings import Settings
from retrieval.secret_files import FileSettings

app = typer.Typer()
_SHOWN = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


class MonitorPlace(FileSettings):
    """Where the monitor is; its package, which may not be installed, has the settings."""

    monitor_host: str = "127.0.0.1"
    monitor_port: int = 9465

    def url(self) -> str:
        """Return the address at which it is reached from this machine."""
        host = {"0.0.0.0": "127.0.0.1"}.get(self.monitor_host, self.monitor_host)  # noqa: S104
        return f"http://{host}:{self.monitor_port}"


@app.command("doctor", epilog="Example: driftgate doctor --json")
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Check machine, versions, ports, store, models and services; 1 where something fails."""
    settings = Settings()
    found = list(findings(settings, MonitorPlace()))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
    else:
        _show(found)
    raise typer.Exit(1 if any(each.state == "fail" for each in found) else 0)


def findings(settings: Settings, monitor: MonitorPlace) -> Iterator[Finding]:
    """Look at everything, one after the other."""
    seen = list(machine.look(settings.home, settings.kv_cache_gib))
    yield from seen
    card = next(each for each in seen if each.name == "GPU")
    yield from software.look(settings.engine, has_gpu=card.found != "none" and card.state == "ok")
    yield from installation.look(settings, monitor.url())


def _show(found: list[Finding]) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    for each in found:
        sign, colour = _SHOWN[each.state]
        told = Text(each.found)
        if each.todo:
            told.append(f"\n→ {each.todo}", style=colour)
        table.add_row(Text(sign, style=f"bold {colour}"), each.name, told)
    console = Console(highlight=False)
    console.print(table)
    failed = sum(each.state == "fail" for each in found)
    warned = sum(each.state == "warn" for each in found)
    if failed:
        console.print(f"[red]{failed} to be put right[/], {warned} to look at.")
    elif warned:
        console.print(f"It can serve; {warned} to look at.")
    else:
        console.print("[green]All is well.[/]")
