"""`driftgate rollout`: a release on its way to an alias, started, followed and steered."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from gateway.commands.alias import person
from gateway.commands.grounding import opened
from gateway.commands.output import end, print_table
from gateway.store.rollouts import Rollout, Rollouts
from gateway.store.steering import CannotSteer, Steering

app = typer.Typer(help="New releases on their way to an alias.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Id = Annotated[str, typer.Argument(metavar="ROLLOUT", help="Its id, or the alias's name.")]
_LONGEST_VALUE = 400


@app.command(epilog="Example: driftgate rollout start production new-release --set approval=human")
def start(
    alias: Annotated[str, typer.Argument(help="Where the release is to be served.")],
    candidate: Annotated[str, typer.Argument(help="The release.")],
    plan: Annotated[Path | None, typer.Option(help="The plan's fields, as a file of JSON.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="One field of the plan, such as `approval=human`; repeatable."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Ask for a rollout; a worker (`driftgate worker`) carries it out, stage after stage."""
    fields = {**_file(plan), **_fields(set_ or [])}
    with opened() as database:
        try:
            made = Steering(database).start(alias, candidate, fields, by=person())
        except CannotSteer as error:
            end(str(error))
    typer.echo(json.dumps(asdict(made), indent=2) if as_json else made.id)


@app.command("list", epilog="Example: driftgate rollout list --alias production")
def list_rollouts(
    alias: Annotated[str | None, typer.Option(help="Only those of this alias.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most of them.")] = 20,
    as_json: _Json = False,
) -> None:
    """Show rollouts, the newest first."""
    with opened() as database:
        found = Rollouts(database).all(alias, limit=limit)
    if as_json:
        typer.echo(json.dumps([asdict(rollout) for rollout in found], indent=2))
        return
    rows = [
        (r.id, r.alias, f"{r.candidate}\nfor {r.previous}", _state(r), _clock(r.created_at))
        for r in found
    ]
    print_table(
        ("id", "alias", "candidate", "state", "began (UTC)"),
        rows,
        empty="There is no rollout yet: `driftgate rollout start ALIAS RELEASE` begins one.",
    )


@app.command(epilog="Example: driftgate rollout show rlt-1a2b --json")
def show(id: _Id, as_json: _Json = False) -> None:
    """Show a rollout: where it is, and the evidence of each stage."""
    with opened() as database:
        rollout = _found(Rollouts(database), id)
    if as_json:
        typer.echo(json.dumps(asdict(rollout), indent=2))
        return
    rows = [
        ("id", rollout.id),
        ("alias", rollout.alias),
        ("candidate", rollout.candidate),
        ("previous", rollout.previous),
        ("state", _state(rollout)),
        ("began (UTC)", _clock(rollout.created_at)),
        ("ended (UTC)", _clock(rollout.finished_at)),
        ("job", rollout.job or ""),
        ("asked by", rollout.request or ""),
        ("approved by", rollout.approved_by or ""),
        ("plan", json.dumps(rollout.plan)),
    ]
    print_table(("what", "value"), [row for row in rows if row[1]])
    print_table(
        ("stage", "evidence"),
        [(stage, _evidence(told)) for stage, told in rollout.evidence.items()],
    )


@app.command(epilog="Example: driftgate rollout pause rlt-1a2b")
def pause(id: _Id, as_json: _Json = False) -> None:
    """Let it stand where it is: its share of the traffic stays."""
    _steer(id, "pause", as_json)


@app.command(epilog="Example: driftgate rollout resume rlt-1a2b")
def resume(id: _Id, as_json: _Json = False) -> None:
    """Let a paused rollout go on."""
    _steer(id, "resume", as_json)


@app.command(epilog="Example: driftgate rollout approve rlt-1a2b")
def approve(id: _Id, as_json: _Json = False) -> None:
    """Approve the promotion, before it is asked for or when it is."""
    _steer(id, "approve", as_json)


@app.command(epilog="Example: driftgate rollout abort rlt-1a2b")
def abort(id: _Id, as_json: _Json = False) -> None:
    """End it before the promotion, and serve the old release alone."""
    _steer(id, "abort", as_json)


def _steer(id: str, step: str, as_json: bool) -> None:
    with opened() as database:
        rollout = _found(Rollouts(database), id)
        try:
            rollout = Steering(database).steer(rollout.id, step, by=person())
        except CannotSteer as error:
            end(str(error))
    typer.echo(
        json.dumps(asdict(rollout), indent=2) if as_json else f"{rollout.id}: {_state(rollout)}"
    )


def _found(rollouts: Rollouts, id: str) -> Rollout:
    """Return a rollout by its id, or the one of an alias that is under way, or was last."""
    rollout = rollouts.get(id) or rollouts.live(id) or next(iter(rollouts.all(id, limit=1)), None)
    if rollout is None:
        end(f"There is no rollout `{id}`, and none of an alias of this name.")
    return rollout


def _file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        fields = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        end(f"{path}: {error}")
    if not isinstance(fields, dict):
        end(f"{path}: a plan is a JSON object.")
    return fields


def _fields(texts: Sequence[str]) -> dict[str, Any]:
    """Read `name=value`; a value that is JSON is read as such, any other is a text."""
    fields: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            end(f"--set {text}: give it as name=value.")
        try:
            fields[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            fields[name] = value
    return fields


def _state(rollout: Rollout) -> str:
    state = f"{rollout.stage}, {rollout.status}"
    if rollout.wish is not None and rollout.finished_at is None:
        state += f"; {rollout.wished_by} wants it to {rollout.wish}"
    return f"{state}\n{rollout.reason}" if rollout.reason else state


def _evidence(told: Any) -> str:
    if not isinstance(told, dict):
        return json.dumps(told)
    lines = []
    for name, value in told.items():
        text = value if isinstance(value, str) else json.dumps(value)
        cut = text[:_LONGEST_VALUE] + "…" if len(text) > _LONGEST_VALUE else text
        lines.append(f"{name}: {cut}")
    return "\n".join(lines)


def _clock(at: float | None) -> str:
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
