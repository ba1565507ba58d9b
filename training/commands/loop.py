"""`driftgate loop`: how aliases are retrained, and how far that is."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.store.database import Database
from gateway.store.health import Healths
from gateway.store.loops import Loops
from gateway.store.retraining import OPEN, TAKEN, Retraining, RetrainingRequest
from gateway.store.rollouts import Rollouts
from training.commands.loop_store import Places, fail, opened, serving, table_of, when
from training.loop import LoopInvalid, LoopSettings
from training.pacing import wait
from training.timetable import Timetable

app = typer.Typer(
    help="How aliases are retrained: when, on what, and who lets it be served.",
    no_args_is_help=True,
)
_Alias = Annotated[str, typer.Argument(help="The alias.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_SHOWN = 5


@app.command("set", epilog="Example: driftgate loop set production approval=human least_rows=50")
def set_loop(
    alias: _Alias,
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME=VALUE...", help="Settings; `a.b=c` sets a field of a field."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="A YAML file of all settings, in place of those there.")
    ] = None,
    as_json: _AsJson = False,
) -> None:
    """Set how an alias is retrained; what is not named stays as it is."""
    with opened(Places()) as database:
        serving(database, alias)
        loops = Loops(database)
        known = loops.get(alias)
        fields: dict[str, Any] = dict(known.fields) if known is not None else {}
        if file is not None:
            fields = _read(file)
        for value in values or []:
            _put(fields, value)
        try:
            settings = LoopSettings.of(fields)
        except LoopInvalid as error:
            fail(f"{file}: {error}" if file is not None and not values else str(error))
        loops.put(alias, fields)
    if as_json:
        typer.echo(json.dumps(settings.fields(), indent=2))
    else:
        typer.echo(f"`{alias}` is retrained by: {', '.join(settings.sources)}, and people.")


@app.command("unset", epilog="Example: driftgate loop unset production")
def unset_loop(alias: _Alias, as_json: _AsJson = False) -> None:
    """Forget the settings of an alias: only people have it retrained from then on."""
    with opened(Places()) as database:
        if not Loops(database).remove(alias):
            fail(f"{alias!r} has no loop.")
    text = f"`{alias}` is retrained only by people."
    typer.echo(json.dumps({"alias": alias, "settings": None}) if as_json else text)


@app.command("show", epilog="Example: driftgate loop show production")
def show_loop(
    alias: Annotated[str | None, typer.Argument(help="The alias; all that have a loop.")] = None,
    as_json: _AsJson = False,
) -> None:
    """Show the settings of a loop, what it waits for, and what became of the last retrainings."""
    with opened(Places()) as database:
        if alias is None:
            _show_all(database, as_json)
            return
        serving(database, alias)
        stored = Loops(database).get(alias)
        try:
            settings = LoopSettings.stored(stored)
        except LoopInvalid as error:
            fail(f"{alias}: its settings cannot be used: {error}")
        health = Healths(database).get(alias)
        history = Retraining(database).all(alias, limit=1000)
        rollout = Rollouts(database).live(alias)
        now = time.time()
        waits = {
            each.id: found.told()
            for each in history
            if each.status == OPEN
            and (found := wait(each, settings if stored else None, history, rollout, now))
        }
    shown = {
        "alias": alias,
        "health": "HEALTHY" if health is None else health.state,
        "has_loop": stored is not None,
        "settings": settings.fields(),
        "next_due": Timetable(settings.schedule).next(now) if settings.schedule else None,
        "requests": [asdict(each) | {"waits": waits.get(each.id)} for each in history[:_SHOWN]],
    }
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
    else:
        _print(shown, history, waits)


def _show_all(database: Database, as_json: bool) -> None:
    loops = Loops(database).all()
    healths = {health.alias: health.state for health in Healths(database).all()}
    live = {r.alias: r for s in (OPEN, TAKEN) for r in Retraining(database).all(status=s)}
    if as_json:
        rows = [{"alias": each.alias, "settings": each.fields} for each in loops]
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("alias", "health", "approval", "under way")
    for each in loops:
        request = live.get(each.alias)
        told = "" if request is None else request.step or request.told or request.status
        table.add_row(
            escape(each.alias),
            healths.get(each.alias, "HEALTHY"),
            escape(str(each.fields.get("approval", "human"))),
            escape(told),
        )
    Console().print(table)


def _print(shown: dict[str, Any], history: list[RetrainingRequest], waits: dict[str, str]) -> None:
    console = Console(highlight=False)
    lines = [f"[bold]{escape(shown['alias'])}[/bold]: {shown['health']}"]
    if not shown["has_loop"]:
        lines.append("It has no loop: only people have it retrained, with these defaults.")
    lines += [
        f"  {name}: {escape(json.dumps(value) if not isinstance(value, str) else value)}"
        for name, value in shown["settings"].items()
    ]
    if shown["next_due"] is not None:
        lines.append(f"Due next: {when(shown['next_due'])} UTC")
    console.print("\n".join(lines))
    if not history:
        console.print("It was never retrained.")
        return
    table = Table("request", "asked for", "by", "status", "what became of it")
    for each in history[:_SHOWN]:
        status = each.outcome or each.step or each.status
        told = waits.get(each.id) or each.told or each.reason
        table.add_row(each.id, when(each.created_at), each.source, status, escape(told))
    console.print(table)
    last = next((each for each in history if each.attribution is not None), None)
    if last is not None and last.attribution is not None:
        found = last.attribution
        sure = "" if found["conclusive"] else " (not conclusive)"
        console.print(f"The replay of {last.id}: {found['verdict']}{sure}.")
        console.print(escape(found["reason"]))
        console.print(table_of(found))
        for left_out in found["left_out"]:
            console.print(f"Left out: {escape(left_out)}.")


def _read(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        fail(f"{file} is no YAML: {error}")
    if not isinstance(found, dict):
        fail(f"{file}: a loop is a mapping of settings to values")
    return {str(name): value for name, value in found.items()}


def _put(fields: dict[str, Any], text: str) -> None:
    """Put `a.b=value` into the fields; a value is read as YAML, so that 3 is a number."""
    name, equals, raw = text.partition("=")
    if not equals or not name:
        fail(f"{text!r} is not NAME=VALUE")
    try:
        value = yaml.safe_load(raw)
    except yaml.YAMLError:
        value = raw  # as `* * * * *`
    outer, dot, inner = name.partition(".")
    if not dot:
        fields[outer] = raw if outer == "schedule" and value is not None else value
        return
    nested = fields.get(outer)
    fields[outer] = {**(nested if isinstance(nested, dict) else {}), inner: value}
