"""`driftgate monitor`: watch what aliases answer, and show what is known."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from gateway.store.database import Database, StoreError
from gateway.store.health import Healths
from gateway.store.monitoring import Monitoring, MonitorState
from gateway.store.releases import Releases
from monitoring.across import RATE, believed_harm
from monitoring.commands.alerts import alerts
from monitoring.settings import MonitorSettings

app = typer.Typer(help="Watch what aliases answer: drift, harm, health.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Alias = Annotated[str, typer.Argument(help="The alias.")]
_Release = Annotated[
    str | None, typer.Option(help="The release; default: the one with most of the traffic.")
]


@app.command(epilog="Example: driftgate monitor run")
def run() -> None:
    """Watch until SIGTERM or Ctrl-C, and serve metrics, reports and Alertmanager's webhook."""
    from monitoring.running import run_until

    async def work(settings: MonitorSettings, database: Database) -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run_until(stop, settings, database, lambda line: typer.echo(line))

    _work(work)


@app.command(epilog="Example: driftgate monitor once --json")
def once(as_json: _Json = False) -> None:
    """Judge every full window that waits, then end; 1 where an alias could not be looked at."""
    from monitoring.running import run_once

    async def work(settings: MonitorSettings, database: Database) -> None:
        written, failures = await run_once(settings, database)
        if as_json:
            latest = {(state.alias, state.release): state for state in written}
            typer.echo(json.dumps(
                {"states": [_public(state) for state in latest.values()], "failures": failures},
                indent=2,
            ))  # fmt: skip
        else:
            typer.echo(f"{len(written)} windows judged.")
            _show(database)
        for name, reason in failures.items():
            print(f"{name}: {reason}", file=sys.stderr)
        if failures:
            raise typer.Exit(1)

    _work(work)


@app.command(epilog="Example: driftgate monitor status --json")
def status(as_json: _Json = False) -> None:
    """Show health and evidence of each release behind an alias.

    Harm in brackets alarmed by its own test, but is not believed where all aliases are looked at.
    """
    with _opened() as (_, database):
        if as_json:
            states = Monitoring(database).states()
            sure = believed_harm(states)
            found = [
                _public(state) | {"harm_believed": (state.alias, state.release) in sure}
                for state in states
            ]
            typer.echo(json.dumps(found, indent=2))
        else:
            _show(database)


@app.command(epilog="Example: driftgate monitor report production")
def report(alias: _Alias, release: _Release = None, as_json: _Json = False) -> None:
    """Write a report on the last windows of an alias, and print where it is."""
    from monitoring.running import write_report

    async def work(settings: MonitorSettings, database: Database) -> None:
        path = await write_report(settings, database, alias, _release(database, alias, release))
        typer.echo(json.dumps({"alias": alias, "report": str(path)}) if as_json else str(path))

    _work(work)


@app.command(epilog="Example: driftgate monitor replay production")
def replay(alias: _Alias, release: _Release = None, as_json: _Json = False) -> None:
    """Compute all evidence about a release again from its stored windows; 1 where it differs."""
    from monitoring.replay import replayed

    with _opened() as (settings, database):
        release = _release(database, alias, release)
        count = 0
        try:
            for each in replayed(Monitoring(database), alias, release, settings.levels()):
                if not each.equal:
                    _end(f"Window {each.window.number}: {each.window.evidence} was stored, "
                         f"{dict(each.again)} follows from its inputs.", 1)  # fmt: skip
                count += 1
        except KeyError:
            _end(f"Nothing is known of {release} behind {alias} yet.")
        except ValueError as error:
            _end(f"{alias}: {error}.")
        if as_json:
            typer.echo(json.dumps({"alias": alias, "release": release, "windows": count}))
        else:
            typer.echo(f"{count} windows of {release}: the evidence is the same again.")


