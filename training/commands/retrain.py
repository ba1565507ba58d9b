"""`driftgate retrain`: ask for a new release of an alias, or which part is at fault."""

import getpass
import json
import time
from typing import Annotated

import typer
from rich.console import Console

from gateway.store.database import Database
from gateway.store.loops import Loops
from gateway.store.releases import Release, Releases
from gateway.store.retraining import CLOSED, OPEN, Retraining, RetrainingRequest
from monitoring.probes import ProbesInvalid
from training.commands.loop_store import Places, fail, opened, serving, table_of
from training.loop import LoopInvalid, LoopSettings

app = typer.Typer()
_POLL_S = 1.0


@app.command("retrain", epilog="Example: driftgate retrain production --dry-run")
def retrain(
    alias: Annotated[str, typer.Argument(help="Whose release is to be replaced.")],
    reason: Annotated[str, typer.Option(help="Why, for people.")] = "A person asked for it.",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only tell which part is at fault; nothing is trained."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the outcome.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Have a worker find out what is wrong, train, prove and roll out.

    A person's request passes cool-down, budget and back-off, but not a retraining or a rollout of
    the alias that is under way. With `--wait` the status is 0 after a promotion, else 1.
    """
    places = Places()
    with opened(places) as database:
        release = serving(database, alias)
        if dry_run:
            _replay(database, places, alias, release, as_json)
            return
        requests = Retraining(database)
        by = {"by": getpass.getuser()}
        request, new = requests.open(alias, release, reason, "person", by)
        if not new and request.status == OPEN and request.source != "person":
            # It may wait for days, and a person's does not.
            requests.close(request.id, "cancelled", "A person asked instead.")
            request, new = requests.open(alias, release, reason, "person", by)
        if wait:
            request = _until_closed(requests, request, quiet=as_json)
    if as_json:
        fields = ("id", "alias", "release", "status", "outcome", "told")
        typer.echo(json.dumps({name: getattr(request, name) for name in fields}, indent=2))
    elif not wait:
        known = "" if new else "It was asked for before. "
        typer.echo(f"{request.id}  {known}`driftgate loop show {alias}` tells how far it is.")
    if wait and request.outcome != "promoted":
        raise typer.Exit(1)


def _replay(database: Database, places: Places, alias: str, release: str, as_json: bool) -> None:
    from training.retraining.replay import Places as Where
    from training.retraining.replay import gather, replay

    served = Releases(database).get(release)
    assert isinstance(served, Release)  # noqa: S101 - an alias points at what is there
    where = Where(places.home.absolute(), places.gateway_url())
    try:
        settings = LoopSettings.stored(Loops(database).get(alias))
        collected = gather(database, where, alias, served, settings)
    except (LoopInvalid, ProbesInvalid) as error:
        fail(str(error))
    found = replay(
        database, where, alias, served, settings, collected, purpose=f"dry run of {alias}", seed=0
    ).as_dict()
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    console = Console(highlight=False, markup=False)
    console.print(table_of(found))
    for told in found["left_out"]:
        console.print(f"Left out: {told}.")
    kept = (
        f"{len(collected.new)} corrections may be learnt, {len(collected.set_aside)} are set aside"
    )
    console.print(f"{kept}.")
    sure = "" if found["conclusive"] else " (not conclusive)"
    console.print(f"Verdict: {found['verdict']}{sure}. {found['reason']}")


def _until_closed(
    requests: Retraining, request: RetrainingRequest, quiet: bool
) -> RetrainingRequest:
    told = None
    while request.status != CLOSED:
        now = request.step or request.told or request.status
        if now != told and not quiet:
            typer.echo(f"{request.id}  {now}")
        told = now
        time.sleep(_POLL_S)
        found = requests.get(request.id)
        if found is None:
            fail(f"{request.id} is not in the store any more.")
        request = found
    if not quiet:
        typer.echo(f"{request.id}  {request.outcome}: {request.told}")
    return request
