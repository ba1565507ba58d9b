"""`driftgate alias`: where aliases point, and back to where they pointed before."""

import getpass
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from gateway.commands.grounding import opened
from gateway.commands.output import end, print_table
from gateway.store.database import Database
from gateway.store.engines import Engines, EngineState
from gateway.store.health import Healths
from gateway.store.releases import AliasMove, MovedMeanwhile, Releases, Target
from gateway.store.rollback import CannotRollBack, Rollback
from gateway.store.rollouts import LIVE, Rollouts

app = typer.Typer(help="Where aliases point.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Alias = Annotated[str, typer.Argument(help="The alias.")]


@app.command("list", epilog="Example: driftgate alias list --json")
def list_aliases(as_json: _Json = False) -> None:
    """Show every alias: its releases, their shares, its health, and what is on its way to it."""
    with opened() as database:
        shown = [_shown(database, name) for name in sorted(Releases(database).aliases())]
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
        return
    rows = [(a["alias"], _targets(a["targets"]), a["health"], _under_way(a)) for a in shown]
    print_table(("alias", "releases", "health", "rollout"), rows)


@app.command(epilog="Example: driftgate alias show production --moves 5")
def show(
    alias: _Alias,
    moves: Annotated[int, typer.Option(min=0, help="Most moves that are shown.")] = 20,
    as_json: _Json = False,
) -> None:
    """Show one alias and its last moves: from where to where, by whom, why, when."""
    with opened() as database:
        releases = Releases(database)
        if alias not in releases.aliases():
            end(_unknown(alias, releases))
        shown = _shown(database, alias)
        last = releases.moves(alias, moves)
    if as_json:
        typer.echo(json.dumps(shown | {"moves": [asdict(move) for move in last]}, indent=2))
        return
    row = (alias, _targets(shown["targets"]), shown["health"], _under_way(shown))
    print_table(("alias", "releases", "health", "rollout"), [row])
    print_table(("when (UTC)", "from", "to", "by", "why"), [_move(move) for move in last])


@app.command(
    epilog='Example: driftgate alias point production rel-a=0.9 rel-b=0.1 --reason "a careful try"'
)
def point(
    alias: _Alias,
    targets: Annotated[
        list[str],
        typer.Argument(help="A release, with its share where there are several: `id=0.9 id2=0.1`."),
    ],
    shadow: Annotated[
        list[str] | None,
        typer.Option(help="A release that only gets copies, and their share: `id=0.2`."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "by hand",
    as_json: _Json = False,
) -> None:
    """Point an alias at releases; every worker follows with its next look at the store."""
    try:
        wanted = [*_read(targets, "live"), *_read(shadow or [], "shadow")]
        with opened() as database:
            releases = Releases(database)
            live = Rollouts(database).live(alias)
            if live is not None:
                told = f"The rollout {live.id} ends, since `{alias}` is moved under it."
                print(told, file=sys.stderr)
            before = releases.aliases().get(alias, ())
            releases.point(alias, wanted, by=person(), why=reason, expected=before)
    except KeyError as error:
        end(f"There is no release `{error.args[0]}` (`driftgate models list` shows them).")
    except ValueError as error:
        end(f"{error}.")
    except MovedMeanwhile:
        end(f"`{alias}` was moved by somebody else just now; look at it and try again.")
    shown = [asdict(target) for target in wanted]
    if as_json:
        typer.echo(json.dumps({"alias": alias, "targets": shown}, indent=2))
        return
    typer.echo(f"{alias}: {_targets(shown)}")


@app.command(epilog='Example: driftgate alias rollback production --reason "wrong prices"')
def rollback(
    alias: _Alias,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "by hand",
    release: Annotated[
        str | None, typer.Option(help="The release that is to go; default: the one it serves most.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Go back to a release without a ready engine, too.")
    ] = False,
    as_json: _Json = False,
) -> None:
    """Serve again what was served before; a rollout that is under way ends with it."""
    with opened() as database:
        try:
            done = Rollback(database).roll_back(
                alias, by=person(), why=reason, release=release, force=force
            )
        except CannotRollBack as error:
            end(str(error))
    if as_json:
        typer.echo(json.dumps(asdict(done), indent=2))
        return
    typer.echo(f"{alias}: {_targets([asdict(target) for target in done.targets])}")
    if not done.moved:
        typer.echo(f"`{done.gone}` was not behind it; nothing was moved.")
    if done.aborted is not None:
        typer.echo(f"The rollout {done.aborted} is being aborted.")
    if done.undone is not None:
        typer.echo(f"The promotion of {done.undone} is taken back.")


def person() -> str:
    """Return how whoever runs a command is named in the store."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):  # a user id without a name
        return "the command line"


def _shown(database: Database, alias: str) -> dict[str, Any]:
    ready = Counter(e.release for e in Engines(database).all() if e.state is EngineState.READY)
    health = Healths(database).get(alias)
    rollout = next(iter(Rollouts(database).all(alias, LIVE)), None)
    return {
        "alias": alias,
        "targets": [
            asdict(target) | {"ready_engines": ready[target.release]}
            for target in Releases(database).aliases().get(alias, ())
        ],
        "health": "HEALTHY" if health is None else health.state,
        "rollout": None
        if rollout is None
        else {"id": rollout.id, "stage": rollout.stage, "status": rollout.status},
    }


def _read(texts: Sequence[str], mode: str) -> list[Target]:
    """Read `release=share`; a release alone has all of it.

    Raises:
        ValueError: A share is no number.
    """
    found = []
    for text in texts:
        release, equals, share = text.rpartition("=")
        if not equals:
            release, share = text, "1"
        try:
            found.append(Target(release, float(share), mode))
        except ValueError:
            raise ValueError(f"{text!r}: {share!r} is no share, such as 0.1") from None
    return found


def _targets(targets: Sequence[dict[str, Any]]) -> str:
    lines = []
    for target in targets:
        line = f"{target['release']} {target['weight']:.4g} {target['mode']}"
        if target.get("ready_engines") == 0:
            line += ", no engine is ready"
        lines.append(line)
    return "\n".join(lines)


def _under_way(shown: dict[str, Any]) -> str:
    rollout = shown["rollout"]
    return "" if rollout is None else f"{rollout['id']}\n{rollout['stage']}, {rollout['status']}"


def _move(move: AliasMove) -> tuple[str, ...]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(move.at))
    before, after = ([asdict(target) for target in side] for side in (move.before, move.after))
    return when, _targets(before) or "nothing", _targets(after) or "nothing", move.by, move.why


def _unknown(alias: str, releases: Releases) -> str:
    known = ", ".join(f"`{name}`" for name in sorted(releases.aliases()))
    return f"There is no alias `{alias}`. Known: {known or 'none yet'}."
