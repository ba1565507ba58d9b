"""`driftgate status`: the whole system on one screen."""

import json
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.commands.grounding import opened
from gateway.commands.standing import gather
from gateway.settings import Settings

app = typer.Typer()
_COLOURS = {
    "ready": "green", "HEALTHY": "green", "WARN": "yellow", "DEGRADED": "red", "RETRAINING": "cyan",
    "CANARY": "cyan", "unavailable": "red", "away": "red", "failed": "red", "starting": "cyan",
    "draining": "yellow", "paused": "yellow", "running": "cyan", "queued": "cyan",
}  # fmt: skip


@app.command("status", epilog="Example: driftgate status --watch 2")
def status(
    watch: Annotated[
        float | None,
        typer.Option(min=0.2, metavar="SECONDS", help="Look again every so often, until Ctrl-C."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the whole system: gateway, engines, aliases, rollouts, jobs, indexes, budgets."""
    settings = Settings()
    with opened() as database:
        seen = gather(database, settings)
        if as_json:
            typer.echo(json.dumps(seen, indent=2))
            return
        console = Console(highlight=False)
        if watch is None:
            console.print(_screen(seen))
            return
        try:
            with Live(_screen(seen), console=console, screen=console.is_terminal) as live:
                while True:
                    time.sleep(watch)
                    live.update(_screen(gather(database, settings)), refresh=True)
        except KeyboardInterrupt:
            return


def _screen(seen: dict[str, Any]) -> RenderableType:
    now = seen["at"]
    parts: list[RenderableType] = [_head(seen), _aliases(seen["aliases"])]
    parts.append(
        _table(
            ("engine", "state", "release", "since"),
            [
                (f"{e['host']} {e['slot']}", e["state"], e["release"] + _line(e["error"]),
                 _ago(now, e["updated_at"]))
                for e in seen["engines"]
            ],
        )
    )  # fmt: skip
    parts.append(
        _table(
            ("rollout", "state", "what", "since"),
            [
                (r["id"], r["status"], f"{r['candidate']} → {r['alias']}: {r['stage']}",
                 _ago(now, r["created_at"]))
                for r in seen["rollouts"]
            ],
        )
    )  # fmt: skip
    parts.append(
        _table(
            ("retraining", "state", "what", "since"),
            [
                (r["id"], r["status"],
                 f"{r['alias']}: {r['step'] or r['told'] or r['reason']}",
                 _ago(now, r["created_at"]))
                for r in seen["retraining"]
            ],
        )
    )  # fmt: skip
    parts.append(
        _table(
            ("job", "state", "what", "since"),
            [
                (j["id"], j["status"], f"{j['model']}" + _line(j["step"], ": "),
                 _ago(now, j["created_at"]))
                for j in seen["jobs"]
            ],
        )
    )  # fmt: skip
    parts.append(_table(("vector store", "files", "name"), [_store(s) for s in seen["stores"]]))
    parts.append(
        _table(
            ("key near its budget", "used", "of"),
            [
                (f"{b['key']} {b['name']}", f"{b['used'] / b['limit']:.0%}",
                 f"{b['limit']:,} tokens a {b['budget']}")
                for b in seen["budgets"]
            ],
        )
    )  # fmt: skip
    shown = [part for part in parts if not isinstance(part, Table) or part.row_count]
    return Group(*(each for part in shown for each in (part, Text())))


def _head(seen: dict[str, Any]) -> Text:
    gateway, hour, workers = seen["gateway"], seen["last_hour"], len(seen["workers"])
    line = Text("Driftgate ", style="bold")
    line.append(gateway["status"], style=_COLOURS.get(gateway["status"], ""))
    line.append(f"  {gateway['url']}, {_count(gateway['workers'], 'gateway worker')}, ")
    line.append(f"{_count(workers, 'training worker')}\n")
    line.append(f"last hour: {_count(hour['requests'], 'request')}, {hour['failed']:,} failed")
    if hour["p95_s"] is not None:
        line.append(f", p95 {hour['p95_s']:.2f} s")
    return line


def _aliases(aliases: list[dict[str, Any]]) -> Table:
    rows = []
    for each in aliases:
        targets = "\n".join(
            f"{t['release']}  {t['weight']:.0%} {t['mode']}"
            + ("" if t["ready_engines"] else ", no engine is ready")
            for t in each["targets"]
        )
        evidence = "\n".join(
            f"{name} {value['evidence']:.3g} of {value['threshold']:.3g}"
            for name, value in each["evidence"].items()
        )
        rows.append((each["alias"], each["health"], targets, evidence or "none yet"))
    return _table(("alias", "health", "serves", "evidence"), rows)


def _store(store: dict[str, Any]) -> tuple[str, str, str]:
    files = store["files"]
    said = f"{files['completed']:,} indexed"
    for key, word in (("in_progress", "waiting"), ("failed", "failed")):
        if files[key]:
            said += f", {files[key]:,} {word}"
    return store["id"], said, store["name"]


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    return table


def _line(text: str | None, before: str = "\n") -> str:
    return f"{before}{text.splitlines()[0]}" if text else ""


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def _ago(now: float, then: float) -> str:
    seconds = max(0, round(now - then))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