@app.command(epilog="Example: driftgate monitor dependence production --json")
def dependence(
    alias: _Alias,
    before: Annotated[
        str | None, typer.Option(help="The release before; default: before the last move.")
    ] = None,
    after: Annotated[
        str | None, typer.Option(help="The release that took its place; default: it serves now.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Show per topic how often retrieval was needed before and after a promotion.

    A topic may leave the index where the new release is shown to answer rightly without it.
    """
    from monitoring.commands.dependence import show
    from monitoring.dependence import dependence as found

    with _opened() as (_, database):
        after = _release(database, alias, after)
        before = before or _before(database, alias, after)
        ledger = found(database, alias, before, after)
        typer.echo(json.dumps(ledger, indent=2)) if as_json else show(ledger)


@app.command(epilog="Example: driftgate monitor reference production usual.jsonl")
def reference(
    alias: _Alias,
    file: Annotated[Path, typer.Argument(help="Training or evaluation rows, as JSON lines.")],
    release: _Release = None,
    as_json: _Json = False,
) -> None:
    """Freeze a reference of given rows, instead of the first requests that come.

    The rows must not be those that will be asked: what a release was trained on, or a held-out set.
    """
    from monitoring.given import freeze

    async def work(settings: MonitorSettings, database: Database) -> None:
        rows = await freeze(settings, alias, _release(database, alias, release), file)
        text = f"{rows} rows are the reference of {alias}."
        typer.echo(json.dumps({"alias": alias, "rows": rows}) if as_json else text)

    _work(work)


@app.command(epilog='Example: driftgate monitor clear production --reason "a test, not customers"')
def clear(
    alias: _Alias,
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    release: _Release = None,
    as_json: _Json = False,
) -> None:
    """Begin the evidence about an alias anew, since you looked into it; it is HEALTHY then."""
    from monitoring.running import cleared

    with _opened() as (settings, database):
        if not cleared(settings, database, alias, _release(database, alias, release), reason):
            _end(f"There is no evidence about {alias} yet.")
        text = f"{alias} is HEALTHY; its evidence begins anew."
        typer.echo(json.dumps({"alias": alias, "health": "HEALTHY"}) if as_json else text)


app.command(epilog="Example: driftgate monitor alerts")(alerts)


def _work(work: Callable[[MonitorSettings, Database], Awaitable[None]]) -> None:
    from monitoring.running import FAILURES

    with _opened() as (settings, database):
        try:
            asyncio.run(work(settings, database))  # type: ignore[arg-type]
        except FAILURES as error:
            _end(f"{error}".rstrip(".") + ".")


@contextmanager
def _opened() -> Iterator[tuple[MonitorSettings, Database]]:
    settings = MonitorSettings()
    try:
        database = Database(settings.resolved_database_url())
    except StoreError as error:
        _end(f"{error}.")
    try:
        database.migrate()
        yield settings, database
    except StoreError as error:
        _end(f"The store: {error}.")
    finally:
        database.close()


def _release(database: Database, alias: str, release: str | None) -> str:
    if release is not None:
        return release
    live = [t for t in Releases(database).aliases().get(alias, ()) if t.mode == "live"]
    if not live:
        _end(f"There is no alias {alias}.")
    return max(live, key=lambda target: (target.weight, target.release)).release


def _before(database: Database, alias: str, after: str) -> str:
    """Return what an alias pointed at before `after` took its place."""
    for move in Releases(database).moves(alias):
        others = [t for t in move.before if t.mode == "live" and t.release != after]
        if others:
            return max(others, key=lambda target: (target.weight, target.release)).release
    _end(f"{alias} has served nothing before {after}; name the release with --before.")


def _public(state: MonitorState) -> dict[str, object]:
    return {name: value for name, value in asdict(state).items() if name != "detail"}


def _show(database: Database) -> None:
    states = Monitoring(database).states()
    sure = believed_harm(states)
    healths = {health.alias: health.state for health in Healths(database).all()}
    table = Table(box=None, pad_edge=False)
    for name in ("alias", "release", "health", "stage", "windows", "drift", "strongest", "harm"):
        table.add_column(name)
    for state in states:
        drift = state.signals.get("all")
        parts = {n: s for n, s in state.signals.items() if s["kind"] == "drift" and n != "all"}
        strongest = max(parts, key=lambda name: parts[name]["evidence"], default="")
        harms = ", ".join(
            name for name, s in state.signals.items() if s["kind"] == "harm" and s.get("alarm")
        )
        if harms and (state.alias, state.release) not in sure:
            harms = f"({harms})"
        table.add_row(
            state.alias, state.release, healths.get(state.alias, "HEALTHY"), state.stage,
            f"{state.windows}",
            f"{drift['evidence']:,.1f} of {drift['threshold']:,.0f}" if drift else "-",
            strongest, harms or "-",
        )  # fmt: skip
    console = Console(highlight=False, markup=False)
    console.print(table) if states else console.print("Nothing is watched yet.")
    if sure:
        names = ", ".join(f"{release} behind {alias}" for alias, release in sorted(sure))
        console.print(f"worse, with at most {RATE:.0%} of such wrong: {names}")
    latest = max((state.updated_at for state in states), default=None)
    if latest is not None:
        console.print(f"as of {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(latest))}")


def _end(message: str, status: int = 2) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(status)
