"""`driftgate compare`: people say, blindly, which of two releases answers better."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from gateway.store.comparison_files import (
    FORMATS,
    LineInvalid,
    Turns,
    jsonl,
    read_golds,
    read_items,
    read_questions,
    rows,
    table,
)
from gateway.store.comparisons import CRITERIA, Comparison, ComparisonInvalid, Comparisons, Item
from gateway.store.database import Database
from gateway.store.raters import DAY_S, Raters
from gateway.store.releases import Releases, leading
from gateway.store.rollouts import Rollouts
from training.asking import GatewayAsker
from training.commands.loop_store import Places, fail, opened, serving, when
from training.comparing import Both, Sides, ask_both, recent, shadowed

app = typer.Typer(
    help="People say, blindly, which of two releases is better.", no_args_is_help=True
)

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Id = Annotated[str, typer.Argument(metavar="COMPARISON", help="Its id.")]


@app.command(epilog="Example: driftgate compare create production --shadow --raters 3")
def create(
    alias: Annotated[str, typer.Argument(help="The alias that is to get the candidate.")],
    candidate: Annotated[
        str | None, typer.Option(help="The new release; else that of the rollout under way.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The old one; else the one in service.")
    ] = None,
    items: Annotated[
        Path | None, typer.Option(help="JSONL with `prompt`, `baseline` and `candidate`.")
    ] = None,
    questions: Annotated[
        Path | None, typer.Option(help="JSONL with `prompt` or `messages`, asked of both.")
    ] = None,
    shadow: Annotated[bool, typer.Option(help="Take the rollout's mirrored requests.")] = False,
    documents: Annotated[
        bool, typer.Option(help="Compare the one in service with itself, when it has documents.")
    ] = False,
    gold: Annotated[Path | None, typer.Option(help="JSONL with `prompt`, `good`, `bad`.")] = None,
    count: Annotated[int, typer.Option(min=1, max=5000, help="Most questions.")] = 120,
    name: Annotated[str | None, typer.Option(help="What raters read at the top.")] = None,
    guidance: Annotated[str, typer.Option(help="What raters are told first.")] = "",
    criterion: Annotated[
        list[str] | None, typer.Option(help="What is judged beside the whole; repeatable.")
    ] = None,
    raters: Annotated[int, typer.Option(help="Votes that decide an item.")] = 3,
    margin: Annotated[float, typer.Option(help="By how much it may be worse.")] = 0.15,
    alpha: Annotated[float, typer.Option(help="Chance of a wrong verdict.")] = 0.05,
    gold_accuracy: Annotated[float, typer.Option(help="Gold items to be right.")] = 0.7,
    keep_open: Annotated[bool, typer.Option(help="Go on when the verdict is there.")] = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an answer that is asked for.")] = 512,
    as_json: _AsJson = False,
) -> None:
    """Make a comparison. Without a file, both are asked what people asked of the alias lately."""
    if sum(1 for given in (items, questions, shadow or None) if given is not None) > 1:
        fail("Give one of --items, --questions and --shadow.")
    if documents and (candidate or items or shadow):
        fail("--documents asks the release in service: not with --candidate, --items or --shadow.")
    places = Places()
    with opened(places) as database:
        old = baseline or serving(database, alias)
        new = old if documents else candidate or _candidate(database, alias)
        for release in dict.fromkeys((old, new)):
            if Releases(database).get(release) is None:
                fail(f"There is no release {release!r}; `driftgate releases list` names them.")
        try:
            golds = read_golds(gold) if gold else []
            if items is not None:
                both = Both(tuple(read_items(items)[:count]), 0, ())
            elif shadow:
                both = shadowed(database, alias, old, new, count)
            else:
                asked = read_questions(questions) if questions else recent(database, alias, count)
                sides: Sides = ("off", "always") if documents else (None, None)
                both = _ask(database, places, alias, asked[:count], old, new, sides, max_tokens)
        except LineInvalid as error:
            fail(str(error))
        except OSError as error:
            named = error.filename is not None  # else it is no file that failed
            fail(f"{error.filename} cannot be read: {error.strerror}" if named else str(error))
        wanted = Comparison(
            name=name or f"Which answer is better? ({alias})", alias=alias,
            baseline=old, candidate=f"{old} with documents" if documents else new,
            criteria=criterion or list(CRITERIA), guidance=guidance,
            raters=raters, margin=margin, alpha=alpha, gold_accuracy=gold_accuracy,
            stops_early=not keep_open, created_by="command line",
        )  # fmt: skip
        made = _add(database, wanted, both, golds)
    _tell_left_out(both)
    if as_json:
        typer.echo(json.dumps(_shown(made), indent=2))
        return
    typer.echo(made.id)
    print(
        f"{made.items} items, {made.golds} gold; {made.raters} votes each. "
        f"Next: driftgate compare invite {made.id} NAME",
        file=sys.stderr,
    )


@app.command("list", epilog="Example: driftgate compare list --json")
def list_comparisons(
    alias: Annotated[str | None, typer.Option(help="Only those of this alias.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most of them.")] = 20,
    as_json: _AsJson = False,
) -> None:
    """Show comparisons, the newest first."""
    with opened(Places()) as database:
        found, _ = Comparisons(database).page(alias=alias, limit=limit)
    if as_json:
        typer.echo(json.dumps([_shown(each) for each in found], indent=2))
        return
    if not found:
        typer.echo("There is no comparison yet: driftgate compare create ALIAS makes one.")
        return
    shown = Table("id", "candidate", "against", "decided", "verdict", "made (UTC)")
    for each in found:
        standing = each.standing or {}
        state = standing.get("verdict", "INCONCLUSIVE")
        shown.add_row(
            each.id, escape(each.candidate), escape(each.baseline),
            f"{standing.get('decided', 0)} of {each.items}",
            state if each.closed_at else f"{state}, open", when(each.created_at),
        )  # fmt: skip
    Console().print(shown)


@app.command(epilog="Example: driftgate compare show cmp-1a2b")
def show(id: _Id, as_json: _AsJson = False) -> None:
    """Show what a comparison has shown, and how far its raters are."""
    with opened(Places()) as database:
        found = _found(database, id)
        invites = Raters(database).invites(id)
    if as_json:
        people = [
            {"id": i.id, "name": i.name, "expires_at": i.expires_at, "revoked_at": i.revoked_at,
             "opened_at": i.opened_at}
            for i in invites
        ]  # fmt: skip
        typer.echo(json.dumps(_shown(found) | {"invites": people}, indent=2))
        return
    console = Console(highlight=False)
    console.print(f"[bold]{escape(found.name)}[/bold]: {escape(found.candidate)} against "
                  f"{escape(found.baseline)}")  # fmt: skip
    standing = found.standing
    if standing is None:
        console.print("Nobody has voted yet.")
    else:
        console.print(f"{standing['verdict']}: {escape(standing['reason'])}")
        console.print(_table_of(standing))
    if found.closed_at is not None:
        by = found.closed_by or "the evidence"
        console.print(f"Closed at {when(found.closed_at)} UTC by {escape(by)}.")
    people_table = Table("invite", "rater", "votes", "gold right", "counts", "until (UTC)")
    for invite in invites:
        said = (standing or {}).get("raters", {}).get(invite.id)
        people_table.add_row(
            invite.id, escape(invite.name), str(said["votes"]) if said else "",
            f"{said['right']} of {said['golds']}" if said else "",
            "" if said is None else "yes" if said["counts"] else f"no: {said['why']}",
            "revoked" if invite.revoked_at else when(invite.expires_at),
        )  # fmt: skip
    console.print(people_table)


@app.command(epilog="Example: driftgate compare invite cmp-1a2b Ada Grace --days 3")
def invite(
    id: _Id,
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Who is to rate.")],
    days: Annotated[float, typer.Option(min=0.01, max=366, help="How long the link lasts.")] = 14,
    url: Annotated[str | None, typer.Option(help="Of the gateway, as raters reach it.")] = None,
    as_json: _AsJson = False,
) -> None:
    """Print a link for each rater. It is shown once: only its digest is kept."""
    places = Places()
    made = []
    with opened(places) as database:
        if _found(database, id).closed_at is not None:
            fail(f"{id} is closed: it takes no votes.")
        for each in names:
            try:
                link, token = Raters(database).invite(
                    id, each, by="command line", lasts_s=days * DAY_S
                )
            except ValueError as error:
                fail(f"{each!r}: {error}")
            address = f"{(url or places.gateway_url()).rstrip('/')}/compare/{token}"
            made.append({"id": link.id, "name": link.name, "url": address,
                         "expires_at": link.expires_at})  # fmt: skip
    if as_json:
        typer.echo(json.dumps(made, indent=2))
        return
    for each_made in made:
        typer.echo(f"{each_made['name']}\t{each_made['url']}")


@app.command(epilog="Example: driftgate compare revoke inv-1a2b")
def revoke(
    invite_id: Annotated[str, typer.Argument(metavar="INVITE", help="Its id.")],
    as_json: _AsJson = False,
) -> None:
    """Withdraw an invite; what was said stays."""
    with opened(Places()) as database:
        if Raters(database).get(invite_id) is None:
            fail(f"There is no invite {invite_id!r}.")
        Raters(database).revoke(invite_id)
    text = f"{invite_id} opens nothing any more."
    typer.echo(json.dumps({"id": invite_id, "revoked": True}) if as_json else text)


@app.command(epilog="Example: driftgate compare close cmp-1a2b --reason enough")
def close(
    id: _Id, reason: Annotated[str, typer.Option(help="Why.")] = "", as_json: _AsJson = False
) -> None:
    """Take no more votes; what was shown stays."""
    with opened(Places()) as database:
        _found(database, id)
        Comparisons(database).close(id, by="command line", why=reason)
        found = _found(database, id)
    typer.echo(json.dumps(_shown(found), indent=2) if as_json else f"{id} takes no more votes.")


@app.command(epilog="Example: driftgate compare export cmp-1a2b --format csv --out votes.csv")
def export(
    id: _Id,
    format: Annotated[str, typer.Option(help="jsonl or csv.")] = "jsonl",
    out: Annotated[Path | None, typer.Option(help="A file; else standard output.")] = None,
) -> None:
    """Write every vote with its item, as JSON Lines or CSV."""
    if format not in FORMATS:
        fail(f"--format is one of {', '.join(FORMATS)}, not {format!r}.")
    with opened(Places()) as database:
        found = _found(database, id)
        raters = Raters(database)
        names = {each.id: each.name for each in raters.invites(id)}
        said = rows(found, Comparisons(database).items(id), raters.votes(id)[0], names)
        lines = table(said, found.criteria) if format == "csv" else jsonl(said)
        text = b"".join(lines)
    if out is None:
        typer.echo(text.decode(), nl=False)
        return
    try:
        out.write_bytes(text)
    except OSError as error:
        fail(f"{out} cannot be written: {error.strerror}")


def _ask(
    database: Database, places: Places, alias: str, asked: Sequence[Turns], old: str, new: str,
    sides: Sides, max_tokens: int,
) -> Both:  # fmt: skip
    if not asked:
        fail(f"Nothing was asked of {alias!r} whose texts are kept; give --questions or --items.")
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as shown:
        task = shown.add_task("Asking both", total=len(asked))
        with GatewayAsker(database, places.gateway_url(), f"compare {new}", like=alias) as asker:
            return ask_both(
                asker, asked, old, new, retrieval=sides, max_tokens=max_tokens,
                told=lambda done: shown.update(task, completed=done),
            )  # fmt: skip


def _candidate(database: Database, alias: str) -> str:
    rollout = Rollouts(database).live(alias)
    if rollout is not None:
        return rollout.candidate
    found = leading(Releases(database).aliases().get("candidate", ()))
    if found is None:
        fail(f"No rollout to {alias!r} is under way; name the release: --candidate RELEASE.")
    return found


def _add(database: Database, wanted: Comparison, both: Both, golds: Sequence[Item]) -> Comparison:
    if not both.items:
        reasons = sorted(set(both.failed))[:3]
        why = "; ".join(reasons) if reasons else f"all {both.same} answers are the same"
        fail(f"There is nothing to compare: {why}.")
    try:
        return Comparisons(database).add(wanted, [*both.items, *golds])
    except ComparisonInvalid as error:
        fail(f"{error}.")


def _tell_left_out(both: Both) -> None:
    if both.same:
        print(f"{both.same} left out: both answered with the same words.", file=sys.stderr)
    if both.failed:
        print(f"{len(both.failed)} left out: {both.failed[0]}", file=sys.stderr)


def _found(database: Database, id: str) -> Comparison:
    found = Comparisons(database).get(id)
    if found is None:
        fail(f"There is no comparison {id!r}; `driftgate compare list` names them.")
    return found


def _shown(comparison: Comparison) -> dict[str, Any]:
    shown = asdict(comparison)
    del shown["seed"], shown["version"]
    return shown


def _table_of(standing: dict[str, Any]) -> Table:
    """Return the consensus, of the whole and by criterion."""
    shown = Table("", "candidate", "baseline", "tie", "both bad", "split", "net", "alpha")
    parts = {"overall": standing, **standing["criteria"]}
    for name, part in parts.items():
        net, agreed = part["preference"], part["agreement"]
        shown.add_row(
            escape(name), *(str(n) for n in part["consensus"].values()),
            f"{net['value']:+.0%} ({net['low']:+.0%} to {net['high']:+.0%})",
            "" if agreed is None else f"{agreed:.2f}",
        )  # fmt: skip
    return shown
